"""Finds wrong labels in pictures, texts, rows or features, in one command.

    keras-ncr clean PICTURES

PICTURES is a folder of class folders; a table (.csv, .parquet) with a column of labels
and one of paths, one of texts, or several of numbers and words; features (.npz with
`features`, `labels` and perhaps `ids`); or a name of TensorFlow Datasets. A pretrained
network makes features of the pictures; words and numbers are features by themselves.
Classifiers on these, of which none has seen the example that it judges, say which
labels are wrong. The workdir gets the list (`audit/labels.csv`, the worst first) and a
page to decide on (`review/index.html`). With the corrections of that page,
`--corrections=FILE`, it gets the corrected labels and a classifier. The same command
again goes on where it was. Your files are only read.
"""

import contextlib
import dataclasses
import pathlib
import re
import shlex

from absl import flags

from keras_ncr.cli.apply_corrections import CORRECTIONS
from keras_ncr.cli.audit import NEIGHBORS, THRESHOLD
from keras_ncr.cli.command_line import (
    WORKDIR,
    interruption_in_one_line,
    refusal_in_one_line,
    required,
)
from keras_ncr.experiments.clean import Clean
from keras_ncr.experiments.clean_corrections import correct
from keras_ncr.experiments.clean_data import TableKeys, read_data
from keras_ncr.experiments.clean_settings import CleanSettings
from keras_ncr.experiments.own_pictures import in_settings

PICTURES = flags.DEFINE_string("pictures", None, "The data, if not the first word.")
flags.DEFINE_string(
    "backbone",
    None,
    "For pictures a network of keras.applications, hub:PRESET of KerasHub, a file "
    "FILE.keras, or scratch (not pretrained). Default: EfficientNetV2B0. For texts "
    "hub:PRESET, or the default, their words. None for rows and features.",
)
flags.DEFINE_bool(
    "finetune", False, "Whether each fold trains the whole network, not a head alone."
)
flags.DEFINE_integer("network_epochs", None, "Of a network that is trained.", 1)
flags.DEFINE_integer("image_size", 224, "Pictures are made so large.", 32)
flags.DEFINE_integer("num_folds", 5, "Parts that are left out in turn.", 2)
flags.DEFINE_integer(
    "num_draws",
    None,
    "How often examples are split into parts, for a head. Default: 3, or 1 where that "
    "takes long.",
    1,
)
flags.DEFINE_integer("batch_size", 64, "Pictures at once in the network.", 1)
flags.DEFINE_enum("dtype", "float32", ["float32", "float16"], "How features are kept.")
flags.DEFINE_integer("seed", 0, "Of folds and of training.", 0)
flags.DEFINE_string(
    "image_key", None, "A table's column of paths of pictures. Default: path."
)
flags.DEFINE_string("text_key", None, "A table's column of texts. Default: text.")
flags.DEFINE_list(
    "columns", None, "Columns of numbers and words. Default: all that are left."
)
flags.DEFINE_string(
    "id_key", None, "The column by which texts or rows are known. Default: id."
)
flags.DEFINE_string(
    "picture_key", None, "A column of paths of pictures that the page shows beside."
)
flags.DEFINE_string("label_key", None, "The column, or key, of labels.")
SPLIT = flags.DEFINE_string("split", "train", "The split of TensorFlow Datasets.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TensorFlow Datasets.")
ON_ERROR = flags.DEFINE_enum(
    "on_error", "raise", ["raise", "skip"], "What is done about broken pictures."
)
# The word that may stand without a flag.
POSITIONAL = PICTURES
# So that --help shows them.
for flag in (WORKDIR, THRESHOLD, NEIGHBORS, CORRECTIONS):
    flags.declare_key_flag(flag.name)


def main() -> None:
    """Runs the command, and prints what it found."""
    required(PICTURES)
    pictures = PICTURES.value
    folder = WORKDIR.value or default_folder(pictures)
    settings = _of_flags(CleanSettings)
    with refusal_in_one_line(), interruption_in_one_line(), _in_own_words():
        print(f"Looking for wrong labels in {pictures}; all goes to {folder}.")
        data = read_data(
            pictures,
            _of_flags(TableKeys),
            split=SPLIT.value,
            data_dir=DATA_DIR.value,
            on_error=ON_ERROR.value,
        )
        clean = Clean(data, folder, settings)
        with clean.begun():
            if CORRECTIONS.value is None:
                print(clean.find(_command(pictures)))
            else:
                print(correct(clean, CORRECTIONS.value))


def default_folder(pictures: str) -> str:
    """Returns where everything goes: `runs/clean-` and the name of the data."""
    path = pathlib.Path(pictures)
    name = path.stem if path.suffix and not path.is_dir() else path.resolve().name
    return "runs/clean-" + re.sub(r"[^\w.-]+", "-", name)


def _of_flags(settings):
    """Returns settings of a class, whose fields are named as flags are."""
    names = [field.name for field in dataclasses.fields(settings)]
    return settings(**{name: flags.FLAGS[name].value for name in names})


@contextlib.contextmanager
def _in_own_words():
    """Names flags of this command in errors, and not settings of a config."""
    try:
        with in_settings():
            yield
    except (ValueError, FileNotFoundError) as error:
        text = str(error).replace("--config.data.", "--")
        raise type(error)(text) from error


def _command(pictures):
    """Returns the words that were typed, as far as they are no default."""
    words = ["keras-ncr", "clean", pictures]
    for flag in flags.FLAGS.get_key_flags_for_module(__name__):
        is_said = flag.name not in ("pictures", "corrections")
        if is_said and flag.present and not flag.using_default_value:
            is_list = isinstance(flag.value, list)
            value = ",".join(flag.value) if is_list else flag.value
            words.append(f"--{flag.name}={value}")
    return shlex.join(words)
