"""Tests of review/: what a page's folder holds, and what is refused."""

import functools
import json
import os
import re
import shutil

import numpy as np
import pandas
import pytest
import tensorflow as tf

from keras_ncr import review
from keras_ncr.datasets import from_arrays, from_columns, from_folder, from_texts
from keras_ncr.datasets.source import Source
from keras_ncr.review import check_folder
from keras_ncr.review.page_data import WIDE, as_script, select
from keras_ncr.review.page_folder import MARK

PAGE_FILES = {
    *("index.html", "page.css", "cards.js", "decisions.js", "page.js"),
    "summary.html",
}
# Tests of all examples call `review.write_review` itself.
write_review = functools.partial(review.write_review, called_only=True)


def frame_of(num_examples, ids=None, class_names=("a", "b", "c"), **columns):
    """Returns an audit's frame: every second label is an issue, the last the worst."""
    index = np.arange(num_examples)
    frame = pandas.DataFrame(
        {
            "id": index if ids is None else ids,
            "given_label": index % 3,
            "predicted_label": (index + 1) % 3,
            "label_quality": np.linspace(0.9, 0.1, num_examples, dtype="float32"),
            "is_label_issue": index % 2 == 0,
            "given_confidence": np.full(num_examples, 0.25, "float32"),
            "predicted_confidence": np.full(num_examples, 0.5, "float32"),
            **columns,
        }
    )
    frame.attrs = {
        "name": "made",
        "dataset_hash": "c0ffee",
        "class_names": list(class_names),
        "noise_rate": 0.31,
        "expected_precision": 0.9,
        "expected_precision_bounds": [0.7, 0.95],
        "doubts": ["The model is weak."],
    }
    return frame


def images_of(num_examples, size=6, channels=1):
    """Returns images of which each has its index as its color."""
    images = np.zeros((num_examples, size, size, channels), "uint8")
    return images + np.arange(num_examples, dtype="uint8").reshape(-1, 1, 1, 1)


def content_of(page):
    """Returns what a page's data.js says."""
    mark, assignment = (page.parent / "data.js").read_text("ascii").splitlines()
    assert mark == MARK
    name, _, text = assignment.partition("=")
    assert name == "window.reviewData"
    return json.loads(text.removesuffix(";"))


def thumbnails_of(page):
    return {path.name: path for path in (page.parent / "thumbnails").iterdir()}


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# What is written


def test_page_is_a_folder_of_plain_files(tmp_path):
    page = write_review(tmp_path / "out", frame_of(5))
    assert page == tmp_path / "out" / "index.html"
    assert set(files_below(tmp_path / "out")) == PAGE_FILES | {"data.js"}
    assert files_below(tmp_path)[0] == "out"


@pytest.mark.parametrize("name", sorted(PAGE_FILES))
def test_page_names_no_address_and_makes_no_html_of_text(name, tmp_path):
    page = write_review(tmp_path / "out", frame_of(2))
    text = (page.parent / name).read_text("utf-8")
    assert not re.findall(r"https?:|\w//\w|innerHTML|outerHTML|insertAdj|eval\(", text)


def test_issues_come_worst_first_and_others_follow(tmp_path):
    # Qualities 0.9, 0.7, 0.5, 0.3, 0.1; issues 0, 2, 4; the neighbor of each is 1 or 3.
    neighbors = [[1, 3], [0, 2], [1, 0], [0, 1], [3, 2]]
    content = content_of(write_review(tmp_path / "out", frame_of(5), neighbors))
    assert content["examples"] == {
        "id": ["4", "2", "0", "1", "3"],
        "given": [1, 2, 0, 1, 0],
    }
    assert content["cards"]["suggested"] == [2, 0, 1]
    assert content["cards"]["quality"] == [0.1, 0.5, 0.9]
    assert content["cards"]["neighbors"] == [[4, 1], [3, 2], [3, 4]]
    assert content["kinds"] == {"label": [0, 1, 2]}
    assert (content["numExamples"], content["numFound"]) == (5, {"label": 3})
    assert (content["noiseRate"], content["expectedPrecision"]) == (0.31, 0.9)
    assert content["noiseRateBounds"] is None
    assert content["precisionBounds"] == [0.7, 0.95]
    assert content["doubts"] == ["The model is weak."]
    assert content["wide"] == WIDE == 0.3


def test_other_kinds_follow_the_label_issues():
    frame = frame_of(
        6,
        near_duplicate=[-1, 0, -1, -1, -1, 4],
        is_near_duplicate_issue=[False, True, False, False, False, True],
        outlier_score=[0.5, 0.4, 0.0, 0.1, 0.9, 0.9],
        is_outlier_issue=[False, False, True, True, False, False],
    )
    # Label issues 4, 2, 0; near-duplicates 5, 1; outliers 2 and 3, the worst first.
    assert select(frame, 100)[0].tolist() == [4, 2, 0, 5, 1, 3]
    shown, num_all = select(frame, 4)
    assert (shown.tolist(), num_all) == ([4, 2, 0, 5], 6)


def test_content_numbers_kinds_and_near_duplicates_anew(tmp_path):
    frame = frame_of(
        4,
        near_duplicate=[3, -1, -1, 0],
        is_near_duplicate_issue=[True, False, False, True],
        neighbor_label=[1, 1, 2, 0],
    )
    content = content_of(write_review(tmp_path / "out", frame))
    assert content["examples"]["id"] == ["2", "0", "3"]
    assert content["kinds"] == {"label": [0, 1], "near_duplicate": [1, 2]}
    assert content["cards"]["nearDuplicate"] == [-1, 2, 1]
    assert content["cards"]["neighborLabel"] == [2, 1, 0]


def test_limit_shows_the_worst_and_says_what_was_found(tmp_path):
    content = content_of(write_review(tmp_path / "out", frame_of(100), limit=7))
    assert content["examples"]["id"] == [str(98 - 2 * rank) for rank in range(7)]
    assert content["numFound"] == {"label": 50}


def test_neighbors_beyond_the_number_are_left_out(tmp_path):
    neighbors = np.full((9, 8), 1)
    page = write_review(tmp_path / "out", frame_of(9), neighbors, num_neighbors=3)
    assert {len(row) for row in content_of(page)["cards"]["neighbors"]} == {3}


def test_frame_in_another_order_gives_the_same_page(tmp_path):
    frame = frame_of(20)
    shuffled = frame.sample(frac=1, random_state=0)
    pages = [
        write_review(tmp_path / name, part)
        for name, part in (("one", frame), ("other", shuffled))
    ]
    assert content_of(pages[0]) == content_of(pages[1])


def test_page_of_nothing_suspicious_is_written(tmp_path):
    source = from_arrays(images_of(4), [0, 1, 2, 0])
    frame = frame_of(4, is_label_issue=np.zeros(4, bool))
    page = write_review(tmp_path / "out", frame, [[1]] * 4, source, verbose=False)
    assert content_of(page)["examples"]["id"] == []
    assert thumbnails_of(page) == {}


def test_example_without_similar_neighbors_has_no_label_of_theirs(tmp_path):
    frame = frame_of(2, neighbor_label=[-1, 0])
    content = content_of(write_review(tmp_path / "out", frame))
    assert content["cards"]["neighborLabel"] == [-1]


def test_only_example_has_no_neighbors(tmp_path):
    page = write_review(tmp_path / "out", frame_of(1), np.zeros((1, 0), int))
    assert content_of(page)["cards"]["neighbors"] == [[]]


@pytest.mark.parametrize(
    "hostile",
    ["</script><script>alert(1)</script>", "\u2028\u2029", "<!--<script>", "__proto__"],
)
def test_script_holds_hostile_text_as_it_is(hostile):
    script = as_script({"name": hostile})
    assert "<" not in script
    assert script.isascii()
    assert (
        json.loads(script.split("=", 1)[1].strip().removesuffix(";"))["name"] == hostile
    )


# All examples


def test_all_examples_follow_those_that_are_called(tmp_path):
    # Qualities 0.9, 0.74, ..., 0.1; issues 0, 2, 4.
    content = content_of(review.write_review(tmp_path / "out", frame_of(6)))
    assert content["examples"]["id"] == ["4", "2", "0", "5", "3", "1"]
    assert content["kinds"] == {"label": [0, 1, 2]}
    assert len(content["cards"]["suggested"]) == 6 and content["numLeft"] == 0
    content = content_of(review.write_review(tmp_path / "out", frame_of(6), limit=4))
    assert content["examples"]["id"] == ["4", "2", "0", "5"]
    assert content["numLeft"] == 2


def test_first_of_very_many_have_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(review.review_page, "_MOST_PICTURES", 2)
    source = from_arrays(images_of(6), [0, 1, 2] * 2)
    neighbors = [[1], [0], [3], [0], [5], [0]]
    page = review.write_review(
        tmp_path / "out", frame_of(6), neighbors, source, verbose=False
    )
    # The cards of 4 and 2, and their neighbors.
    assert sorted(thumbnails_of(page)) == ["2.png", "3.png", "4.png", "5.png"]
    assert content_of(page)["numUnreadable"] == 0


def test_texts_and_columns_of_the_source_are_shown(tmp_path):
    table = pandas.DataFrame(
        {"text": ["one", "zwei ä", "three"], "size": [1, 2, 3.19], "label": list("aba")}
    )
    frame = frame_of(3)
    source = from_texts(table)
    page = review.write_review(tmp_path / "text", frame, source=source)
    assert content_of(page)["detailColumns"] == ["text"]
    assert content_of(page)["examples"]["details"] == [["three"], ["one"], ["zwei ä"]]
    source = from_columns(table)
    page = review.write_review(tmp_path / "rows", frame, source=source)
    assert content_of(page)["detailColumns"] == ["text", "size"]
    assert content_of(page)["examples"]["details"][0] == ["three", "3.19"]
    summary = (page.parent / "summary.html").read_text("utf-8")
    assert ">text: three; size: 3.19<" in summary
    assert "<tr><th>id</th>" in summary


def test_pictures_beside_other_data_are_shown(tmp_path):
    table = pandas.DataFrame({"text": ["one", "two", "three"], "label": list("aba")})
    path = tmp_path / "1.png"
    path.write_bytes(tf.io.encode_png(images_of(2)[1]).numpy())
    page = review.write_review(
        tmp_path / "out",
        frame_of(3),
        source=from_texts(table),
        pictures=["", str(path), tmp_path / "gone.png"],
        verbose=False,
    )
    content = content_of(page)
    assert content["examples"]["id"] == ["2", "0", "1"]
    assert content["examples"]["picture"] == ["", "", "1.png"]
    assert content["examples"]["details"][0] == ["three"]
    assert content["numUnreadable"] == 1
    for pictures, message in ((["a"], "3 entries"), ([1, 2, 3], "paths.*1")):
        with pytest.raises(ValueError, match=message):
            review.write_review(tmp_path / "new", frame_of(3), pictures=pictures)


def test_summary_is_one_file_with_counts_matrix_and_the_worst(tmp_path):
    source = from_arrays(images_of(60), np.arange(60) % 3)
    page = review.write_review(
        tmp_path / "out", frame_of(60), source=source, verbose=False
    )
    text = (page.parent / "summary.html").read_text("utf-8")
    assert "<td>labels called wrong</td><td>30</td>" in text
    assert "Doubtful: The model is weak." in text
    assert "<td>90% (70% to 95%)</td>" in text
    assert '<td>a</td><td class="number">0</td><td class="number called">10</td>' in (
        text
    )
    assert text.count("data:image/png;base64,") == 50
    assert "<script" not in text and 'src="thumb' not in text


def test_summary_holds_hostile_text_as_it_is(tmp_path):
    names = ["<script>alert(1)</script>", "a&b", "c"]
    frame = frame_of(3, class_names=names)
    details = pandas.DataFrame({"note": ["</td><script>1</script>" * 50] * 3})
    page = review.write_review(tmp_path / "out", frame, details=details)
    text = (page.parent / "summary.html").read_text("utf-8")
    assert "<script" not in text and "&lt;script&gt;alert(1)" in text


def test_summary_of_many_classes_lists_the_largest_pairs(tmp_path):
    names = [f"class {number}" for number in range(30)]
    page = review.write_review(tmp_path / "out", frame_of(9, class_names=names))
    text = (page.parent / "summary.html").read_text("utf-8")
    assert "<th>given</th><th>suggested</th><th>labels</th>" in text
    assert "<td>class 0</td><td>class 1</td>" in text


# Pictures


def pixels_of(path):
    return tf.io.decode_image(path.read_bytes()).numpy()


def test_small_images_are_kept_pixel_by_pixel(tmp_path):
    source = from_arrays(images_of(5), [0, 1, 2, 0, 1])
    page = write_review(
        tmp_path / "out", frame_of(5), [[1], [0], [1], [0], [1]], source, verbose=False
    )
    # Issues 0, 2, 4 and the neighbor 1; 3 is nowhere to be seen.
    assert sorted(thumbnails_of(page)) == ["0.png", "1.png", "2.png", "4.png"]
    assert content_of(page)["examples"]["picture"] == [
        "4.png",
        "2.png",
        "0.png",
        "1.png",
    ]
    for path in thumbnails_of(page).values():
        np.testing.assert_array_equal(pixels_of(path), source.images[int(path.stem)])


def test_large_images_become_small_in_their_proportions(tmp_path):
    images = np.full((4, 60, 120, 3), 200, "uint8")
    source = from_arrays(images, [0, 1, 2, 0])
    page = write_review(
        tmp_path / "out",
        frame_of(4),
        [[1], [0], [1], [0]],
        source,
        thumbnail_size=30,
        verbose=False,
    )
    shapes = {name: pixels_of(path).shape for name, path in thumbnails_of(page).items()}
    # Neighbors are small enough for PNG; the examples themselves are twice as large.
    assert shapes == {"0.jpg": (30, 60, 3), "1.png": (15, 30, 3), "2.jpg": (30, 60, 3)}
    assert abs(pixels_of(thumbnails_of(page)["0.jpg"]).mean() - 200) < 2


def folder_of_pictures(folder, sizes):
    for index, (height, width) in enumerate(sizes):
        image = np.full((height, width, 3), 10 * index, "uint8")
        path = folder / "abc"[index % 3] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
    return from_folder(str(folder))


def test_files_of_any_size_are_read_and_broken_ones_counted(tmp_path):
    source = folder_of_pictures(
        tmp_path / "photos", [(9, 7), (300, 40), (2, 900), (5, 5), (8, 8), (7, 9)]
    )
    (tmp_path / "photos" / source.ids[4]).write_bytes(b"\xff\xd8\xff broken")
    frame = frame_of(6, ids=source.ids)
    page = write_review(tmp_path / "out", frame, source=source, verbose=False)
    # By class: 0 and 3, 1 and 4, 2 and 5. Issues are at 0, 2, 4.
    assert sorted(thumbnails_of(page)) == ["0.png", "2.jpg"]
    assert content_of(page)["examples"]["picture"] == ["", "2.jpg", "0.png"]
    assert pixels_of(thumbnails_of(page)["2.jpg"]).shape == (224, 30, 3)


def test_files_that_are_not_shown_are_not_read(tmp_path):
    source = folder_of_pictures(tmp_path / "photos", [(8, 8)] * 6)
    for index in (1, 3, 5):
        (tmp_path / "photos" / source.ids[index]).unlink()
    page = write_review(
        tmp_path / "out", frame_of(6, ids=source.ids), source=source, verbose=False
    )
    assert sorted(thumbnails_of(page)) == ["0.png", "2.png", "4.png"]


def streamed(images, labels, shape, fails_after=None):
    """Returns a source that yields its images backward, some in other sizes."""

    def examples():
        for index in reversed(range(len(labels))):
            if fails_after is not None and index < fails_after:
                raise OSError("the disk is gone")
            yield {"inputs": images[index], "label": labels[index], "index": index}

    spec = tf.TensorSpec(shape, tf.uint8 if shape else tf.string)
    dataset = tf.data.Dataset.from_generator(
        examples,
        output_signature={
            "inputs": spec,
            "label": tf.TensorSpec((), tf.int64),
            "index": tf.TensorSpec((), tf.int64),
        },
    )
    return Source(
        name="streamed",
        dataset=dataset,
        labels=np.array(labels),
        ids=np.arange(len(labels)),
        num_classes=3,
        class_names=("a", "b", "c"),
        image_shape=shape or (None, None, 3),
    )


def test_streamed_pixels_of_several_sizes_in_any_order(tmp_path):
    images = [np.full((5 + i, 9, 3), i, "uint8") for i in range(6)]
    source = streamed(images, [0, 1, 2, 0, 1, 2], (None, None, 3))
    page = write_review(tmp_path / "out", frame_of(6), source=source, verbose=False)
    for index in (0, 2, 4):
        pixels = pixels_of(thumbnails_of(page)[f"{index}.png"])
        np.testing.assert_array_equal(pixels, images[index])


def test_streamed_files_are_decoded(tmp_path):
    images = [tf.io.encode_jpeg(np.full((8, 8, 3), 30 * i, "uint8")) for i in range(4)]
    source = streamed([image.numpy() for image in images], [0, 1, 2, 0], ())
    page = write_review(tmp_path / "out", frame_of(4), source=source, verbose=False)
    assert abs(pixels_of(thumbnails_of(page)["2.png"]).mean() - 60) < 2


def test_images_of_many_channels_show_the_first_three(tmp_path):
    images = np.arange(2 * 4 * 4 * 12).reshape(2, 4, 4, 12).astype("uint8")
    source = from_arrays(images, [0, 1], num_classes=3)
    page = write_review(tmp_path / "out", frame_of(2), source=source, verbose=False)
    pixels = pixels_of(thumbnails_of(page)["0.png"])
    np.testing.assert_array_equal(pixels, images[0, ..., :3])


# Details


def test_details_are_text_of_the_examples_in_their_order(tmp_path):
    details = pandas.DataFrame(
        {
            "size": [1.0, 0.1 + 0.2, np.nan, 1e-9],
            "word": ["x", None, "<b>", "long" * 2000],
            7: pandas.array([1, None, 3, 4], "Int64"),
        }
    )
    page = write_review(tmp_path / "out", frame_of(4), [[3]] * 4, details=details)
    content = content_of(page)
    assert content["detailColumns"] == ["size", "word", "7"]
    assert content["examples"]["details"] == [
        ["", "<b>", "3"],
        ["1", "x", "1"],
        ["1e-09", "long" * 50 + "…", "4"],
    ]
    assert "picture" not in content["examples"]
    assert "thumbnails" not in files_below(tmp_path / "out")


def test_details_without_columns_are_allowed(tmp_path):
    details = pandas.DataFrame(index=range(4))
    content = content_of(write_review(tmp_path / "out", frame_of(4), details=details))
    assert content["examples"]["details"] == [[], []]


# What is refused: each before anything is written


def without_attributes(frame, *names):
    frame.attrs = {k: v for k, v in frame.attrs.items() if k not in names}
    return frame


def with_attributes(frame, **attributes):
    frame.attrs = {**frame.attrs, **attributes}
    return frame


@pytest.mark.parametrize(
    "frame, message",
    [
        (frame_of(4).drop(columns=["id", "given_label"]), r"without \['id', 'given_l"),
        ({"id": [1]}, "a dict without"),
        (
            without_attributes(frame_of(4), "dataset_hash"),
            r"without \['dataset_hash'\]",
        ),
        (frame_of(4).iloc[1:], "3 rows with other numbers"),
        (frame_of(0), "0 rows"),
        (frame_of(4).set_axis([0, 0, 1, 2]), "each once"),
        (frame_of(4, ids=["a", "b", "a", "c"]), "'a' more than once"),
        (frame_of(2, ids=np.array([1, "1"], object)), "'1' more than once"),
        (frame_of(4, class_names=("a", "b", "a")), "all different"),
        (frame_of(4, class_names=("a", "b")), "`given_label` must be below 2"),
        (frame_of(2, predicted_label=[0, -1]), "`predicted_label` must be 0 or more"),
        (frame_of(2, neighbor_label=[0, 3]), "`neighbor_label` must be below 3"),
        (frame_of(2, label_quality=[0.5, np.nan]), "`label_quality`.* nan at index 1"),
        (frame_of(2, given_confidence=[1.5, 0]), "`given_confidence`.* 1.5 at index 0"),
        (frame_of(2, near_duplicate=[-1, 2]), "`near_duplicate` must hold indices"),
        (frame_of(2, near_duplicate=[0.5, 1]), "`near_duplicate` must hold integers"),
    ],
)
def test_frame_that_is_no_audit_is_refused(frame, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_review(tmp_path / "out", frame)
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"neighbors": [[1], [0]]}, r"must have shape \(4, k\).* \(2, 1\)"),
        ({"neighbors": [1, 0, 1, 0]}, r"Received: shape \(4,\)"),
        ({"neighbors": [[4]] * 4}, "indices from 0 to 3. Received: 4 to 4"),
        ({"neighbors": [[-1]] * 4}, "indices from 0 to 3"),
        ({"neighbors": [[0.5]] * 4}, "`neighbors` must hold integers"),
        ({"num_neighbors": -1}, "`num_neighbors` must be an integer of at least 0"),
        ({"limit": 0}, "`limit` must be an integer of at least 1"),
        ({"thumbnail_size": 7}, "`thumbnail_size` must be"),
        ({"verbose": "no"}, "`verbose` must be True or False"),
        ({"source": from_arrays(images_of(3), [0, 1, 2])}, "3 examples, and 4 rows"),
        (
            {"source": from_arrays(images_of(4), [0, 1, 2, 0], ids=list("0124"))},
            "id '4' at index 3, where `frame` has '3'",
        ),
        ({"details": pandas.DataFrame({"x": [1]})}, "must have 4 rows"),
        ({"details": [["x"]] * 4}, "must be a pandas DataFrame"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_review(tmp_path / "out", frame_of(4), **arguments)
    assert files_below(tmp_path) == []


# The folder


def test_page_is_replaced_by_the_next(tmp_path):
    source = from_arrays(images_of(8), np.arange(8) % 3)
    write_review(tmp_path / "out", frame_of(8), source=source, verbose=False)
    page = write_review(tmp_path / "out", frame_of(2))
    assert content_of(page)["numExamples"] == 2
    assert set(files_below(tmp_path / "out")) == PAGE_FILES | {"data.js"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_empty_folder_and_new_folders_are_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    assert write_review(tmp_path / "empty", frame_of(2)).exists()
    assert write_review(tmp_path / "new" / "deep", frame_of(2)).exists()


@pytest.mark.parametrize(
    "file", ["corrections.csv", "index.html", "thumbnails/me.jpg", "data.js"]
)
def test_folder_with_other_files_is_refused_and_left_alone(file, tmp_path):
    path = tmp_path / "out" / file
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(ValueError, match="Move that away"):
        write_review(tmp_path / "out", frame_of(2))
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "file", ["corrections.csv", "thumbnails/me.jpg", "thumbnails/7.jpg"]
)
def test_page_that_holds_a_file_of_the_users_is_not_replaced(file, tmp_path):
    source = from_arrays(images_of(2), [0, 1], num_classes=3)
    write_review(tmp_path / "out", frame_of(2), source=source, verbose=False)
    (tmp_path / "out" / file).write_text("mine")
    with pytest.raises(ValueError, match=f"holds '{file}'"):
        check_folder(tmp_path / "out")


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ValueError, match="which is a file"):
        write_review(tmp_path / "out", frame_of(2))


def test_failure_leaves_the_page_that_was_there(tmp_path):
    page = write_review(tmp_path / "out", frame_of(2))
    before = {path: path.read_bytes() for path in page.parent.iterdir()}
    images = [np.zeros((4, 4, 3), "uint8")] * 6
    source = streamed(images, [0, 1, 2, 0, 1, 2], (4, 4, 3), fails_after=3)
    with pytest.raises(tf.errors.OpError, match="the disk is gone"):
        write_review(tmp_path / "out", frame_of(6), source=source, verbose=False)
    assert {path: path.read_bytes() for path in page.parent.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_failure_of_the_last_move_brings_the_old_page_back(tmp_path, monkeypatch):
    page = write_review(tmp_path / "out", frame_of(2))

    def refuse(source, target):
        raise OSError("no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no"):
        write_review(tmp_path / "out", frame_of(4))
    assert content_of(page)["numExamples"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folder_that_fills_meanwhile_is_left_alone(tmp_path, monkeypatch):
    copy = shutil.copyfile

    def copy_and_save_beside(source, target):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "notes.txt").write_text("mine")
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy_and_save_beside)
    with pytest.raises(ValueError, match="notes.txt"):
        write_review(tmp_path / "out", frame_of(2))
    assert files_below(tmp_path) == ["out", "out/notes.txt"]
