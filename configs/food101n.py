r"""Food-101N: dishes as a search for their names found them, some 20 % wrong.

101 classes, 310,009 training images; tested on the 25,250 test images of Food-101. The
paper does not have these data. As for its Clothing1M an ImageNet-pretrained ResNet-50
is fine-tuned: batch 128, peak learning rate 0.002, weight decay 1e-3. Ours are 30
epochs of all images, Inception crops, alpha 0.9, k 10, e 0.

Reference: https://arxiv.org/abs/1711.07131 (Lee et al., 2018), and
https://arxiv.org/abs/2202.02200 for the training. Data: built by
`keras_ncr.datasets.builders`, which says what to download.
Arguments: method (standard, ncr, mixup, ...), weights (imagenet, a file, or
nothing: `weights=`). Commands:

    keras-ncr train --config=configs/food101n.py --workdir=runs/food101n
    keras-ncr train --config=configs/food101n.py:standard \
        --workdir=runs/food101n-standard

Hardware, time, result: not run yet.
"""

from keras_ncr.experiments.config import paper_config, string_arguments


def get_config(argument=None):
    arguments = string_arguments(argument, method="ncr", weights="imagenet")
    config = paper_config()
    config.method = arguments["method"]
    config.epochs = 30
    config.top_5 = True
    config.data.name = "food101n"
    config.data.image_size = 224
    config.data.short_side = 256
    config.data.cache = False
    config.data.shuffle_buffer = 20_000
    config.model.backbone = "ResNet50"
    config.model.weights = arguments["weights"]
    config.augment.crop = "resized"
    config.optimizer.learning_rate = 0.002
    config.optimizer.weight_decay = 1e-3
    return config
