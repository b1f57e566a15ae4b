"""Cells of a table that hold images, as the Hugging Face hub stores pictures."""

import json
import os

from keras_ncr.datasets.image_files import as_on_disk, ending_of


def images_in(cells, folder):
    """Returns the paths in a column, or names, and the images it holds, or None."""
    # A cell is a path, the bytes of an image file, or a dict of `"bytes"` and `"path"`.
    contents = cells.map(_content)
    paths = cells.map(lambda cell: cell.get("path") if isinstance(cell, dict) else cell)
    if contents.isna().all():
        on_disk = paths.map(
            lambda path: as_on_disk(path, folder) if isinstance(path, str) else path
        )
        return on_disk, None
    is_name = paths.map(lambda path: isinstance(path, str) and path != "")
    if not (is_name.all() and paths.is_unique):
        names = [f"row-{row}{ending_of(cell or b'')}" for row, cell in contents.items()]
        paths = cells.__class__(names, index=cells.index, name=cells.name, dtype=object)
    return paths.where(contents.notna(), None), contents


def _content(cell):
    """Returns the bytes of an image in a cell, or None."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return bytes(content) if isinstance(content, bytes | bytearray) else None


def is_of_files(path: str | os.PathLike, image: str) -> bool:
    """Returns whether a table has paths of images, and not the images themselves."""
    import pyarrow
    from pyarrow import parquet

    if os.path.splitext(path)[1].lower() != ".parquet":
        return True
    schema = parquet.read_schema(path)
    if image not in schema.names:  # For `from_table` to say.
        return True
    kind = schema.field(image).type
    return not (pyarrow.types.is_struct(kind) or pyarrow.types.is_binary(kind))


def classes_of_hub(path, label):
    """Returns the names that the hub's description gives class numbers, or None."""
    from pyarrow import parquet

    described = (parquet.read_schema(path).metadata or {}).get(b"huggingface")
    try:
        names = json.loads(described)["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None
