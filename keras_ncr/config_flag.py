"""The flag of the commands that begin with a config file."""

from absl import flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", help_string="The config file.")
flags.mark_flag_as_required("config")
