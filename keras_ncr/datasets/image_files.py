"""Image files: which there are in a folder, and the `Source` that reads them."""

import os
import unicodedata

import numpy as np
import tensorflow as tf

from keras_ncr.datasets.source import Source, host_tensor, read_by_index
from keras_ncr.datasets.unreadable import Skipped

# What TensorFlow reads.
READABLE = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp")
# Photos that it does not read: of phones, scanners and cameras.
UNREADABLE = (
    *(".avif", ".heic", ".heif", ".jp2", ".jxl", ".tif", ".tiff"),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"),
)

# Why a file in a class folder is no example.
NOT_NAMED = "not named as an image"
NOT_ENDING = "an image without the end of one in its name"
LEADS_NOWHERE = "a link that leads nowhere"
# How the contents of images begin, and the ends of their names.
_BEGINNINGS = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"RIFF": ".webp",
    b"BM": ".bmp",
}
# Programs of Windows put the first two into folders, macOS the third into archives,
# and network disks the fourth.
_OF_PROGRAMS = ("thumbs.db", "desktop.ini", "__macosx", "@eadir")


def is_hidden(name):
    """Returns whether a file or folder is put there by a program, for itself."""
    return name.startswith(".") or name.lower() in _OF_PROGRAMS


def find_images(folder):
    """Returns the files below a folder: those that are images, and the others."""
    images, others, seen = [], [], set()
    # Left alone, `os.walk` passes over folders that it may not read.
    for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        status = os.stat(parent)
        identity = (status.st_dev, status.st_ino)
        if identity in seen:  # Links may lead round in a circle.
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        prefix = os.path.relpath(parent, folder).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        for file in files:
            if not is_hidden(file):
                is_image = file.lower().endswith(READABLE + UNREADABLE)
                (images if is_image else others).append(prefix + file)
    return sorted(images), sorted(others)


def ending_of(content):
    """Returns the end of a name that suits an image's bytes, or an empty string."""
    endings = (_BEGINNINGS[start] for start in _BEGINNINGS if content.startswith(start))
    return next(endings, "")


def left_out(folder, paths):
    """Returns files that are not named as images as `Skipped`, with the reasons."""
    return tuple(
        Skipped(printable(path), _why_left_out(os.path.join(folder, path)))
        for path in paths
    )


def is_image(file):
    """Returns whether what was left out is an image all the same."""
    return file.reason == NOT_ENDING


def _why_left_out(path):
    """Returns the reason why a file is no example."""
    try:
        with open(path, "rb") as file:
            is_image = bool(ending_of(file.read(8)))
    except OSError:
        is_lost = os.path.islink(path) and not os.path.exists(path)
        return LEADS_NOWHERE if is_lost else NOT_NAMED
    return NOT_ENDING if is_image else NOT_NAMED


def as_on_disk(path, folder):
    """Returns a path in the Unicode form in which there is a file, if there is one."""
    if path.isascii() or os.path.isfile(os.path.join(folder, path)):
        return path
    # macOS takes names apart into letters and accents, and tables have them joined.
    forms = [unicodedata.normalize(form, path) for form in ("NFC", "NFD")]
    there = (form for form in forms if os.path.isfile(os.path.join(folder, form)))
    return next(there, path)


def check_readable(paths):
    """Raises if TensorFlow does not read some kind of image file."""
    unreadable = [path for path in paths if is_unreadable(path)]
    if unreadable:
        raise ValueError(
            "Images must be JPEG, PNG, GIF, BMP or WebP files, which TensorFlow reads. "
            f"Received: {first_few(unreadable)}. Convert them, to JPEG for example, "
            "or remove them."
        )


def is_unreadable(path):
    """Returns whether the end of a name is that of images TensorFlow does not read."""
    return path.lower().endswith(UNREADABLE)


def first_few(paths):
    """Returns the first three of some paths as text, and how many more there are."""
    text = ", ".join(repr(path) for path in paths[:3])
    return text if len(paths) <= 3 else f"{text} and {len(paths) - 3} more"


def source_of_files(
    name,
    paths,
    labels,
    ids,
    class_names,
    clean_labels=None,
    skipped=(),
    left_out=(),
    contents=None,
):
    """Returns the `Source` of image files, read when needed, or of their `contents`."""
    if contents is None:
        # Absolute, so that a later change of the current folder does no harm.
        current_folder = os.getcwd()
        paths = [os.path.join(current_folder, path) for path in paths]
        # Names of files are bytes, which need not be UTF-8.
        path_of = host_tensor([os.fsencode(path) for path in paths])

        def read_image(index):
            return tf.io.read_file(tf.gather(path_of, index))
    else:
        content_of = host_tensor(list(contents))

        def read_image(index):
            return tf.gather(content_of, index)

    return Source(
        name=name,
        dataset=read_by_index(read_image, labels),
        labels=labels,
        ids=np.array([printable(text) for text in ids]),
        num_classes=len(class_names),
        class_names=tuple(printable(text) for text in class_names),
        image_shape=(None, None, 3),
        clean_labels=clean_labels,
        read_image=read_image,
        skipped=tuple(skipped),
        left_out=tuple(left_out),
    )


def printable(text):
    """Returns text that can be written as UTF-8, which not every file's name can."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _refuse(error):
    raise error
