"""Tests of datasets/table_source.py."""

import json
import os
import pathlib
import unicodedata

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf

from keras_ncr.datasets import from_table

FILES = ["a.png", "b.png", "c.png", "d.png"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with four files; their content is their name."""
    folder = tmp_path_factory.mktemp("images")
    for name in FILES:
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def csv(tmp_path):
    """A function that writes text to a CSV file and returns its path."""

    def write(text, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_text(text, encoding=encoding)
        return path

    return write


def rows(labels, files=FILES):
    """Returns the text of a CSV file with a label for each file."""
    lines = [f"{file},{label}" for file, label in zip(files, labels, strict=True)]
    return "\n".join(["path,label", *lines]) + "\n"


def test_rows_become_examples_in_their_order(csv, folder):
    text = "path,label\nd.png,dog\na.png,cat\nb.png,dog\n"
    source = from_table(csv(text), folder)
    assert source.ids.tolist() == ["d.png", "a.png", "b.png"]
    assert source.labels.tolist() == [1, 0, 1]
    assert source.class_names == ("cat", "dog")
    assert source.name == "table.csv"
    assert source.clean_labels is None
    examples = list(source.dataset.as_numpy_iterator())
    assert [e["inputs"] for e in examples] == [b"d.png", b"a.png", b"b.png"]
    assert [e["label"] for e in examples] == [1, 0, 1]


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "DataFrame"])
def test_kinds_of_tables_give_the_same_source(tmp_path, folder, kind):
    frame = pd.DataFrame({"path": FILES, "label": [2, 0, 1, 0]}, index=[5, 5, 7, 1])
    table = tmp_path / f"table.{kind}"
    if kind == "parquet":
        frame.to_parquet(table)
    elif kind == "DataFrame":
        table = frame
    else:
        frame.to_csv(table, index=False, sep="," if kind == "csv" else "\t")
    source = from_table(table, folder)
    assert source.ids.tolist() == FILES
    assert source.labels.tolist() == [2, 0, 1, 0]
    assert source.class_names == ("0", "1", "2")
    assert source.read_image(3).numpy() == b"d.png"


def test_paths_start_from_the_folder_of_the_table_or_are_absolute(tmp_path, folder):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x y.png").write_text("near")
    far = str(folder / "a.png")
    frame = pd.DataFrame({"path": ["sub/x y.png", far], "label": ["s", "t"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    source = from_table(tmp_path / "t.csv")
    assert source.ids.tolist() == ["sub/x y.png", far]
    assert [source.read_image(i).numpy() for i in range(2)] == [b"near", b"a.png"]


def test_paths_of_a_data_frame_start_from_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    frame = pd.DataFrame({"path": [pathlib.Path("b.png"), "a.png"], "label": [0, 1]})
    source = from_table(frame)
    monkeypatch.chdir("/")  # which comes too late to matter
    assert source.read_image(0).numpy() == b"b.png"


@pytest.mark.parametrize(
    "labels, class_names, expected_labels, expected_names",
    [
        (["b", "a", "b", "é"], None, [1, 0, 1, 2], ("a", "b", "é")),
        (["0", "1", "2", "1"], None, [0, 1, 2, 1], ("0", "1", "2")),
        (["10", "9", "0", "a"], None, [1, 2, 0, 3], ("0", "10", "9", "a")),
        (["01", "1", "01", "1"], None, [0, 1, 0, 1], ("01", "1")),
        (["1", "0", "1", "1"], ["no", "yes"], [1, 0, 1, 1], ("no", "yes")),
        (["2", "0", "0", "0"], ["x", "y", "z"], [2, 0, 0, 0], ("x", "y", "z")),
        (["7", "3", "3", "7"], ["7", "3", "5"], [0, 1, 1, 0], ("7", "3", "5")),
        (["NA", "null", "nan", "None"], None, [0, 3, 2, 1], None),
        ([" a", "a ", "b", "a"], None, [0, 0, 1, 0], ("a", "b")),
    ],
)
def test_text_becomes_class_numbers_or_names(
    csv, folder, labels, class_names, expected_labels, expected_names
):
    source = from_table(csv(rows(labels)), folder, class_names=class_names)
    assert source.labels.tolist() == expected_labels
    assert expected_names is None or source.class_names == expected_names


@pytest.mark.parametrize(
    "labels, expected_names",
    [
        (["1", "0", "1", "0"], ("0", "1")),
        (["3", "10", "3", "3"], ("10", "3")),  # text is names
        (np.array([1, 0, 1, 0], "uint8"), ("0", "1")),
        ([1.0, 0.0, 1.0, 0.0], ("0", "1")),
        ([True, False, True, False], ("0", "1")),
        (pd.array([1, 0, 1, 0], dtype="Int64"), ("0", "1")),
        (pd.Categorical(["y", "x", "y", "x"], categories=["y", "x"]), ("x", "y")),
    ],
)
def test_type_of_a_column_decides_in_a_data_frame(folder, labels, expected_names):
    frame = pd.DataFrame({"path": FILES, "label": labels})
    source = from_table(frame, folder)
    assert source.class_names == expected_names
    assert source.labels[1] == 0


def test_other_columns_can_be_named(folder):
    frame = pd.DataFrame({"file": FILES, "y": [0, 1, 1, 0], "path": 3, 7: [0, 1, 0, 1]})
    assert from_table(frame, folder, "file", "y").labels.tolist() == [0, 1, 1, 0]
    assert from_table(frame, folder, "file", 7).labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    "labels, clean, class_names, expected",
    [
        ("abab", ["a", "a", "b", "b"], None, [0, 0, 1, 1]),
        ("abab", ["a", "other", "-1", "b"], None, [0, -1, -1, 1]),
        ("abab", ["0", "1", "-1", "1"], None, [0, 1, -1, 1]),
        ("0101", ["0", "0", "-1", "1"], None, [0, 0, -1, 1]),
        ("0101", ["0", "0", "unknown", "1"], None, [0, 0, -1, 1]),
        ("0101", ["no", "yes", "maybe", "no"], ["no", "yes"], [0, 1, -1, 0]),
    ],
)
def test_clean_labels_are_read_with_minus_one_for_none_of_the_classes(
    csv, folder, labels, clean, class_names, expected
):
    lines = [",".join(row) for row in zip(FILES, labels, clean, strict=True)]
    table = csv("\n".join(["path,label,truth", *lines]))
    source = from_table(table, folder, clean_label="truth", class_names=class_names)
    assert source.labels.tolist() == [0, 1, 0, 1]
    assert source.clean_labels.tolist() == expected


@pytest.mark.parametrize(
    "clean, message",
    [
        (["a", "", "b", "b"], "'truth' must have no empty .* row 3; 1 .* own"),
        (["5", "0", "1", "1"], "'truth' .* from 0 to 1, or -1. Received: 5 in row 2"),
        (["u", "v", "w", "x"], r"\['a', 'b'\].*'u', 'v', 'w' and 1 more"),
    ],
)
def test_wrong_clean_labels_are_refused(csv, folder, clean, message):
    lines = [",".join(row) for row in zip(FILES, "abab", clean, strict=True)]
    table = csv("\n".join(["path,label,truth", *lines]))
    with pytest.raises(ValueError, match=message):
        from_table(table, folder, clean_label="truth")


def test_mark_that_excel_begins_with_is_no_part_of_the_column(csv, folder):
    table = csv(rows(["é", "b", "b", "b"]), encoding="utf-8-sig")
    assert from_table(table, folder).class_names == ("b", "é")


def test_quoted_cells_and_empty_lines_are_read(csv, tmp_path):
    for name in ("x,y.png", 'a "b".png', " line\nbreak.png"):
        (tmp_path / name).write_text(name)
    text = 'path , label\n"x,y.png",a\n\n"a ""b"".png",b\n" line\nbreak.png",b\n\n'
    source = from_table(csv(text))
    assert source.ids.tolist() == ["x,y.png", 'a "b".png', " line\nbreak.png"]
    assert [source.read_image(i).numpy().decode() for i in range(3)] == list(source.ids)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "UTF-8 .* No columns"),
        ("path,label\n", "at least one row .*'path', 'label'. and no rows"),
        ("path,label\na.png,x,1\n", "between the columns"),
        ("path,label\na.png,x\nb.png,x,1\n", "line 3, saw 3"),
        ("path;label\na.png;x\n", "at least two classes. Received: 'x' alone"),
        ("path,labels\na.png,x\n", "`label` must be .* Did you mean 'labels'?"),
        ("path,label\na.png,x\n\nb.png\n", "'label' must have no empty .* row 4"),
        ("path,label\n,x\nb.png,y\n", "'path' must have no empty cells.* row 2"),
        ("path,label\na.png,-1\nb.png,0\n", "Received: -1 to 0, and none of class 0"),
        ("path,label\na.png,1\nb.png,2\n", "none of class 0. Subtract 1"),
        ("path,label\na.png,0\nb.png,2\n", "0 to 2, and none of class 1.* pass `class"),
        ("path,label\na.png,x\nb.png,x\n", "at least two classes. Received: 'x' alone"),
        ("path,label\na.png,0.31\nb.png,1.7\n", "2 different numbers .*pandas.qcut"),
        ("path,label\na.png,1\nb.png,1.0\n", "'1' and '1.0', which differ only"),
        ("path,label\na.png,tea\nb.png,Tea\n", "'Tea' and 'tea', which differ only"),
        ("path,label\na.png,é\nb.png,e\u0301\n", "look alike .* Unicode form"),
        (
            "path,label\nb.png,x\na.png,x\n./b.png,y\n",
            "'b.png' in rows 2, 4 with labels 'x', 'y'; 1 such",
        ),
    ],
)
def test_wrong_tables_are_refused(csv, folder, text, message):
    with pytest.raises(ValueError, match=message):
        from_table(csv(text), folder)


@pytest.mark.parametrize(
    "labels, message",
    [
        (["cat", "dgo", "cat", "dog"], "`label of row 3` .*'dgo'. Did you mean 'dog'"),
        (["0", "1", "2", "0"], "from 0 to 1. Received: 2 in row 4; 1 such"),
        (["0", "1", "-1", "-1"], "Received: -1 in row 4; 2 such"),
    ],
)
def test_labels_outside_the_class_names_are_refused(csv, folder, labels, message):
    with pytest.raises(ValueError, match=message):
        from_table(csv(rows(labels)), folder, class_names=["cat", "dog"])


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(label=[0, 1, np.nan, 0]), "'label' must have no empty .* nan in row 2"),
        (dict(label=["a", None, "a", "b"]), "no empty cells. Received: .* in row 1"),
        (dict(label=[0, 1, 0.5, 0]), "whole class numbers only.* 0.5 in row 2"),
        (dict(label=[0, 1, "a", 0]), "or strings only. Received: 'a' in row 2"),
        (dict(label=[0, 1, np.inf, 0]), "whole class numbers.* inf in row 2"),
        (dict(path=[1, 2, 3, 4]), "'path' must hold paths. Received: 1 in row 0"),
        (dict(label=[["a"], "b", "a", "b"]), r"one in each cell, .* \['a'\] in row 0"),
        (dict(label=[0, 1, [0, 1], 0]), r"'label' must .* \[0, 1\] in row 2"),
        (dict(label=[np.zeros(99)] * 4), r"'label' must .*\(ndarray\) in row 0; 4"),
        (dict(label=[0.1, 0.2, 0.3, 7]), "whole class numbers.* 0.1 .*pandas.qcut"),
        (dict(label=["1", "1.0", "2", "2"]), "'1' and '1.0', which differ only in"),
        (dict(path=[b"GIF8", "b.png", b"BM", b""]), "no empty cells.* None in row 1"),
    ],
)
def test_wrong_cells_of_a_data_frame_are_refused(folder, change, message):
    frame = pd.DataFrame({"path": FILES, "label": [0, 1, 1, 0], **change})
    with pytest.raises(ValueError, match=message):
        from_table(frame, folder)


def test_column_that_is_there_twice_is_refused(folder):
    frame = pd.DataFrame([["a.png", 0, 1]], columns=["path", "label", "label"])
    with pytest.raises(ValueError, match="one column 'label'"):
        from_table(frame, folder)


def test_images_that_are_not_there_are_counted_and_named(folder):
    files = ["a.png", "1.png", "2.png", "3.png", "4.png"]
    frame = pd.DataFrame({"path": files, "label": [0, 1, 0, 1, 0]})
    with pytest.raises(FileNotFoundError) as raised:
        from_table(frame, folder)
    message = str(raised.value)
    assert message.startswith("4 of the 5 images that the table lists are not there")
    assert "3.png' and 1 more" in message
    assert f"folder={str(folder)!r}" in message


def test_paths_of_windows_are_answered_with_the_other_slash(folder):
    frame = pd.DataFrame({"path": ["a.png", "x\\b.png"], "label": [0, 1]})
    with pytest.raises(FileNotFoundError, match=r"write / instead of"):
        from_table(frame, folder)


def test_images_that_tensorflow_does_not_read_are_refused(tmp_path):
    for name in ("a.png", "b.heic"):
        (tmp_path / name).touch()
    frame = pd.DataFrame({"path": ["a.png", "b.heic"], "label": [0, 1]})
    with pytest.raises(ValueError, match="b.heic'. Convert them, to JPEG"):
        from_table(frame, tmp_path)


def test_text_in_another_encoding_is_refused(csv, folder):
    with pytest.raises(ValueError, match="text in UTF-8.*can't decode"):
        from_table(csv(rows(["é", "b", "b", "b"]), encoding="latin-1"), folder)


@pytest.mark.parametrize(
    "table, error, message",
    [
        ("none.csv", FileNotFoundError, "table='none.csv'"),
        ("none.xlsx", ValueError, r"one of \['.csv', '.tsv', '.parquet'\].*'.xlsx'"),
        ({"path": []}, ValueError, "pandas.DataFrame. Received: dict"),
        (pd.DataFrame({"path": [], "label": []}), ValueError, "at least one row"),
    ],
)
def test_what_is_no_table_is_refused(table, error, message):
    with pytest.raises(error, match=message):
        from_table(table)


def test_ten_thousand_rows_take_moments(tmp_path, folder):
    num_rows = 10_000
    for number in range(num_rows):
        os.link(folder / "a.png", tmp_path / f"{number}.png")
    labels = np.arange(num_rows) % 2000
    files = [f"{number}.png" for number in range(num_rows)]
    source = from_table(pd.DataFrame({"path": files, "label": labels}), tmp_path)
    assert (source.num_examples, source.num_classes) == (10_000, 2000)
    assert np.array_equal(source.labels, labels)
    assert all(tf.equal(source.read_image(9_999), b"a.png").numpy().ravel())


def test_classes_called_by_numbers_are_so_in_both_columns(csv, folder):
    text = "path,label,truth\na.png,1,1\nb.png,0,0\nc.png,1,-1\n"
    names = ("1", "0")
    source = from_table(csv(text), folder, clean_label="truth", class_names=names)
    assert source.labels.tolist() == [0, 1, 0]
    assert source.clean_labels.tolist() == [0, 1, -1]


def picture(gray):
    """Returns the bytes of an image file."""
    return tf.io.encode_png(np.full((2, 2, 3), gray, "uint8")).numpy()


@pytest.mark.parametrize(
    ("cells", "ids"),
    [
        (
            [{"bytes": picture(gray), "path": f"{gray}.png"} for gray in range(4)],
            ["0.png", "1.png", "2.png", "3.png"],
        ),
        (
            [{"bytes": picture(gray), "path": None} for gray in range(4)],
            ["row-0.png", "row-1.png", "row-2.png", "row-3.png"],
        ),
        (
            [picture(gray) for gray in range(4)],
            ["row-0.png", "row-1.png", "row-2.png", "row-3.png"],
        ),
    ],
    ids=["with_names", "without_names", "bytes_alone"],
)
def test_images_in_a_parquet_file_are_read(tmp_path, cells, ids):
    frame = pd.DataFrame({"image": cells, "label": [1, 0, 1, 0]})
    frame.to_parquet(tmp_path / "hub.parquet")
    source = from_table(tmp_path / "hub.parquet", image="image")
    assert source.ids.tolist() == ids
    assert source.labels.tolist() == [1, 0, 1, 0]
    assert source.read_image(2).numpy() == picture(2)
    part = from_table(frame.iloc[1:], image="image", class_names=["no", "yes"])
    assert part.read_image(0).numpy() == picture(1)


def test_image_that_a_parquet_file_lacks_is_skipped(tmp_path):
    cells = [{"bytes": picture(1), "path": "a"}, {"bytes": None, "path": "b"}]
    frame = pd.DataFrame({"image": [*cells, cells[0]], "label": [0, 1, 1]})
    source = from_table(frame, image="image", on_error="skip")
    assert source.ids.tolist() == ["row-0.png", "row-2.png"]
    assert [skipped.id for skipped in source.skipped] == ["row 1"]


def test_names_that_the_hub_gives_class_numbers_are_those_of_the_classes(tmp_path):
    frame = pd.DataFrame({"image": [picture(0), picture(1)], "label": [2, 0]})
    names = {"names": ["ant", "bee", "cat"], "_type": "ClassLabel"}
    described = json.dumps({"info": {"features": {"label": names}}})
    table = pa.Table.from_pandas(frame)
    metadata = {**table.schema.metadata, b"huggingface": described.encode()}
    path = tmp_path / "hub.parquet"
    pa.parquet.write_table(table.replace_schema_metadata(metadata), path)
    source = from_table(path, image="image")
    assert source.class_names == ("ant", "bee", "cat")
    assert source.labels.tolist() == [2, 0]


@pytest.mark.parametrize(("listed", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_files_in_another_unicode_form_than_the_table_are_found(
    tmp_path, csv, listed, on_disk
):
    names = [unicodedata.normalize(on_disk, f"{name}.png") for name in "éü"]
    for name in names:
        (tmp_path / name).write_text(name)
    text = "\n".join(f"{unicodedata.normalize(listed, name)},{name}" for name in names)
    source = from_table(csv(f"path,label\n{text}"))
    assert source.ids.tolist() == names  # Where they are found again.
    assert source.read_image(1).numpy().decode() == names[1]


@pytest.mark.parametrize("separator", [",", ";"])
def test_spaces_before_quotes_are_no_part_of_names(csv, folder, separator):
    lines = [
        f'{file}{separator} "{name}, x"'
        for file, name in zip(FILES, "abab", strict=True)
    ]
    source = from_table(csv("\n".join([f"path{separator}label", *lines])), folder)
    assert source.class_names == ("a, x", "b, x")
