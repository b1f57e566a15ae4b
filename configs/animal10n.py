r"""ANIMAL-10N: five pairs of animals that people confuse, some 8 % of the labels wrong.

10 classes, 50,000 training and 5,000 test images of 64 x 64 pixels. The paper does not
have these data. Training is as for its mini-ImageNet, 130 epochs at batch 128, with the
network and crops of its CIFAR: ResNet-18 with reduced strides, images padded by 8
pixels; alpha 0.9, k 10, e 0. Published figures mostly come from VGG-19
with batch normalization, and do not compare.

Reference: https://proceedings.mlr.press/v97/song19b.html (Song et al., 2019), and
https://arxiv.org/abs/2202.02200 for the training. Data: built by
`keras_ncr.datasets.builders`, which says what to download.
Arguments: method (standard, ncr, mixup, ...). Commands:

    keras-ncr train --config=configs/animal10n.py --workdir=runs/animal10n
    keras-ncr train --config=configs/animal10n.py:standard \
        --workdir=runs/animal10n-standard

Hardware, time, result: not run yet.
"""

from keras_ncr.experiments.config import paper_config, string_arguments


def get_config(argument=None):
    arguments = string_arguments(argument, method="ncr")
    config = paper_config()
    config.method = arguments["method"]
    config.data.name = "animal10n"
    config.data.image_size = 64
    config.augment.padding = 8
    return config
