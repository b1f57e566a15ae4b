"""Shows what a config would train on: a report in words, and pictures."""

import os
import pathlib
import textwrap

import tensorflow as tf
from ml_collections import ConfigDict

from keras_ncr.experiments.config_checks import check_config
from keras_ncr.experiments.data import check_images, load_sources
from keras_ncr.experiments.effects import notes
from keras_ncr.experiments.inputs import keep_left_out
from keras_ncr.experiments.inspection.pictures import figures_of
from keras_ncr.experiments.inspection.report import data_rows, noise_rows, training_rows
from keras_ncr.experiments.labels import as_trained_on, corrected, with_noise
from keras_ncr.experiments.model import compiled_model
from keras_ncr.experiments.own_pictures import check_outside
from keras_ncr.files import is_ours, replacing

__all__ = ["inspect_config"]


def inspect_config(config: ConfigDict, folder: str | os.PathLike) -> str:
    """Returns a report on what a config would train on, and draws pictures of it.

    Nothing is trained, and no more of the data is read than must be. The folder of the
    pictures is new, empty, or has nothing but pictures that this wrote before. A
    `ValueError` says what is wrong with it or the config, before anything is written.
    """
    check_config(config)
    check_outside(config.data, folder, "workdir")
    _check_own(pathlib.Path(folder).expanduser())
    # A look at a few images should not read all.
    sources = load_sources(config.data, is_checked=False)
    left_out = sources.left_out
    sources, _ = corrected(config, with_noise(config, sources))
    sections = {
        "Data": data_rows(config, sources),
        "Noise": noise_rows(config, sources.train),
    }
    sources = as_trained_on(config, sources)
    model = compiled_model(config, sources.trained_on)
    sections["Training"] = training_rows(config, sources.trained_on, model)
    sections["Training"] += [("note", note) for note in notes(config, sources.train)]
    try:
        figures, not_drawn = figures_of(config, sources)
    except tf.errors.InvalidArgumentError:
        # The check names the images that cannot be decoded.
        check_images((sources.train, sources.test))
        raise
    folder = _saved(figures, not_drawn, folder)
    keep_left_out(left_out, folder / _LIST)
    sections[f"Pictures in {folder}"] = [
        *((name, _PICTURES[name]) for name in figures),
        *((name, f"not drawn: {reason}") for name, reason in not_drawn.items()),
    ]
    return "\n\n".join(
        "\n".join([title, *map(_line, rows)]) for title, rows in sections.items()
    )


_PICTURES = {
    "batch.png": "the first batch as the network gets it",
    "evaluation.png": "the first test images as the network gets them",
    "same_images.png": "the same images, augmented again and again",
    "classes.png": "examples by class",
    "transition_matrix.png": "which class is labeled as which",
}


_LIST = "left_out.csv"
# What is written into each picture; by it the next inspection knows its own.
_AUTHOR = "keras-ncr inspect"


def _check_own(folder):
    """Raises if a folder holds anything but pictures of an earlier inspection."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    for name in names:
        # Hidden files are neither pictures nor anybody's work.
        if not name.startswith(".") and not _is_picture(folder / name):
            raise ValueError(
                "`workdir` must be a folder that is new, empty, or holds nothing but "
                "pictures of an earlier inspection, which are then replaced. Received: "
                f"{folder}, which holds {name!r}. Pass another one."
            )


def _is_picture(path):
    """Returns whether a file is a picture that an inspection wrote."""
    return path.name in _PICTURES and is_ours(path, _AUTHOR)


def _line(row):
    """Returns a row of the report, its text in lines of 88 characters."""
    name, words = row
    return textwrap.fill(
        words,
        width=88,
        initial_indent=f"  {name:23}",
        subsequent_indent=" " * 25,
        break_long_words=False,  # The hash is to be copied.
        break_on_hyphens=False,
    )


def _saved(figures, not_drawn, folder):
    """Writes the figures, and returns the path of their folder."""
    folder = pathlib.Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_own(folder)  # Meanwhile, somebody may have put files there.
        for name, figure in figures.items():
            with replacing(folder / name) as temporary:
                figure.savefig(
                    temporary,
                    dpi=120,
                    bbox_inches="tight",
                    metadata={"Author": _AUTHOR},
                )
        for name in not_drawn:  # An old picture would be of another config.
            if _is_picture(folder / name):
                (folder / name).unlink()
    except OSError as error:
        raise ValueError(
            "`workdir` must be a folder that can be made and written to. Received: "
            f"{folder} ({error.strerror}). Pass another one."
        ) from error
    return folder
