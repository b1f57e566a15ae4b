"""Writes the review page of an audit: a folder that opens in any browser."""

import pathlib
import shutil

import numpy as np
from absl import logging

from keras_ncr.checks import check_bool, check_integer
from keras_ncr.files import replacing_folder
from keras_ncr.review.page_checks import (
    check_details,
    check_frame,
    check_neighbors,
    check_pictures,
    check_source,
)
from keras_ncr.review.page_data import (
    as_script,
    details_of,
    others_of,
    page_data,
    select,
)
from keras_ncr.review.page_folder import FILES, SUMMARY, THUMBNAILS, check_folder
from keras_ncr.review.summary import write_summary
from keras_ncr.review.thumbnails import source_of_pictures, write_thumbnails

_PAGE = pathlib.Path(__file__).parent / "page"
# More would take minutes to make, and a place that few people look at.
_MOST_PICTURES = 20_000


def write_review(
    folder,
    frame,
    neighbors=None,
    source=None,
    details=None,
    limit: int = 100_000,
    num_neighbors: int = 6,
    thumbnail_size: int = 112,
    verbose: bool = True,
    called_only: bool = False,
    pictures=None,
) -> pathlib.Path:
    """Writes a page on which people decide about suspicious labels; returns its path.

    The page opens from disk in any browser, without server or network. It shows the
    examples that the audit calls issues, worst first, and then all others, each with
    its given and suggested label and its nearest neighbors. People decide by keyboard
    or mouse: keep the label, accept the suggestion (of one example, or of all that pass
    the filters), choose another class, drop the example. Decisions stay in the browser;
    the page exports them as `corrections.csv`. Beside it stands `summary.html`, one
    file to mail: counts, which class is called which, and the worst fifty.

    The folder is written whole or not at all. A review page that it holds is replaced;
    decisions made there appear on the new page if data and labels are the same.

    Args:
        folder: String or path: a folder that is new, empty, or holds a review page and
            nothing else.
        frame: pandas DataFrame from `keras_ncr.audit`, with a row for every example,
            and with its `attrs`. Called are the rows with `is_label_issue`,
            `is_near_duplicate_issue` or `is_outlier_issue`, if these columns exist.
        neighbors: Optional integer array of shape `(n, k)`: the indices of each
            example's nearest neighbors, nearest first. Defaults to `None`: the page
            shows none.
        source: Optional `keras_ncr.datasets.Source` of the same examples, for their
            pictures, texts or columns. Defaults to `None`: no pictures.
        details: Optional pandas DataFrame of n rows, in the order of the index: what
            else to show, such as texts or columns, up to 5,000 characters per value.
            Defaults to the texts or columns of the source, if it has any.
        limit: Int, at least 1. Most examples to show, label issues first. Defaults to
            100,000, which scroll smoothly. The first 20,000 have pictures.
        num_neighbors: Int, at least 0. Most neighbors to show per example. Defaults to
            6, which fit in one row.
        thumbnail_size: Int, at least 8. Longer side of a neighbor's picture, in pixels;
            an example's own has up to twice as many, for the larger view. Defaults to
            112.
        verbose: Bool. Whether to show a progress bar while images are read. Defaults to
            `True`.
        called_only: Bool. Whether to show nothing but what is called. Defaults to
            `False`.
        pictures: Optional strings of shape `(n,)`: the file of a picture of each
            example, empty where there is none. For tables, texts and features that have
            pictures beside them. Defaults to `pictures` of the source, or its images.

    Returns:
        `pathlib.Path` of the page, `index.html` in the folder.

    Raises:
        ValueError: If the frame lacks columns, attributes or rows, ids repeat, another
            argument does not fit the frame, or the folder holds other files. Nothing is
            written then.

    Example:
    >>> import pandas
    >>> frame = pandas.DataFrame(
    ...     {
    ...         "id": ["a.png", "b.png"],
    ...         "given_label": [0, 1],
    ...         "predicted_label": [1, 1],
    ...         "label_quality": [0.02, 0.98],
    ...         "is_label_issue": [True, False],
    ...         "given_confidence": [0.02, 0.98],
    ...         "predicted_confidence": [0.98, 0.98],
    ...     }
    ... )
    >>> names = ["cat", "dog"]
    >>> frame.attrs = {"name": "pets", "dataset_hash": "0af3", "class_names": names}
    >>> keras_ncr.review.write_review("review", frame, neighbors=[[1], [0]]).name
    'index.html'
    """
    path = check_folder(folder)
    check_integer(limit, "limit", minimum=1)
    check_integer(thumbnail_size, "thumbnail_size", minimum=8)
    check_bool(verbose, "verbose")
    check_bool(called_only, "called_only")
    frame = check_frame(frame)
    neighbors = check_neighbors(neighbors, len(frame), num_neighbors)
    check_source(source, frame)
    check_details(details, len(frame))
    details = details_of(source) if details is None else details
    if pictures is None and source is not None:
        pictures = source.pictures
    has_picture = np.ones(len(frame), bool)
    if pictures is not None:
        has_picture = check_pictures(pictures, len(frame))
        source = source_of_pictures(pictures, frame)

    shown, num_all = select(frame, limit, called_only)
    others = others_of(frame, shown, neighbors)
    with replacing_folder(path) as new:
        for name in FILES:
            if (_PAGE / name).exists():  # All but data.js.
                shutil.copyfile(_PAGE / name, new / name)
        thumbnails, num_unreadable = None, 0
        if source is not None and source.kind == "images":
            with_picture = shown[:_MOST_PICTURES]
            longest_sides = np.zeros(len(frame), "int32")
            longest_sides[others_of(frame, with_picture, neighbors)] = thumbnail_size
            longest_sides[with_picture] = 2 * thumbnail_size
            longest_sides *= has_picture
            thumbnails = _write_pictures(
                source, new, longest_sides, thumbnail_size, verbose
            )
            num_unreadable = int(np.count_nonzero(longest_sides)) - len(thumbnails)
        data = page_data(frame, shown, neighbors, others, thumbnails, details)
        data["numLeft"], data["numUnreadable"] = num_all - len(shown), num_unreadable
        (new / "data.js").write_text(as_script(data), encoding="ascii")
        write_summary(new / SUMMARY, frame, thumbnails, details)
        check_folder(path)  # Meanwhile, somebody may have put files there.
    return path / "index.html"


def _write_pictures(source, folder, longest_sides, largest_png, verbose):
    """Writes the thumbnails, and logs how many images could not be read."""
    thumbnails = folder / THUMBNAILS
    thumbnails.mkdir()
    names = write_thumbnails(source, thumbnails, longest_sides, largest_png, verbose)
    num_unreadable = np.count_nonzero(longest_sides) - len(names)
    if num_unreadable:
        logging.warning(
            "%d images could not be read: the review page shows placeholders. "
            "`keras_ncr.datasets.find_broken_images` names them.",
            num_unreadable,
        )
    return names
