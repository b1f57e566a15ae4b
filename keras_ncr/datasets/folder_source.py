"""A folder of class folders."""

import os
from collections.abc import Sequence

import numpy as np
from absl import logging

from keras_ncr.checks import check_class_names, check_known
from keras_ncr.datasets.image_files import (
    READABLE,
    check_readable,
    find_images,
    first_few,
    is_hidden,
    is_unreadable,
    printable,
    source_of_files,
)
from keras_ncr.datasets.source import Source
from keras_ncr.datasets.unreadable import Skipped, check_left, check_on_error

_LAYOUT = """Expected is a folder for each class, with its images:
    photos/cat/1.jpg
    photos/cat/2.jpg
    photos/dog/1.jpg"""

_UNREADABLE = "TensorFlow does not read files of this kind."

# Folders of these names hold data sets, not classes.
_SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


def from_folder(
    folder: str | os.PathLike,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    on_error: str = "raise",
) -> Source:
    """Returns the images of a folder with one folder for each class as a `Source`.

    The name of a class folder is the class. Folders within it are searched as well.
    Examples are sorted by class, then by path, both in the order of their characters'
    code points, and an example's id is its path below `folder`, with `/`.

    Images are files named `.jpg`, `.jpeg`, `.jpe`, `.jfif`, `.png`, `.gif`, `.bmp` or
    `.webp`, in small or capital letters. Other files, and what begins with a dot, are
    left out. The files are listed now and read when they are needed: find those that
    are broken by `keras_ncr.datasets.check_images(source)`.

    Args:
        folder: Path of the folder.
        class_names: Optional strings, the classes in the order of their numbers. A test
            folder gets those of the training data, whether or not it has images of
            each. Defaults to the names of the class folders, sorted.
        name: Optional string. What messages call the data set. Defaults to the name of
            the folder.
        on_error: `"raise"` or `"skip"`, which leaves out images of a kind that
            TensorFlow does not read, and lists them in `skipped` of the source. Those
            that are broken are left out by `skip_broken_images`. Defaults to `"raise"`.

    Returns:
        `Source` of encoded images.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is not laid out so, has fewer than two classes, a class
            without images, a class that is not in `class_names`, or images of a kind
            that TensorFlow does not read.

    Example:
    >>> for file in ("cat/1.png", "cat/2.png", "dog/1.png"):
    ...     image = tf.io.encode_png(np.zeros((4, 4, 3), "uint8"))
    ...     tf.io.write_file(f"photos/{file}", image)
    >>> source = keras_ncr.datasets.from_folder("photos")
    >>> source.class_names, source.labels.tolist()
    (('cat', 'dog'), [0, 0, 1])
    >>> source.ids.tolist()
    ['cat/1.png', 'cat/2.png', 'dog/1.png']

    Batches for `fit`, of random parts as squares of 8 pixels; and for `evaluate`:

    >>> augment = keras_ncr.pipelines.random_resized_crop(8)
    >>> train = keras_ncr.pipelines.training_batches(source, 3, augment=augment)
    >>> prepare = keras_ncr.pipelines.central_crop(8)
    >>> test = keras_ncr.pipelines.evaluation_batches(source, 3, prepare=prepare)
    >>> images, labels = next(iter(test))
    >>> images.shape, labels.numpy().tolist()
    (TensorShape([3, 8, 8, 3]), [0, 0, 1])
    """
    skips = check_on_error(on_error)
    folder = _check_folder(folder)
    class_folders = _list_class_folders(folder)
    if class_names is None:
        _check_class_folders(folder, class_folders)
        files = _find_images_of(folder, class_folders, may_be_empty=False)
        class_names = tuple(class_folders)
    else:
        class_names = check_class_names(class_names)
        for class_folder in class_folders:
            check_known(class_folder, class_names, "class folder")
        files = _find_images_of(folder, class_folders, may_be_empty=True)
    ids, labels, skipped = [], [], []
    for label, class_name in enumerate(class_names):
        for path in files.get(class_name, []):
            if skips and is_unreadable(path):
                skipped.append(Skipped(printable(path), _UNREADABLE))
                continue
            ids.append(path)
            labels.append(label)
    check_left(len(ids) or not skipped, skipped, folder)
    if not ids:
        raise ValueError(
            f"`folder` must hold images of {list(class_names)}. Received: "
            f"folder={folder!r}, without any. {_LAYOUT}"
        )
    check_readable(ids)
    return source_of_files(
        name=os.path.basename(os.path.abspath(folder)) if name is None else name,
        paths=[os.path.join(folder, path) for path in ids],
        labels=np.array(labels),
        ids=ids,
        class_names=class_names,
        skipped=skipped,
    )


def _check_folder(folder):
    """The folder as a string, if there is one."""
    folder = os.path.expanduser(os.fspath(folder))
    if os.path.isfile(folder):
        raise ValueError(
            "`folder` must be a folder. Received a file: "
            f"folder={folder!r}. Unpack an archive first."
        )
    if not os.path.isdir(folder):
        above = os.path.abspath(folder)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        raise FileNotFoundError(
            f"`folder` must be a folder that exists. Received: folder={folder!r}, of "
            f"which only {above!r} exists."
        )
    return folder


def _list_class_folders(folder):
    """Sorted names of the folders right below."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if entry.is_dir() and not is_hidden(entry.name)
        )


def _check_class_folders(folder, names):
    """Refuses a folder that is one level too high or too low."""
    if names and {name.lower() for name in names} <= _SPLITS:
        raise ValueError(
            f"`folder` must hold the classes of one split. Received: folder={folder!r} "
            f"with {names}. Pass one of them, such as "
            f"{os.path.join(folder, names[-1])!r}; and for a test split the classes of "
            "the training split, `class_names=train.class_names`. If these are "
            "the classes, say so by `class_names`."
        )
    stray = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_file()
        and not is_hidden(entry.name)
        and entry.name.lower().endswith(READABLE)
    )
    if names and stray:
        raise ValueError(
            f"Images must lie in the folder of a class. Received: {first_few(stray)} "
            f"in {folder!r} itself. Move them into one of {names[:10]}, or away."
        )
    for name in names:
        inner_names = set(_list_class_folders(os.path.join(folder, name)))
        if inner_names & set(names):
            raise ValueError(
                f"`folder` must hold the classes of one split. Received: "
                f"folder={folder!r}, where {name!r} holds {sorted(inner_names)}, as "
                "the folder itself does: its images would count as one class more. "
                f"Move {name!r} beside the folder."
            )
    if len(names) == 1:
        inner = os.path.join(folder, names[0])
        raise ValueError(
            f"`folder` must hold at least two classes. Received: folder={folder!r} "
            f"with the folder {names[0]!r} alone. If the classes are in that one, pass "
            f"{inner!r}. {_LAYOUT}"
        )
    if not names:
        images, _ = find_images(folder)
        content = f"with {len(images)} images in no class folder" if images else "empty"
        raise ValueError(
            f"`folder` must hold class folders. Received: folder={folder!r}, "
            f"{content}. {_LAYOUT}"
        )


def _find_images_of(folder, class_folders, may_be_empty):
    """Paths of the images below `folder`, a list for each class."""
    images_of, left_out = {}, []
    for name in class_folders:
        images, others = find_images(os.path.join(folder, name))
        if not images and not may_be_empty:
            content = first_few(others) if others else "an empty folder"
            raise ValueError(
                f"Class folder {name!r} must hold an image, a file that ends with one "
                f"of {', '.join(READABLE)}. Received: {content}. Add images, remove "
                "the folder, or pass `class_names` if a class may be without."
            )
        images_of[name] = [f"{name}/{path}" for path in images]
        left_out += [f"{name}/{path}" for path in others]
    if left_out:
        logging.info(
            "Left out of %r, since not named as images: %s", folder, first_few(left_out)
        )
    return images_of
