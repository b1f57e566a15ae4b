"""A folder of class folders."""

import os
import re
import warnings
from collections.abc import Sequence

import numpy as np

from keras_ncr.checks import check_class_names, check_known, check_spellings
from keras_ncr.datasets.image_files import (
    READABLE,
    check_readable,
    find_images,
    first_few,
    is_hidden,
    is_image,
    is_unreadable,
    left_out,
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

# Folders of these names hold data sets, not classes: train, test_set, val-images.
_SPLIT = re.compile(
    r"(train|training|val|valid|validation|dev|eval|test|testing|holdout)"
    r"([ _-]?(set|data|images?|imgs?|split|folder|\d+))*",
    re.IGNORECASE,
)
# So do these if they all hold the same folders: fold1, part-2, split_03.
_PART = re.compile(
    r"(fold|split|part|cv|subset|shard|chunk|batch)[ _-]?\d+", re.IGNORECASE
)
# Folders of these names hold what has no label: unlabelled, not-labeled, no_labels.
_UNLABELED = re.compile(
    r"(un|not|no|without)[ _-]?(label(l?ed|s)?|annotat(ed|ions?))"
    r"([ _-]?(set|data|images?|imgs?|pictures?|folder|\d+))*",
    re.IGNORECASE,
)


def from_folder(
    folder: str | os.PathLike,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    on_error: str = "raise",
    unlabeled: str | None = None,
) -> Source:
    """Returns the images of a folder with one folder for each class as a `Source`.

    The name of a class folder is the class. Folders within it are searched as well.
    Examples are sorted by class, then by path, both in the order of their characters'
    code points, and an example's id is its path below `folder`, with `/`.

    Images are files named `.jpg`, `.jpeg`, `.jpe`, `.jfif`, `.png`, `.gif`, `.bmp` or
    `.webp`, in small or capital letters. Other files are listed in `left_out` of the
    source; what begins with a dot is left out. The files are listed now and read when
    they are needed: find those that are broken by
    `keras_ncr.datasets.check_images(source)`.

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
        unlabeled: Optional string: the name of a folder among those of the classes
            that is none, but holds images without a label. Theirs is -1, and they come
            last. Defaults to `None`: every folder is a class, with a warning if its
            name says that it is none.

    Returns:
        `Source` of encoded images.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it is not laid out so, has fewer than two classes, a class
            without images, a class that is not in `class_names` or spelled in two ways,
            a link that leads nowhere in place of a class, or images of a kind that
            TensorFlow does not read.

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
    if unlabeled is not None:
        check_known(unlabeled, class_folders, "unlabeled")
        class_folders.remove(unlabeled)
    if class_names is None:
        _check_class_folders(folder, class_folders)
        _warn_of_unlabeled(folder, class_folders)
        files, others = _find_images_of(folder, class_folders, may_be_empty=False)
        class_names = tuple(class_folders)
    else:
        class_names = check_class_names(class_names)
        for class_folder in class_folders:
            check_known(class_folder, class_names, "class folder")
        files, others = _find_images_of(folder, class_folders, may_be_empty=True)
    label_of = {name: label for label, name in enumerate(class_names)}
    if unlabeled is not None:
        more, more_others = _find_images_of(folder, [unlabeled], may_be_empty=False)
        files, others = {**files, **more}, [*others, *more_others]
        label_of[unlabeled] = -1
    ids, labels, skipped = [], [], []
    for inner, label in label_of.items():
        for path in files.get(inner, []):
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
        left_out=(
            *left_out(folder, others),
            # Tables and notes belong there, images do not.
            *(file for file in left_out(folder, _list_files(folder)) if is_image(file)),
        ),
    )


def split_folders(folder: str | os.PathLike) -> list[str]:
    """Returns the folders in a folder that hold splits of data, if several do."""
    names = _list_class_folders(folder)
    splits = [name for name in names if _SPLIT.fullmatch(name)]
    if len(names) > 1 and all(map(_PART.fullmatch, names)):
        inner = [set(_list_class_folders(os.path.join(folder, name))) for name in names]
        if set.intersection(*inner):
            return names
    return splits if len(splits) > 1 else []


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
    """Returns the sorted names of the folders right below."""
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if entry.is_dir() and not is_hidden(entry.name)
        )


def _list_files(folder):
    """Returns the sorted names of the files right below, or raises for a lost link."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.is_dir()]
    paths = {name: os.path.join(folder, name) for name in sorted(names)}
    lost = [path for path in paths.values() if not os.path.exists(path)]
    if lost:
        raise ValueError(
            "Links among the folders of classes must lead somewhere: a class would be "
            f"missing. Received: {lost[0]!r}, which leads to "
            f"{os.readlink(lost[0])!r}. Mount that, or remove the link."
        )
    return [name for name in paths if not is_hidden(name)]


def _check_class_folders(folder, names):
    """Refuses a folder that is one level too high or too low."""
    splits = split_folders(folder)
    if splits or (len(names) == 1 and _SPLIT.fullmatch(names[0])):
        splits = splits or names
        raise ValueError(
            f"`folder` must hold the classes of one split. Received: folder={folder!r} "
            f"with {splits}. Pass one of them, such as "
            f"{os.path.join(folder, splits[-1])!r}; and for a test split the classes "
            "of the training split, `class_names=train.class_names`. If these are "
            "the classes, say so by `class_names`."
        )
    stray = [name for name in _list_files(folder) if name.lower().endswith(READABLE)]
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
    check_spellings(names, "Names of class folders")
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


def _warn_of_unlabeled(folder, names):
    """Warns of a folder that is taken for a class, though its name says otherwise."""
    for name in filter(_UNLABELED.fullmatch, names):
        warnings.warn(
            f"Each folder in {folder!r} is a class, {name!r} too. If its images have "
            f"no label, say so: `unlabeled={name!r}`, in a run "
            f"--config.data.unlabeled_folder={name}. Or move it away.",
            stacklevel=3,
        )


def _find_images_of(folder, class_folders, may_be_empty):
    """Returns the images below `folder`, a list for each class, and the other files."""
    images_of, all_others = {}, []
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
        all_others += [f"{name}/{path}" for path in others]
    return images_of, all_others
