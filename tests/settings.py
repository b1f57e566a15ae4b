"""Configs for tests: the default one, with a few settings changed."""

from keras_ncr.experiments.config import default_config


def config_of(**settings):
    """Returns the default config with other settings, dots written as `__`."""
    config = default_config()
    for key, value in settings.items():
        config.update_from_flattened_dict({key.replace("__", "."): value})
    return config
