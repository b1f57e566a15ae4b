r"""WebVision 1.0 and mini-WebVision: images that a search for the class's name found.

`mini`: the first 50 classes of the half that came from Google, 65,944 images. `full`:
1,000 classes, 2.4 million images. Tested after each epoch on WebVision's validation
images, and at the end on those of ILSVRC-2012 of the same classes, top 1 and top 5.

ResNet-50 at 224 pixels with a cosine classifier, 130 epochs of SGD with momentum 0.9,
peak learning rate 0.1 after 5 epochs of warm-up, cosine decay, weight decay 1e-3, batch
256 (mini) or 1,024 (full: about as many as there are classes, Table 6). alpha 0.5, k
10, e 0. The paper says "random crop" and "resize to 224": taken as the Inception crop
of its released code for mini-ImageNet. The scale of the classifier is not in the paper:
it is learned, and decays like all else.

Reference: https://arxiv.org/abs/2202.02200, Tables 2, 4, 5 and 6; data:
https://arxiv.org/abs/1708.02862, built by `keras_ncr.datasets.builders`, which says
what to download.
The paper's accuracy: mini 77.1, standard 75.8; full 75.7, standard 74.9.
Arguments: method (standard, ncr, mixup, ...), subset (mini, full). Commands:

    keras-ncr train --config=configs/webvision.py --workdir=runs/webvision
    keras-ncr train --config=configs/webvision.py:standard,subset=full \
        --workdir=runs/webvision-full

Who has no ImageNet builds `webvision/mini_without_imagenet`, and adds
`--config.data.name=webvision/mini_without_imagenet --config.data.final_splits=`.

Hardware, time, result: not run yet.
"""

from keras_ncr.experiments.config import choose, paper_config, string_arguments

BATCH_SIZES = {"mini": 256, "full": 1024}


def get_config(argument=None):
    arguments = string_arguments(argument, method="ncr", subset="mini")
    config = paper_config()
    config.method = arguments["method"]
    config.batch_size = choose(arguments["subset"], BATCH_SIZES, "subset")
    config.top_5 = True
    config.data.name = f"webvision/{arguments['subset']}"
    config.data.test_split = "validation"
    config.data.final_splits = "imagenet"
    config.data.image_size = 224
    config.data.short_side = 256
    if arguments["subset"] == "full":  # Some 50 GB of files: too many to hold.
        config.data.cache = False
        config.data.shuffle_buffer = 50_000
    config.model.backbone = "resnet50"
    config.model.stem = "imagenet"
    config.model.classifier = "cosine"
    config.augment.crop = "resized"
    config.ncr.consistency_weight = 0.5
    config.ncr.num_neighbors = 10
    config.ncr.warmup_epochs = 0
    config.optimizer.weight_decay = 1e-3
    return config
