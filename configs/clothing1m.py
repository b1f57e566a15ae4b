r"""Clothing1M: shop pictures labeled by the words around them, some 38 % wrong.

14 classes. An ImageNet-pretrained ResNet-50 is fine-tuned for 80 "epochs" of 1,000
mini-batches of 128, drawn anew for each: SGD with momentum 0.9, peak learning rate
0.002 after 5 epochs of warm-up, cosine decay, weight decay 1e-3; alpha 0.9, k 1, e 40.
The shorter side is brought to 256 pixels and a square of 224 cut out at random, as in
DivideMix, whose protocol the field follows; so is `balanced=true`, which draws all
classes equally often by their noisy labels. The paper does not say whether it balanced.
The clean training images are not used. The weights are Keras', with Keras' own
preprocessing in place of the data set's mean and deviation.

Reference: https://arxiv.org/abs/2202.02200, Tables 2, 4 and 5; data: Xiao et al., CVPR
2015, built by `keras_ncr.datasets.builders`, which says what to download.
The paper's accuracy: 74.4, standard 71.7.
Arguments: method (standard, ncr, mixup, ...), balanced (true, false), weights
(imagenet, a file, or nothing: `weights=`). Commands:

    keras-ncr train --config=configs/clothing1m.py --workdir=runs/clothing1m
    keras-ncr train --config=configs/clothing1m.py:standard,balanced=true \
        --workdir=runs/clothing1m-standard

Hardware, time, result: not run yet.
"""

from keras_ncr.experiments.config import paper_config, string_arguments


def get_config(argument=None):
    arguments = string_arguments(
        argument, method="ncr", balanced=False, weights="imagenet"
    )
    config = paper_config()
    config.method = arguments["method"]
    config.epochs = 80
    config.steps_per_epoch = 1000
    config.data.name = "clothing1m"
    config.data.test_split = "test"
    config.data.final_splits = "validation"
    config.data.image_size = 224
    config.data.short_side = 256
    config.data.cache = False
    config.data.shuffle_buffer = 20_000
    config.data.balanced = arguments["balanced"]
    config.model.backbone = "ResNet50"
    config.model.weights = arguments["weights"]
    config.augment.crop = "random"
    config.ncr.num_neighbors = 1
    config.ncr.warmup_epochs = 40
    config.optimizer.learning_rate = 0.002
    config.optimizer.weight_decay = 1e-3
    return config
