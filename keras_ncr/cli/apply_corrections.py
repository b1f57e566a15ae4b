r"""Puts reviewed labels on a data set, as a new table or a new folder of pictures.

    keras-ncr apply-corrections --workdir=runs/pictures \
        --corrections=corrections.csv --output=corrected.csv

The workdir is that of the run whose labels were reviewed; the corrections are what the
review page exported. An output that ends with .csv or .parquet is a table of all
pictures and their labels, which `--config=table` trains on; of texts or rows with their
labels, for `--config=text` and `--config=tabular`; or of ids and labels. Any other
output is a folder of class folders with copies of the pictures, for `--config=folder`.
Neither has what was dropped. Nothing that was there before is changed.
"""

import os
import pathlib
import shlex

import numpy as np
from absl import flags

from keras_ncr.cli.command_line import WORKDIR, refusal_in_one_line, required
from keras_ncr.experiments import workdir
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.labels import reviewed, with_noise
from keras_ncr.experiments.own_pictures import picture_folder
from keras_ncr.review import export
from keras_ncr.review.corrections import read_corrections

CORRECTIONS = flags.DEFINE_string(
    "corrections", None, "The file that the review page exported."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "What is written: a .csv or .parquet file, or a folder."
)
# So that --help shows it.
flags.declare_key_flag("workdir")


def main() -> None:
    """Runs the command, and prints what it did and how to train on it."""
    required(WORKDIR, CORRECTIONS, OUTPUT)
    with refusal_in_one_line():
        print(apply_corrections(WORKDIR.value, CORRECTIONS.value, OUTPUT.value))


def apply_corrections(
    folder: str | os.PathLike,
    path: str | os.PathLike,
    output: str | os.PathLike,
    verbose: bool = True,
) -> str:
    """Writes the corrected data of a run; returns what was done, and what follows."""
    config = workdir.read_config(folder)
    corrections = read_corrections(path)
    pictures = picture_folder(config.data)
    is_table = pathlib.Path(output).suffix.lower() in export.TABLES
    if not is_table and config.data.name == "folder":
        export.check_apart(output, pictures)
    sources = with_noise(config, load_sources(config.data, is_checked=False))
    corrected = corrections.apply(sources.audited, reviewed(corrections, sources))
    if is_table:
        export.write_table(corrected, output, pictures, _names_of_columns(config.data))
    else:
        export.write_folder(corrected, output, verbose, pictures)
    return "\n".join(
        [
            _summary(corrected, corrections),
            *_emptied(corrected),
            f"Written: {output}",
            *_commands(config, folder, path, output, is_table, corrected),
        ]
    )


def _names_of_columns(data):
    """Returns what the ids, texts and labels of a table are called in the config."""
    keys = {"id": data.id_key, "text": data.text_key, "label": data.label_key}
    if data.name not in ("text", "tabular"):
        return {}
    return {column: key for column, key in keys.items() if key}


def _summary(source, corrections):
    """Returns how many examples there are now, and what happened to them."""
    counts = corrections.counts
    words = ", ".join(f"{number} {action}" for action, number in counts.items())
    return f"{source.name}: {words}. {source.num_examples} examples are left."


def _emptied(source):
    """Returns a line that names the classes without examples, if there are any."""
    counts = np.bincount(source.labels, minlength=source.num_classes)
    names = [source.class_names[label] for label in np.flatnonzero(counts == 0)]
    return [f"No example is left of: {', '.join(names)}"] if names else []


def _commands(config, folder, path, output, is_table, corrected):
    """Returns lines that say how to train on corrected labels."""
    corrections = shlex.quote(f"--config.data.corrections={path}")
    lines = [f"Train as {folder} was, and add: {corrections}, with a new workdir."]
    if picture_folder(config.data) is not None:
        words = [
            *("keras-ncr", "train"),
            f"--config={'table' if is_table else 'folder'}",
            f"--config.data.path={output}",
            f"--workdir={str(folder).rstrip('/')}-corrected",
        ]
        lines.append(f"Or on what was written: {shlex.join(words)}")
    elif is_table and config.data.name in ("text", "tabular"):
        is_input = corrected.kind == "columns" and "id" in corrected.stored_inputs
        keys = {"id_key": config.data.id_key or ("" if is_input else "id")}
        keys |= {key: config.data[key] for key in ("text_key", "label_key", "columns")}
        words = [
            *("keras-ncr", "train", f"--config={config.data.name}"),
            f"--config.data.path={output}",
            *(f"--config.data.{key}={value}" for key, value in keys.items() if value),
            f"--workdir={str(folder).rstrip('/')}-corrected",
        ]
        lines.append(f"Or on what was written: {shlex.join(words)}")
    return lines
