"""LabelNoise gives each example one label: any order, process, NumPy or tf.data."""

import collections
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from keras_ncr import noise
from keras_ncr.noise import LabelNoise
from keras_ncr.noise import label_noise as module

NUM_EXAMPLES = 300
LABELS = np.random.default_rng(0).integers(0, 10, NUM_EXAMPLES)
IDS = np.array([f"train-{i % 4}-of-4__{i // 4}" for i in range(NUM_EXAMPLES)])
SYMMETRIC = noise.symmetric(10, 0.4, include_true=True)


def slow_corrupt(labels, numbers, matrix):
    """Walks along each label's row until the number is used up."""
    noisy_labels = []
    for label, number in zip(labels, numbers, strict=True):
        candidate, passed = 0, matrix[label][0]
        while number >= passed:
            candidate += 1
            passed += matrix[label][candidate]
        noisy_labels.append(candidate)
    return noisy_labels


def dict_dataset(keys):
    """Elements as of TFDS, with a position to tell them apart in the test."""
    features = {"label": LABELS, "tfds_id": keys, "position": np.arange(NUM_EXAMPLES)}
    return tf.data.Dataset.from_tensor_slices(features)


def by_position(dataset):
    """Returns the labels by position; every pass must agree on each of them."""
    labels = {}
    if dataset.element_spec["label"].shape.rank == 0:
        dataset = dataset.batch(100)
    for element in dataset.as_numpy_iterator():
        pairs = zip(
            element["position"].tolist(), element["label"].tolist(), strict=True
        )
        for position, label in pairs:
            assert labels.setdefault(position, label) == label
    return [labels[position] for position in sorted(labels)]


# --- The labels themselves


@pytest.mark.parametrize("seed", [0, 7])
def test_corrupt_equals_a_walk_along_the_row(seed):
    label_noise = LabelNoise(SYMMETRIC, seed=seed)
    numbers = module._uniform(module.hash_keys(np.arange(NUM_EXAMPLES), seed))
    expected = slow_corrupt(LABELS, numbers, SYMMETRIC)
    assert label_noise.corrupt(LABELS).tolist() == expected


def test_labels_are_those_of_the_first_release():
    # Literal values: a change would change every published noise file.
    noisy_labels = LabelNoise(SYMMETRIC, seed=1).corrupt(np.arange(10))
    assert noisy_labels.tolist() == [6, 1, 8, 1, 4, 5, 6, 7, 6, 4]


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("exact", [False, True])
def test_impossible_transitions_never_happen(rate, exact):
    # Zeros before, between and after; thirds whose sum rounds to below 1.
    matrix = np.zeros((6, 6))
    matrix[:, [1, 2, 4]] = 1 / 3
    matrix = rate * matrix + (1 - rate) * np.eye(6)
    labels = np.arange(60_000) % 6
    noisy_labels = LabelNoise(matrix, exact=exact).corrupt(labels)
    assert np.all(matrix[labels, noisy_labels] > 0)


def test_largest_and_smallest_numbers_stay_in_the_row(monkeypatch):
    matrix = np.zeros((3, 3))
    matrix[:, :2] = [0.1, 0.9 - 1e-7]  # sums to a little less than 1
    for bits, expected in ((0, 0), (2**64 - 1, 1)):
        words = np.array([bits], np.uint64)
        monkeypatch.setattr(module, "hash_keys", lambda *_, words=words: words)
        assert LabelNoise(matrix).corrupt([2]).tolist() == [expected]


@pytest.mark.parametrize(
    "matrix, realized",
    [
        (noise.symmetric(10, 0.2, include_true=True), 0.18),
        (noise.symmetric(10, 0.4, include_true=True), 0.36),
        (noise.symmetric(10, 0.8, include_true=True), 0.72),
        (noise.symmetric(10, 0.8, include_true=False), 0.8),
        (noise.symmetric(100, 0.8, include_true=True), 0.792),
        (noise.asymmetric("cifar10", 0.4), 0.2),
        (noise.asymmetric("cifar100", 0.4), 0.4),
        (noise.pair_flip(10, 0.45), 0.45),
    ],
)
def test_realized_rate_is_binomial(matrix, realized):
    labels = np.arange(50_000) % len(matrix)
    deviation = np.sqrt(realized * (1 - realized) / 50_000)
    rates = [
        np.mean(LabelNoise(matrix, seed).corrupt(labels) != labels)
        for seed in range(10)
    ]
    z_scores = (np.array(rates) - realized) / deviation
    assert np.max(np.abs(z_scores)) < 4.5
    assert abs(np.mean(z_scores)) < 4.5 / np.sqrt(10)

    exact_rate = np.mean(LabelNoise(matrix, exact=True).corrupt(labels) != labels)
    assert abs(exact_rate - realized) <= len(matrix) / 50_000


def test_every_transition_is_as_frequent_as_the_matrix_says():
    labels = np.repeat([0, 1, 2], 20_000)
    matrix = np.array([[0.5, 0.3, 0.2], [0.0, 0.9, 0.1], [0.25, 0.25, 0.5]])
    noisy_labels = LabelNoise(matrix).corrupt(labels)
    for label in range(3):
        counts = np.bincount(noisy_labels[labels == label], minlength=3)
        bound = 4.5 * np.sqrt(20_000 * matrix[label] * (1 - matrix[label]))
        assert np.all(np.abs(counts - 20_000 * matrix[label]) <= bound)


@pytest.mark.parametrize("seed", range(5))
def test_exact_meets_every_count_to_within_one(seed):
    generator = np.random.default_rng(seed)
    matrix = generator.dirichlet(np.ones(7), size=7)
    labels = generator.integers(0, 7, 3001)
    noisy_labels = LabelNoise(matrix, seed, exact=True).corrupt(labels)
    for label in range(7):
        of_class = labels == label
        counts = np.bincount(noisy_labels[of_class], minlength=7)
        assert np.all(np.abs(counts - of_class.sum() * matrix[label]) <= 1)


@pytest.mark.parametrize("exact", [False, True])
def test_order_of_the_examples_does_not_matter(exact):
    label_noise = LabelNoise(SYMMETRIC, exact=exact)
    order = np.random.default_rng(1).permutation(NUM_EXAMPLES)
    for keys in (IDS, np.arange(NUM_EXAMPLES)):
        expected = label_noise.corrupt(LABELS, keys)[order]
        actual = label_noise.corrupt(LABELS[order], keys[order])
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("exact", [False, True])
def test_seeds_flip_other_examples(exact):
    matrix = noise.symmetric(10, 0.5, include_true=False)
    labels = np.arange(20_000) % 10
    flips = [LabelNoise(matrix, s, exact).corrupt(labels) != labels for s in range(20)]
    correlations = np.corrcoef(np.array(flips, float))[np.triu_indices(20, k=1)]
    assert np.max(np.abs(correlations)) < 4.5 / np.sqrt(20_000)


def test_float32_matrix_is_accepted():
    matrix = noise.symmetric(1000, 0.3, include_true=True).astype(np.float32)
    assert LabelNoise(matrix).num_classes == 1000


# --- The same labels inside tf.data


NUMBERS = np.arange(NUM_EXAMPLES) * 3 - 50


@pytest.mark.parametrize(
    ("keys", "exact"),
    [
        (NUMBERS, False),
        (IDS, True),
        pytest.param(NUMBERS, True, marks=pytest.mark.slow),
        pytest.param(IDS, False, marks=pytest.mark.slow),
    ],
)
def test_dict_data_sets_get_the_labels_of_numpy_in_any_order(exact, keys):
    label_noise = LabelNoise(SYMMETRIC, seed=5, exact=exact).fit(LABELS, keys)
    expected = label_noise.corrupt(LABELS, keys).tolist()
    assert expected != LABELS.tolist()
    dataset = dict_dataset(keys)

    def apply(dataset):
        return label_noise.apply(dataset, key="tfds_id")

    shuffled = apply(dataset.shuffle(NUM_EXAMPLES, seed=1))
    batched = apply(dataset.shuffle(NUM_EXAMPLES).batch(64))
    assert by_position(apply(dataset)) == expected
    assert by_position(shuffled) == expected
    assert by_position(shuffled) == expected  # a second epoch, in another order
    assert by_position(apply(dataset.shuffle(99, seed=2).repeat(2))) == expected
    assert by_position(batched) == expected
    shards = [apply(dataset.shard(3, i)) for i in range(3)]
    assert (
        by_position(shards[0].concatenate(shards[1]).concatenate(shards[2])) == expected
    )
    unordered = tf.data.Options()
    unordered.deterministic = False
    interleaved = tf.data.Dataset.range(4).interleave(
        lambda i: apply(dataset.shard(4, i)), num_parallel_calls=tf.data.AUTOTUNE
    )
    assert by_position(interleaved.with_options(unordered)) == expected


@pytest.mark.parametrize("exact", [False, True])
def test_pairs_are_keyed_by_position(exact):
    label_noise = LabelNoise(SYMMETRIC, seed=5, exact=exact).fit(LABELS)
    expected = label_noise.corrupt(LABELS)
    positions = np.arange(NUM_EXAMPLES)
    pairs = tf.data.Dataset.from_tensor_slices((positions, LABELS))
    for dataset in (
        pairs.apply(label_noise.apply),
        pairs.apply(label_noise.apply).shuffle(NUM_EXAMPLES).repeat(2),
        pairs.apply(label_noise.apply).shard(2, 1),
    ):
        for position, label in dataset.batch(100).as_numpy_iterator():
            np.testing.assert_array_equal(label, expected[position])


def test_sample_weights_and_other_features_pass_through():
    label_noise = LabelNoise(SYMMETRIC)
    weighted = tf.data.Dataset.from_tensor_slices((LABELS, LABELS, LABELS * 0.5))
    noisy = label_noise.apply(weighted)
    assert noisy.element_spec == weighted.element_spec
    for clean, _, weight in noisy.as_numpy_iterator():
        assert weight == clean * 0.5
    renamed = tf.data.Dataset.from_tensor_slices({"fine": LABELS, "x": LABELS})
    noisy = label_noise.apply(renamed.enumerate().map(add_index), "fine", key="index")
    expected = label_noise.corrupt(LABELS)
    for element in noisy.as_numpy_iterator():
        assert element["fine"] == expected[element["index"]]
        assert element["x"] == LABELS[element["index"]]


def add_index(index, element):
    return {**element, "index": index}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "int64"])
@pytest.mark.parametrize("shape", [(), (12,), (3, 4)])
def test_transform_keeps_dtype_and_shape(dtype, shape):
    label_noise = LabelNoise(SYMMETRIC)
    size = int(np.prod(shape))
    expected = label_noise.corrupt(LABELS[:size]).reshape(shape)
    label = tf.cast(tf.reshape(LABELS[:size], shape), dtype)
    key = tf.reshape(tf.range(size), shape)
    for transform in (label_noise.transform, tf.function(label_noise.transform)):
        noisy_label = transform(label, key)
        assert noisy_label.dtype == dtype
        assert noisy_label.shape == shape
        np.testing.assert_array_equal(noisy_label, expected)


def test_numpy_and_tensorflow_agree_on_many_random_rows():
    generator = np.random.default_rng(0)
    matrix = generator.dirichlet(np.full(50, 0.1), size=50)
    labels = generator.integers(0, 50, 100_000)
    keys = generator.integers(-(2**63), 2**63, 100_000)
    label_noise = LabelNoise(matrix, seed=2**40)
    np.testing.assert_array_equal(
        label_noise.transform(labels, keys), label_noise.corrupt(labels, keys)
    )


SCRIPT = """
import sys
import numpy as np, tensorflow as tf
from keras_ncr import noise
matrix = noise.symmetric(10, 0.4, include_true=True)
labels = np.arange(200) % 10
for keys in (np.arange(200), np.array([f"é{i}" for i in range(200)])):
    for exact in (False, True):
        label_noise = noise.LabelNoise(matrix, 3, exact).fit(labels, keys)
        elements = {"label": labels, "id": keys}
        dataset = tf.data.Dataset.from_tensor_slices(elements).batch(64)
        dataset = label_noise.apply(dataset, key="id")
        for element in dataset.as_numpy_iterator():
            sys.stdout.write("".join(map(str, element["label"])))
"""


@pytest.mark.slow
def test_second_process_gives_the_same_labels(capfd):
    command = [sys.executable, "-c", SCRIPT]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    exec(SCRIPT, {})
    here = capfd.readouterr().out
    assert len(here) == 800
    assert there == here


# --- Bad input


@pytest.mark.parametrize(
    "matrix, message",
    [
        (np.ones((2, 3)) / 3, r"shape \(2, 3\)"),
        (np.ones(4) / 4, r"shape \(4,\)"),
        ([[1.0]], "at least 2 classes"),
        ([[1.5, -0.5], [0, 1]], "values from -0.5 to 1.5"),
        ([[np.nan, 1], [0, 1]], "finite"),
        ([[0.5, 0.4], [0, 1]], "row 0 sums to 0.9"),
        ([[0.9, 0.4], [0.1, 0.6]], "cleanlab.*`transition_matrix.T`"),
    ],
)
def test_bad_matrices_are_refused(matrix, message):
    with pytest.raises(ValueError, match=f"`transition_matrix` must .*{message}"):
        LabelNoise(matrix)


def test_row_stochastic_matrix_is_not_called_column_stochastic():
    with pytest.raises(ValueError) as error:
        LabelNoise([[0.5, 0.4], [0, 1]])
    assert "cleanlab" not in str(error.value)


@pytest.mark.parametrize("seed", [-1, 0.5, None, "1"])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="`seed` must be an integer of at least 0"):
        LabelNoise(SYMMETRIC, seed)


@pytest.mark.parametrize(
    "labels, keys, message",
    [
        ([0, 10], None, "`labels` must be below 10. Received: 10 at position 1"),
        ([[1, 0], [0, 1]], None, "argmax"),
        ([0.0, np.nan], None, "whole class numbers"),
        ([0, 1], [5], "`keys` must hold one key per label. Received: 1 keys and 2"),
        ([0, 1], [0.5, 1.5], "`keys` must be integers or strings"),
    ],
)
@pytest.mark.parametrize("method", ["corrupt", "fit"])
def test_bad_labels_and_keys_are_refused(method, labels, keys, message):
    with pytest.raises(ValueError, match=message):
        getattr(LabelNoise(SYMMETRIC), method)(labels, keys)


def test_exact_needs_different_keys():
    label_noise = LabelNoise(SYMMETRIC, exact=True)
    with pytest.raises(ValueError, match="2 different keys for 3 labels"):
        label_noise.corrupt([0, 1, 1], ["a", "b", "b"])


def test_exact_needs_fit_before_transform():
    with pytest.raises(ValueError, match="`exact=True` .* Call `fit"):
        LabelNoise(SYMMETRIC, exact=True).transform(1, 1)


def test_exact_refuses_a_key_it_was_not_fitted_to():
    label_noise = LabelNoise(SYMMETRIC, exact=True).fit(LABELS)
    longer = np.append(LABELS, 0)
    dataset = tf.data.Dataset.from_tensor_slices((longer, longer))
    with pytest.raises(tf.errors.InvalidArgumentError, match="`key` must be one of"):
        collections.deque(label_noise.apply(dataset), maxlen=0)


def test_label_out_of_range_stops_the_pipeline():
    dataset = tf.data.Dataset.from_tensor_slices(([0.0, 0.0], [3, 10]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="10"):
        collections.deque(LabelNoise(SYMMETRIC).apply(dataset), maxlen=0)


@pytest.mark.parametrize(
    "label, key, message",
    [
        (tf.zeros(3), tf.zeros(3, tf.int64), "`label` must be of an integer dtype"),
        (tf.zeros(3, tf.int64), tf.zeros(3), "`key` must hold integers or strings"),
        (tf.zeros((3, 10), tf.int64), tf.zeros(3, tf.int64), "argmax"),
        (tf.zeros(3, tf.int64), tf.zeros((), tf.int64), "must have the same shape"),
    ],
)
def test_bad_elements_are_refused(label, key, message):
    with pytest.raises(ValueError, match=message):
        LabelNoise(SYMMETRIC).transform(label, key)


PAIRS = tf.data.Dataset.from_tensor_slices((LABELS, LABELS))


@pytest.mark.parametrize(
    "dataset, arguments, message",
    [
        (
            dict_dataset(IDS),
            {},
            "`key` must be one of .* features of the data set. Received: key=None",
        ),
        (dict_dataset(IDS), {"key": "tfdsid"}, "Did you mean 'tfds_id'"),
        (dict_dataset(IDS), {"key": "tfds_id", "label": "labels"}, "mean 'label'"),
        (PAIRS, {"key": "tfds_id"}, "`key` must be left out"),
        (PAIRS.batch(10), {}, "Use this before `batch`"),
        (PAIRS.repeat(), {}, "Use this before `repeat`"),
        (PAIRS.map(lambda x, y: x), {}, "must have elements"),
        (PAIRS.map(lambda x, y: (x, {"label": y})), {}, "must have one class number"),
        (PAIRS.map(lambda x, y: (x, tf.one_hot(y, 10))), {}, "one-hot"),
    ],
)
def test_bad_data_sets_are_refused(dataset, arguments, message):
    with pytest.raises(ValueError, match=message):
        LabelNoise(SYMMETRIC).apply(dataset, **arguments)
