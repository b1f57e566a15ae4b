"""Files that a user fetched by hand: lists with line numbers, images out of archives.

A data set comes as archives, and some users have them extracted. Both give the same
files under the same names here, one file in memory at a time.
"""

import dataclasses
import functools
import tarfile
import zipfile
import zlib

import tensorflow as tf
import tensorflow_datasets as tfds

from keras_ncr.datasets import images
from keras_ncr.datasets.unreadable import plain_message

MAX_NAMED = 100  # of broken images in one error message
# What reading an archive raises when a part of it is missing or was changed.
ARCHIVE_ERRORS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder or an archive, and what of it counts."""

    path: tfds.core.Path
    # Only what lies below a folder of this name in an archive counts, and is named from
    # there on. None takes files at any depth and names them without their folders.
    inside: str | None = ""

    def name_of(self, member):
        """Returns the name of an archive's member, or None if it does not count."""
        if self.inside is None:
            return member.rsplit("/", 1)[-1]
        _, found, name = f"/{member}".partition(f"/{self.inside}")
        return name if found else None


def find_place(manual_dir, archives, folder, inside, page):
    """Returns the first archive that is there, or the folder that came out of one."""
    for archive in archives:
        if (manual_dir / archive).exists():
            return Place(manual_dir / archive, inside)
    if (manual_dir / folder).is_dir():
        return Place(manual_dir / folder)
    raise FileNotFoundError(
        f"{manual_dir} must hold {' or '.join(archives)}, or the folder {folder}/ that "
        f"comes out of it. Received: neither. Get it from {page} and put it there, or "
        "pass the folder that has it as `--manual_dir` (`download_config.manual_dir` "
        "in Python)."
    )


def read_texts(place, names):
    """Returns the texts of named files, in that order."""
    found = dict(_wanted_files(place, names))
    for name in names:
        if name not in found:
            raise FileNotFoundError(
                f"{place.path} must hold {name}. Received: no file of that name. "
                "Fetch and extract the archive again."
            )
    return [found[name].decode("utf-8-sig") for name in names]


def numbered_lines(text):
    """Returns pairs of line number, from 1, and line: those that are not empty."""
    lines = enumerate(map(str.strip, text.splitlines()), start=1)
    return [(number, line) for number, line in lines if line]


def line_error(file_name, number, line, expectation):
    """Returns the error for one line of a list."""
    return ValueError(
        f"{file_name}, line {number}, must {expectation}. Received: {line!r}."
    )


def parse_labels(text, file_name, num_classes):
    """Returns the label of every name in a list of lines `name label`."""
    labels = {}
    for number, line in numbered_lines(text):
        name, _, label = line.rpartition(" ")
        if not (name and label.isdecimal()):
            expectation = "be the name of an image, a space and a class number"
            raise line_error(file_name, number, line, expectation)
        if int(label) >= num_classes:
            expectation = f"end with a class number from 0 to {num_classes - 1}"
            raise line_error(file_name, number, line, expectation)
        if labels.setdefault(name, int(label)) != int(label):
            expectation = f"give the label {labels[name]}, as an earlier line does"
            raise line_error(file_name, number, line, expectation)
    return labels


def checked_classes(names, num_classes, file_name):
    """Returns the names in a list of classes, or raises unless they are as many."""
    if not len(names) == len(set(names)) == num_classes:
        raise ValueError(
            f"{file_name} must have {num_classes} different lines, one for each class. "
            f"Received: {len(names)} lines, {len(set(names))} of them different. Fetch "
            "it again."
        )
    return names


def require_every_class(labels, class_names, file_name):
    """Raises unless every class has an image."""
    present = set(labels)
    missing = [name for i, name in enumerate(class_names) if i not in present]
    if missing:
        raise ValueError(
            f"{file_name} must name at least one image of each of the "
            f"{len(class_names)} classes. Received: none of {missing[0]!r} "
            f"({len(missing)} classes in all). Fetch the list again: it is not whole."
        )


def stream_images(place, names, list_name):
    """Yields name and content of every named image, in the order of the archive."""
    missing = set(names)
    broken = []
    for name, content in _wanted_files(place, names):
        missing.discard(name)
        reason = _why_not_decodable(content)
        if reason:
            broken.append(f"{name} ({reason})")
        else:
            yield name, content
    if missing:
        raise ValueError(
            f"{list_name} names {min(missing)}, which is not in {place.path} "
            f"({len(missing)} such images in all). Fetch and extract the archive "
            "again: it is not whole."
        )
    if broken:
        raise ValueError(
            f"{len(broken)} images of {place.path} cannot be decoded: "
            f"{', '.join(broken[:MAX_NAMED])}. Fetch the archive again; if they are "
            f"broken there too, take them out of {list_name} (of an archive: extract "
            "it, change the file, and move the archive away, which comes first)."
        )


def list_names(place):
    """Returns the names of all files of a place, sorted."""
    if place.path.is_dir():
        return sorted(path.name for path in place.path.iterdir() if path.is_file())
    named = (place.name_of(member) for member, _ in _archive_files(place.path))
    return sorted(name for name in named if name)


def _wanted_files(place, names):
    """Name and content of those files of a place that are wanted and there."""
    if place.path.is_dir():
        for name in names:
            if (place.path / name).exists():
                yield name, (place.path / name).read_bytes()
        return
    missing = set(names)
    for member, read in _archive_files(place.path):
        name = place.name_of(member)
        if name in missing:
            missing.discard(name)  # of a file that is there twice, the first counts
            yield name, read()
        if not missing:
            return


def _archive_files(path):
    """Name of every file of an archive, and the function that reads it."""
    members = _zip_members if path.suffix == ".zip" else _tar_members
    with path.open("rb") as file:
        try:
            for name, read in members(file):
                yield name, functools.partial(_read_or_refuse, path, read)
        except ARCHIVE_ERRORS as error:
            raise _archive_error(path, error) from error


def _read_or_refuse(path, read):
    """A member's content; reading happens at the caller's, beyond the loop's try."""
    try:
        return read()
    except ARCHIVE_ERRORS as error:
        raise _archive_error(path, error) from error


def _archive_error(path, error):
    return ValueError(
        f"{path} must be a whole archive. Received: one that cannot be read to its end "
        f"({error or type(error).__name__}). Fetch it again."
    )


def _tar_members(file):
    """Files of a tar archive; what is not wanted is skipped without being read."""
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # tarfile keeps them: gigabytes for WebVision
            if member.isfile():
                yield member.name, functools.partial(_read_tar_member, archive, member)


def _read_tar_member(archive, member):
    with archive.extractfile(member) as file:
        return file.read()


def _zip_members(file):
    """Files of a zip archive, and of zip archives in it."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".zip"):
                with archive.open(member) as inner:
                    yield from _zip_members(inner)
            elif not member.is_dir():
                yield member.filename, functools.partial(archive.read, member)


def _why_not_decodable(content):
    """The reason why an image cannot be decoded, or None if it can."""
    try:
        images.decode(content)  # As our pipelines read it.
        if tf.io.is_jpeg(content):
            return None
        # As TensorFlow Datasets reads it, which for JPEG is the same.
        rank = tf.io.decode_image(content, channels=3).shape.rank
    except tf.errors.InvalidArgumentError as error:
        return plain_message(error).rstrip(".")
    return None if rank == 3 else "an animation"
