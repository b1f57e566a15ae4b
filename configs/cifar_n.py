r"""CIFAR-10N and CIFAR-100N: CIFAR with the labels that people gave its images.

Three people labeled each image of CIFAR-10: `random1` to `random3` are their labels
(17 to 18 % wrong), `aggregate` the majority (9 %), `worst` a wrong label where one of
them gave one (40 %). `fine` is CIFAR-100 with one person's labels (40 %). Training is
that of cifar.py, the paper's Table 4; the paper does not have these data.

Reference: https://openreview.net/forum?id=TBWA6PLJZQm (Wei et al., 2022), and
https://arxiv.org/abs/2202.02200 for the training. License of the labels: CC BY-NC 4.0.
Data: `cifar10_n` and `cifar100_n` of TensorFlow Datasets, which say what to download.
Arguments: method (standard, ncr, mixup, ...), labels. Commands:

    keras-ncr train --config=configs/cifar_n.py --workdir=runs/cifar10n
    keras-ncr train --config=configs/cifar_n.py:ncr,labels=fine \
        --workdir=runs/cifar100n
    keras-ncr train --config=configs/cifar_n.py:standard,labels=aggregate \
        --workdir=runs/cifar10n-aggregate

Hardware, time, result: not run yet.
"""

from keras_ncr.experiments.config import paper_config, string_arguments


def get_config(argument=None):
    arguments = string_arguments(argument, method="ncr", labels="worst")
    config = paper_config()
    config.method = arguments["method"]
    config.epochs = 250
    config.batch_size = 256
    config.data.name = "cifar_n"
    config.data.label_key = arguments["labels"]
    config.augment.padding = 4
    config.gjs.label_weight = 0.3  # As in cifar.py.
    return config
