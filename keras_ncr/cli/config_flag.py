"""The flag of the commands that begin with a config file."""

from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", help_string="The config file.")


def required_config():
    """Returns the config, or ends the command with one line if none was given.

    A flag that absl itself requires would be required of every command in the process.
    """
    if CONFIG.value is None:
        raise SystemExit("Error: flag --config must have a value: a file of configs/.")
    return CONFIG.value
