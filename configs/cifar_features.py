r"""CIFAR-10 as features of a pretrained network: real pictures, half a minute a run.

Two dense layers of 512 on standardized features, which can learn all wrong labels by
heart. `python benchmarks/cifar_features.py` makes the folder from a Keras file of the
network and from the pictures: `train.npz` of 20,000 training pictures or of all,
`test.npz`, and `human.npz` with the labels that people gave, for the noise `human`.

Reference: https://arxiv.org/abs/2202.02200, whose data these are; its networks learn
from pixels (cifar.py), so that figures here are not to be compared with its tables.
Arguments: path (of the folder), method (standard, ncr, mixup, ...), noise (human, or a
kind), rate, tuned (true: with what `benchmarks/tune.py` chose for it). Commands:

    keras-ncr train --config=configs/cifar_features.py:FOLDER,method=ncr+elr \
        --workdir=runs/cifar-features
    keras-ncr train --workdir=runs/cifar-features-human \
        --config=configs/cifar_features.py:FOLDER,method=standard,noise=human

Hardware: 2 CPU cores. Time: 30 to 60 s a trial. Result: docs/results.md.
"""

import os
import pathlib

from keras_ncr.experiments.config import (
    default_config,
    set_noise,
    set_tuned,
    string_arguments,
)


def get_config(argument=None):
    arguments = string_arguments(
        argument, path="", method="ncr", noise="symmetric", rate=0.4, tuned=False
    )
    config = default_config()
    is_human = arguments["noise"] == "human"
    set_noise(config, {**arguments, "noise": "none"} if is_human else arguments)
    config.noise.look_alikes = "cifar10"
    config.trials = 3
    config.epochs = 15
    config.data.name = "features"
    file = "human.npz" if is_human else "train.npz"
    config.data.path = os.path.join(arguments["path"], file)
    config.data.test_path = os.path.join(arguments["path"], "test.npz")
    config.model.backbone = "mlp"
    config.optimizer.weight_decay = 4e-3
    config.optimizer.decay_kernels_only = True
    config.optimizer.warmup_epochs = 2.0
    if arguments["tuned"]:
        chosen = pathlib.Path(__file__).parent / "tuned" / "cifar_features.json"
        set_tuned(config, chosen)
    return config
