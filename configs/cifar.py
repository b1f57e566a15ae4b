r"""CIFAR-10 and CIFAR-100 with wrong labels: the schedule of the paper's Table 4.

ResNet-18 with reduced strides, 250 epochs of SGD with momentum 0.9 at batch 256, peak
learning rate 0.1 after 5 epochs of warm-up, cosine decay, weight decay 5e-4, random
crops. NCR alone with the best of the paper's ablation (Figure 2): alpha 0.9, k 10, e 0.
NCR joined with ELR or ELR+, for which alone the paper prints figures (Table 3), with
those of its Table 5: alpha 0.1, k 10, e 50 (CIFAR-10) or 200 (CIFAR-100). ELR's lambda
and beta are its own: 3 and 0.7, for asymmetric noise 1 and 0.9, on CIFAR-100 7 and 0.9.

Crops padded by 4, flips, and symmetric noise that may draw the true label are also
those of ELR (https://arxiv.org/abs/2007.00151), ELR+ and DivideMix. What differs from
ELR's protocol: all 50,000 images train, where ELR holds out 5,000 with noisy labels
(`--config.data.validation_share=0.1`); pixels are brought to [-1, 1] and not
standardized by channel; wrong labels are drawn once, by seed, in the asked numbers, and
from true labels, where ELR turns some cats that became dogs back; and network, batch
and schedule, where ELR has ResNet-34, batch 128, rate 0.02, weight decay 1e-3 and steps
down (ELR+ and DivideMix: pre-activation ResNet-18, 5e-4). Asymmetric noise on CIFAR-100
goes round in superclasses; `noise=asymmetric_blocks` is ELR's, within five numbers in a
row. DivideMix has its own warm-up and lambda_u for each noise, as its code names them.

Reference: https://arxiv.org/abs/2202.02200, Sections 5.2 and 5.5, supplement A.
Arguments: method (standard, ncr, mixup, ...), noise (symmetric, asymmetric,
asymmetric_blocks, pair_flip, instance), rate, classes (10, 100). Commands:

    keras-ncr train --config=configs/cifar.py --workdir=runs/cifar10
    keras-ncr train --config=configs/cifar.py:ncr,classes=100,rate=0.8 \
        --workdir=runs/cifar100-80
    keras-ncr train --config=configs/cifar.py:standard,noise=asymmetric \
        --workdir=runs/cifar10-asymmetric
    keras-ncr train --config=configs/cifar.py:ncr+elr_plus,rate=0.8 \
        --workdir=runs/cifar10-plus

Hardware, time, result: not run yet. It takes an accelerator: on two CPU cores an epoch
would take about half an hour (estimated).
"""

from keras_ncr.experiments.config import paper_config, set_noise, string_arguments


def get_config(argument=None):
    arguments = string_arguments(
        argument, method="ncr", noise="symmetric", rate=0.4, classes=10
    )
    if arguments["classes"] not in (10, 100):
        raise ValueError(
            "Argument `classes` of the config must be 10 or 100. "
            f"Received: {arguments['classes']}."
        )
    config = paper_config()
    set_noise(config, arguments)
    config.epochs = 250
    config.batch_size = 256
    config.data.name = f"cifar{arguments['classes']}"
    config.augment.padding = 4
    config.gjs.label_weight = 0.3  # As in its own paper, for 20 % symmetric noise.
    _set_early_learning(config, arguments)
    for settings in (config.divide_mix, config.longremix):
        _set_divide_mix(settings, arguments)
    return config


def _set_early_learning(config, arguments):
    """Sets what ELR and ELR+ have for a data set and its noise, and NCR beside them."""
    is_cifar10 = arguments["classes"] == 10
    if not is_cifar10:
        weight, momentum = 7.0, 0.9
    elif is_asymmetric(arguments):
        weight, momentum = 1.0, 0.9
    else:
        weight, momentum = 3.0, 0.7
    for settings in (config.elr, config.elr_plus):
        settings.elr_weight, settings.target_momentum = weight, momentum
        settings.consistency_weight, settings.temperature_squared = 0.1, False
    config.elr.similarity_power = 1.0
    config.elr_plus.ramp_steps = 0 if is_cifar10 else 40_000
    config.elr_plus.average_ramp_steps = 40_000
    config.elr_plus.labels_by_targets = not is_cifar10
    if {"elr", "elr_plus"} & set(arguments["method"].split("+")):
        config.ncr.warmup_epochs = 50 if is_cifar10 else 200


def _set_divide_mix(settings, arguments):
    """Sets what DivideMix has for a data set and its noise."""
    is_cifar10, rate = arguments["classes"] == 10, arguments["rate"]
    settings.warmup_epochs = 10 if is_cifar10 else 30
    settings.penalize_confidence = is_asymmetric(arguments)
    settings.averaged_epochs = 5 if rate == 0.9 else 1
    if is_cifar10:
        is_mild = is_asymmetric(arguments) or rate <= 0.2
        settings.unlabeled_weight = 0.0 if is_mild else 25.0
    else:
        settings.unlabeled_weight = 25.0 if rate <= 0.2 else 150.0


def is_asymmetric(arguments):
    """Returns whether the noise goes from classes to their look-alikes."""
    return arguments["noise"].startswith("asymmetric")
