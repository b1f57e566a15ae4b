r"""Fashion-MNIST with wrong labels: 10,000 of its training images, a few minutes a run.

28 x 28 pixels, 10 classes, 10,000 images for testing. Two dense layers of 512, which
can learn 10,000 wrong labels by heart: a network that cannot has nothing to gain.

Reference: https://arxiv.org/abs/2202.02200, which does not have these data. Data:
https://arxiv.org/abs/1708.07747, through TensorFlow Datasets.
Arguments: method (standard, ncr, mixup, ...), noise, rate. Commands:

    python -m keras_ncr.train --config=configs/fashion_mnist.py --workdir=runs/fashion
    python -m keras_ncr.train --config=configs/fashion_mnist.py:standard,rate=0.8 \
        --workdir=runs/fashion-standard-80

Hardware: 2 CPU cores, shared. Time: 60 to 150 s a trial. Result at a rate of 0.4 (36 %
of the labels wrong), test accuracy of the last epoch, three trials: standard
67.0 +- 0.6 %, ncr 82.7 +- 0.3 %. Other rates and noises: not run yet.
"""

import pathlib

from keras_ncr.config import default_config, set_noise, set_tuned, string_arguments


def get_config(argument=None):
    arguments = string_arguments(argument, method="ncr", noise="symmetric", rate=0.4)
    config = default_config()
    set_noise(config, arguments)
    config.trials = 3
    config.epochs = 60
    config.data.name = "fashion_mnist"
    config.data.limit = 10_000
    config.model.backbone = "mlp"
    config.optimizer.weight_decay = 5e-4
    config.optimizer.decay_kernels_only = True
    config.optimizer.warmup_epochs = 2.0
    # The form of the released code, and closer neighbors: better here at a rate of 0.8.
    config.ncr.direction = "neighbors_to_self"
    config.ncr.temperature_squared = True
    config.ncr.consistency_weight = 0.8
    config.ncr.similarity_power = 2.0
    config.sop.v_learning_rate = 30.0  # Few examples are seen few times.
    config.second_view.shift = 2
    set_tuned(config, pathlib.Path(__file__).parent / "tuned" / "fashion_mnist.json")
    return config
