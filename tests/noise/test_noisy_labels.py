"""The record of labels: what it reports, and that its file can be trusted."""

import os

import numpy as np
import pytest

from keras_ncr import noise
from keras_ncr.noise import NoisyLabels

CLEAN = [0, 1, 2, 2, 1]
NOISY = [0, 1, 2, 0, 2]
HASHES = [
    "0ca1494845e346c66ce4c7ea311482c1e14f94f1e5cd1261a15588028e7c4a6d",
    "af3b2978b3f72754ba8086bd34eccee5f3b4eba38137b1798e6a8fb4657bbce8",
    "2e1b82325294c726b632bee0edf89000a65a07539515361695165ae2e28117cb",
]
ALL_IDS = [None, [3, 1, 4, -1, 5], ["a", "é", "", "train__1", "日本"]]


def test_noisy_means_changed():
    record = NoisyLabels(CLEAN, NOISY)
    assert record.is_noisy.tolist() == [False, False, False, True, True]
    assert record.is_noisy.dtype == bool
    assert record.realized_rate == 0.4
    assert len(record) == 5


def test_transition_matrix_counts():
    matrix = NoisyLabels(CLEAN, NOISY).transition_matrix(4)
    expected = [[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(matrix, expected)


def test_transition_matrix_of_exact_noise_is_the_one_asked_for():
    asked = noise.asymmetric("cifar10", 0.4)
    labels = np.arange(1000) % 10
    noisy_labels = noise.LabelNoise(asked, exact=True).corrupt(labels)
    record = NoisyLabels(labels, noisy_labels)
    np.testing.assert_allclose(record.transition_matrix(10), asked)
    assert record.realized_rate == 0.2


def test_record_cannot_be_changed():
    labels = np.array(CLEAN)
    record = NoisyLabels(labels, NOISY, ids=list(range(5)))
    labels[0] = 2
    assert record.clean_labels[0] == 0
    for array in (record.clean_labels, record.noisy_labels, record.ids):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        record.noisy_labels = labels


# --- Labels of which the truth is partly or not known

PARTLY = [0, -1, 2, 2, -1]


def test_label_without_a_true_class_is_wrong_and_in_no_row():
    record = NoisyLabels(PARTLY, NOISY)
    assert record.is_noisy.tolist() == [False, True, False, True, True]
    assert record.realized_rate == 0.6
    expected = [[1, 0, 0], [0, 0, 0], [0.5, 0, 0.5]]
    np.testing.assert_array_equal(record.transition_matrix(3), expected)


def test_record_of_nothing_but_unknown_classes_has_an_empty_matrix():
    record = NoisyLabels([-1, -1], [0, 1])
    assert record.realized_rate == 1.0
    np.testing.assert_array_equal(record.transition_matrix(2), np.zeros((2, 2)))


def test_record_without_clean_labels_knows_nothing():
    record = NoisyLabels(None, NOISY)
    assert record.clean_labels is record.is_noisy is record.realized_rate is None
    assert len(record) == 5
    with pytest.raises(ValueError, match="true class.*Received: clean_labels=None"):
        record.transition_matrix(3)


@pytest.mark.parametrize(
    "clean_labels, rate", [(CLEAN, "0.4000"), (PARTLY, "0.6000"), (None, "None")]
)
def test_representation_says_how_many_and_how_wrong(clean_labels, rate):
    record = NoisyLabels(clean_labels, NOISY)
    assert repr(record) == (
        f"NoisyLabels(num_examples=5, realized_rate={rate}, hash='{record.hash}')"
    )


# --- The hash


@pytest.mark.parametrize("ids, expected", list(zip(ALL_IDS, HASHES, strict=True)))
def test_hash_is_the_same_everywhere(ids, expected):
    assert NoisyLabels(CLEAN, NOISY, ids).hash == expected
    wide = [np.array(CLEAN, ">i8"), np.array(NOISY, np.uint8)]
    if isinstance(ids, list) and isinstance(ids[0], int):
        ids = np.array(ids, ">i4")
    elif ids is not None:
        ids = [text.encode() for text in ids]
    assert NoisyLabels(*wide, ids).hash == expected


@pytest.mark.parametrize(
    "clean_labels, expected",
    [
        (PARTLY, "2a5d1dc7930facbc6cd1ae162b29fff1b9f7daccd1d6904b4fbd9acf66cf0424"),
        (None, "6951be63c9915d2838a317b370f63b8fca73906f8f8bc6c6b59165e25724a295"),
    ],
)
def test_hash_of_partial_knowledge_is_the_same_everywhere(clean_labels, expected):
    assert NoisyLabels(clean_labels, NOISY).hash == expected


def test_hash_tells_records_apart():
    records = [
        NoisyLabels([0, 1], [0, 1]),
        NoisyLabels([0, -1], [0, 1]),
        NoisyLabels(None, [0, 1]),
        NoisyLabels([0, 1], [0, 0]),
        NoisyLabels([0, 0], [0, 1]),
        NoisyLabels([0, 1, 0], [1, 0, 1]),
        NoisyLabels([0, 1], [0, 1], [0, 1]),
        NoisyLabels([0, 1], [0, 1], [1, 0]),
        NoisyLabels([0, 1], [0, 1], ["0", "1"]),
        NoisyLabels([0, 1], [0, 1], ["ab", "c"]),
        NoisyLabels([0, 1], [0, 1], ["a", "bc"]),
    ]
    assert len({record.hash for record in records}) == len(records)


# --- The file


@pytest.mark.parametrize("clean_labels", [CLEAN, PARTLY, None])
@pytest.mark.parametrize("ids", ALL_IDS)
@pytest.mark.parametrize("name", ["noise.npz", "noise"])
def test_load_returns_what_was_saved(tmp_path, clean_labels, ids, name):
    record = NoisyLabels(clean_labels, NOISY, ids)
    record.save(tmp_path / name)
    loaded = NoisyLabels.load(str(tmp_path / name))
    assert loaded.hash == record.hash
    for field in ("clean_labels", "noisy_labels", "ids"):
        before, after = getattr(record, field), getattr(loaded, field)
        np.testing.assert_array_equal(after, before)
        assert getattr(after, "dtype", None) == getattr(before, "dtype", None)
    assert os.listdir(tmp_path) == [name]


def test_file_of_the_first_version_loads(tmp_path):
    np.savez_compressed(
        tmp_path / "noise.npz",
        format="keras_ncr.NoisyLabels.1",
        hash=HASHES[1],
        clean_labels=np.array(CLEAN),
        noisy_labels=np.array(NOISY),
        ids=np.array(ALL_IDS[1]),
    )
    record = NoisyLabels.load(tmp_path / "noise.npz")
    assert record.clean_labels.tolist() == CLEAN
    assert record.noisy_labels.tolist() == NOISY
    assert record.ids.tolist() == ALL_IDS[1]


def test_file_loads_without_pickle(tmp_path):
    NoisyLabels(CLEAN, NOISY, ALL_IDS[2]).save(tmp_path / "noise.npz")
    with np.load(tmp_path / "noise.npz", allow_pickle=False) as file:
        assert file["noisy_labels"].tolist() == NOISY
        assert file["ids"].tolist() == ALL_IDS[2]


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "noise.npz"
    NoisyLabels(CLEAN, NOISY).save(path)
    before = path.read_bytes()

    def fail_halfway(file, **arrays):
        file.write(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail_halfway)
    with pytest.raises(OSError, match="disk full"):
        NoisyLabels(NOISY, CLEAN).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["noise.npz"]


def rewritten(**changes):
    """Returns what puts other arrays into a file, or takes those out that are None."""

    def rewrite(path):
        with np.load(path) as file:
            arrays = {**file, **changes}
        there = {name: array for name, array in arrays.items() if array is not None}
        np.savez(path, **there)

    return rewrite


def replaced(content):
    """Returns what puts the result of a function of its bytes into a file."""
    return lambda path: path.write_bytes(content(path.read_bytes()))


def flip_the_middle(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def save_array(path):
    with open(path, "wb") as file:
        np.save(file, CLEAN)


@pytest.mark.parametrize(
    "change, reason",
    [
        (rewritten(clean_labels=None), "do not match the hash"),
        (rewritten(noisy_labels=None), ""),
        (rewritten(ids=None), "do not match the hash"),
        (rewritten(clean_labels=np.roll(CLEAN * 400, 1)), "do not match the hash"),
        (rewritten(format="something else"), "its format is something else"),
        (rewritten(format=None, hash=None), ""),
        (rewritten(format=np.array([{}], object)), ""),
        (replaced(lambda content: b""), ""),
        (replaced(lambda content: b"not a zip file"), ""),
        (replaced(lambda content: content[:10]), ""),
        (replaced(lambda content: content[: len(content) // 2]), ""),
        (replaced(lambda content: content[:-1]), ""),
        (replaced(flip_the_middle), ""),
        (save_array, ""),
    ],
)
def test_file_that_is_not_as_it_was_saved_is_refused(tmp_path, change, reason):
    path = tmp_path / "noise.npz"
    NoisyLabels(CLEAN * 400, NOISY * 400, np.arange(2000)).save(path)
    change(path)
    message = f"written by `NoisyLabels.save`.*noise.npz, which .*: .*{reason}.*seed"
    with pytest.raises(ValueError, match=message):
        NoisyLabels.load(path)


def test_missing_file_is_reported_as_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        NoisyLabels.load(tmp_path / "noise.npz")


# --- Bad input


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([0, 1], [0]), "same length. Received: 2 and 1"),
        (([0, -2], [0, 1]), "`clean_labels` must be 0 or more. Received: -2"),
        ((None, []), "`noisy_labels` must hold at least one label"),
        ((None, [0, 1], [1]), r"`ids` must have shape \(2,\)"),
        (([], []), "`clean_labels` must hold at least one label"),
        (([0, 1], [0, np.nan]), "`noisy_labels` must hold whole class numbers"),
        (([0, 1], [0, -1]), "`noisy_labels` must be 0 or more"),
        (([0, 1], [0, 1], [1]), r"`ids` must have shape \(2,\)"),
        (([0, 1], [0, 1], [[1, 2]]), r"`ids` must have shape \(2,\)"),
        (([0, 1], [0, 1], [0.5, 1.5]), "`ids` must be integers or strings"),
        (([0, 1], [0, 1], [None, "a"]), "`ids` must be integers or strings"),
        (([0, 1], [0, 1], ["a", "a"]), "`ids` must all be different. Received: 1"),
    ],
)
def test_bad_records_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NoisyLabels(*arguments)


def test_transition_matrix_refuses_too_few_classes():
    with pytest.raises(ValueError, match="`clean_labels` must be below 2. Received: 2"):
        NoisyLabels(CLEAN, NOISY).transition_matrix(2)


def test_ids_beyond_int64_are_refused():
    ids = np.array([2**63, 1], np.uint64)
    with pytest.raises(ValueError, match=r"`ids` must fit into int64.*astype\(str\)"):
        NoisyLabels([0, 1], [0, 1], ids)
