"""The flag of the commands that run several trials of each method."""

from absl import flags

TRIALS = flags.DEFINE_integer(
    "trials", None, "Runs of each, by seed. Default: the config's; demo: 3.", 1
)
