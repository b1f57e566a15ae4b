"""The review page of an audit, as a folder."""

import pathlib
import shutil

import numpy as np
from absl import logging

from keras_ncr.checks import check_bool, check_integer
from keras_ncr.files import replacing_folder
from keras_ncr.review.arguments import (
    check_details,
    check_frame,
    check_neighbors,
    check_source,
)
from keras_ncr.review.content import as_script, others_of, page_content, select
from keras_ncr.review.folder import FILES, THUMBNAILS, check_folder
from keras_ncr.review.thumbnails import write_thumbnails

_PAGE = pathlib.Path(__file__).parent / "page"


def write_review(
    folder,
    frame,
    neighbors=None,
    source=None,
    details=None,
    limit=10_000,
    num_neighbors=6,
    thumbnail_size=112,
    verbose=True,
):
    """Returns the path of a page on which people decide about suspicious labels.

    The page opens from disk in any browser, without server or network. It shows the
    examples that the audit calls issues, worst first, each with its given and suggested
    label and its nearest neighbors, and takes decisions by keyboard or mouse: keep the
    label, accept the suggestion, choose another class, drop the example. Decisions stay
    in the browser; the page exports them as `corrections.csv`.

    The folder is written whole or not at all. If it holds a review page, that one is
    replaced, and the decisions made on it are found again, as long as they are about
    the same data and labels.

    Args:
        folder: String or path: a folder that is new, empty, or holds a review page and
            nothing else.
        frame: pandas DataFrame, as `keras_ncr.audit` returns it: a row for every
            example, with `frame.attrs`. Shown are the rows with `is_label_issue`, and
            where these columns are there `is_near_duplicate_issue` and
            `is_outlier_issue`.
        neighbors: Optional integer array of shape `(n, k)`: the indices of each
            example's nearest neighbors, nearest first. Defaults to `None`: none are
            shown.
        source: Optional `keras_ncr.datasets.Source` of the same examples, whose images
            are shown. Defaults to `None`: no pictures.
        details: Optional pandas DataFrame of n rows, in the order of the index: what
            else is shown of an example, such as its features or its text, up to 5,000
            characters of each value. Defaults to `None`.
        limit: Int, at least 1. Shows no more examples than that, label issues first.
            Defaults to 10,000, which stay smooth.
        num_neighbors: Int. Shows no more neighbors of each than that. Defaults to 6,
            as many as fit in one row.
        thumbnail_size: Int, at least 8. Longer side of a neighbor's picture, in pixels;
            pictures of the examples themselves have up to twice as many, for the
            larger view. Defaults to 112.
        verbose: Boolean. Whether to show a progress bar while images are read. Defaults
            to `True`.

    Returns:
        `pathlib.Path` of the page, `index.html` in the folder.

    Raises:
        ValueError: If the frame lacks columns, attributes or rows, ids repeat, the
            other arguments do not fit to it, or the folder holds other files. Nothing
            is written then.

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
    frame = check_frame(frame)
    neighbors = check_neighbors(neighbors, len(frame), num_neighbors)
    check_source(source, frame)
    check_details(details, len(frame))

    shown = select(frame, limit)
    others = others_of(frame, shown, neighbors)
    with replacing_folder(path) as new:
        for name in FILES:
            if (_PAGE / name).exists():  # data.js is of this page alone.
                shutil.copyfile(_PAGE / name, new / name)
        pictures = None
        if source is not None:
            longest_sides = np.zeros(len(frame), "int32")
            longest_sides[others] = thumbnail_size
            longest_sides[shown] = 2 * thumbnail_size
            pictures = _write_pictures(
                source, new, longest_sides, thumbnail_size, verbose
            )
        content = page_content(frame, shown, neighbors, others, pictures, details)
        (new / "data.js").write_text(as_script(content), encoding="ascii")
        check_folder(path)  # It took a while: files may have been put there.
    return path / "index.html"


def _write_pictures(source, folder, longest_sides, largest_png, verbose):
    """Writes the thumbnails, and says how many images could not be read."""
    thumbnails = folder / THUMBNAILS
    thumbnails.mkdir()
    names = write_thumbnails(source, thumbnails, longest_sides, largest_png, verbose)
    num_unreadable = np.count_nonzero(longest_sides) - len(names)
    if num_unreadable:
        logging.warning(
            "%d of the images on the review page could not be read: they have a "
            "placeholder. `keras_ncr.datasets.find_broken_images` names them.",
            num_unreadable,
        )
    return names
