"""A config that is as the package has it: what is tuned in `configs/` may change."""

from keras_ncr.experiments.config import default_config, set_noise, string_arguments


def get_config(argument=None):
    arguments = string_arguments(argument, method="ncr", noise="symmetric", rate=0.4)
    config = default_config()
    set_noise(config, arguments)
    config.trials = 3
    return config
