"""The flag of the commands that begin with a config: a name of configs/, or a file."""

import difflib
import pathlib

from absl import flags
from ml_collections import ConfigDict, config_flags

from keras_ncr.cli.command_line import required
from keras_ncr.experiments.effects import unused_settings

# In a checkout a link to `configs/`; in an installed package a folder.
_PACKAGED = pathlib.Path(__file__).parents[1] / "configs"


def config_path(name: str) -> pathlib.Path:
    """Returns the file of a config, or raises and says which there are."""
    # `digits`, `digits.py` and `configs/digits.py` are found in `configs/` of the
    # current folder, or else of the package. Any other path is taken as it is.
    path = pathlib.Path(name).expanduser()
    file = path.name if path.suffix else f"{path.name}.py"
    is_of_configs = path.parent in (pathlib.Path(), pathlib.Path("configs"))
    named = [pathlib.Path("configs", file), _PACKAGED / file] if is_of_configs else []
    for place in [path, *named] if path.suffix else [*named, path]:
        if place.is_file():
            return place
    known = sorted(file.stem for file in _PACKAGED.glob("*.py"))
    nearest = difflib.get_close_matches(path.stem, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(
        f"There is no such config. It must be the path of a file, or one of "
        f"{', '.join(known)}.{hint}"
    )


CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="A config, NAME or FILE.py; with arguments, NAME:ARGUMENTS."
)
_parser = flags.FLAGS["config"].parser
_load = _parser.parse


def _parse(value: str) -> ConfigDict:
    """Returns the config of a flag whose value may begin with a name."""
    name, *arguments = value.split(":", 1)
    return _load(":".join([str(config_path(name)), *arguments]))


_parser.parse = _parse


def required_config() -> ConfigDict:
    """Returns the config, or ends the command with one line if none was given."""
    required(CONFIG)
    return CONFIG.value


def note_unused() -> None:
    """Prints a line for each setting that was typed and has no effect."""
    typed = config_flags.get_override_values(flags.FLAGS["config"])
    for sentence in unused_settings(CONFIG.value, typed):
        print(f"Note: {sentence}")
