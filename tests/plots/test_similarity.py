"""Tests of plots/similarity.py, against a loop over all pairs."""

import itertools
import tracemalloc

import numpy as np
import pytest

from keras_ncr.plots import similarity_figure

RNG = np.random.default_rng(0)
CLEAN = RNG.integers(0, 3, 40)
NOISY = np.where(RNG.random(40) < 0.4, RNG.integers(0, 3, 40), CLEAN)
# The classes overlap; some similarities are negative.
FEATURES = RNG.normal(size=(40, 4)) + 2 * np.eye(4)[CLEAN]


def cosine(first, second):
    return first @ second / np.linalg.norm(first) / np.linalg.norm(second)


def shares(values, lowest=-1):
    """Returns the histogram that a kind of pair should have, in percent."""
    counts, _ = np.histogram(values, bins=50, range=(lowest, 1))
    return 100 * counts / max(len(values), 1)


def drawn(axes):
    """Returns the heights of the histograms of an axes, by the order of drawing."""
    # An outline goes up to each bar, along it, and to the next.
    return [patch.get_xy()[1:-1:2, 1] for patch in axes.patches]


def names_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def expected_kinds(kind_of):
    """Returns the histogram of each kind, by a loop over all pairs."""
    kinds = {}
    for i, j in itertools.combinations(range(40), 2):
        kinds.setdefault(kind_of(i, j), []).append(cosine(FEATURES[i], FEATURES[j]))
    return kinds


def test_pairs_are_divided_by_true_class_and_by_right_labels():
    kinds = expected_kinds(
        lambda i, j: (
            CLEAN[i] == CLEAN[j],
            CLEAN[i] != NOISY[i] or CLEAN[j] != NOISY[j],
        )
    )
    figure = similarity_figure({"NCR": FEATURES}, CLEAN, NOISY, title="Digits")
    assert figure.get_suptitle() == "Digits"
    (axes,) = figure.axes
    assert axes.get_title() == "NCR"
    order = [(True, False), (False, False), (True, True), (False, True)]
    for values, kind in zip(drawn(axes), order, strict=True):
        np.testing.assert_allclose(values, shares(kinds[kind]), atol=1e-4)
    assert names_of(figure) == [
        "same class, right labels",
        "different class, right labels",
        "same class, a wrong label",
        "different class, a wrong label",
    ]


def test_without_true_labels_pairs_are_divided_by_label():
    kinds = expected_kinds(lambda i, j: NOISY[i] == NOISY[j])
    figure = similarity_figure(FEATURES, None, NOISY)
    same, different = drawn(figure.axes[0])
    np.testing.assert_allclose(same, shares(kinds[True]), atol=1e-4)
    np.testing.assert_allclose(different, shares(kinds[False]), atol=1e-4)
    assert names_of(figure) == ["same label", "different label"]


def test_unknown_class_counts_where_it_is_sure_to_differ():
    clean = np.where(CLEAN == NOISY, CLEAN, -1)

    def kind_of(i, j):
        if clean[i] >= 0 and clean[j] >= 0:
            return clean[i] == clean[j], False
        # Wrongly labeled as the class that the other truly has.
        is_sure = NOISY[i] == clean[j] or NOISY[j] == clean[i]
        return (False, True) if is_sure else "unknown"

    kinds = expected_kinds(kind_of)
    assert {"unknown", (False, True)} < set(kinds)
    figure = similarity_figure(FEATURES, clean, NOISY)
    right_same, right_different, wrong_same, wrong_different = drawn(figure.axes[0])
    np.testing.assert_allclose(right_same, shares(kinds[True, False]), atol=1e-4)
    np.testing.assert_allclose(right_different, shares(kinds[False, False]), atol=1e-4)
    np.testing.assert_allclose(wrong_different, shares(kinds[False, True]), atol=1e-4)
    assert not wrong_same.any()
    assert names_of(figure)[2] == "same class, a wrong label (none)"


def test_drawn_pairs_have_the_distributions_of_all_pairs():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 30, 1500)
    features = rng.normal(size=(1500, 8)) + np.eye(30)[labels][:, :8]
    noisy = np.where(rng.random(1500) < 0.3, (labels + 1) % 30, labels)
    every = drawn(similarity_figure(features, labels, noisy, 10**6).axes[0])
    some = drawn(similarity_figure(features, labels, noisy, 20_000, 1).axes[0])
    for whole, sample in zip(every, some, strict=True):
        assert np.abs(whole - sample).sum() < 10  # Of 200, if they did not overlap.


def test_seed_decides_which_pairs_are_drawn():
    def histograms(seed):
        return drawn(similarity_figure(FEATURES, CLEAN, NOISY, 100, seed).axes[0])

    np.testing.assert_array_equal(histograms(1), histograms(1))
    assert np.any(np.array(histograms(1)) != np.array(histograms(2)))


def test_no_example_is_paired_with_itself():
    # All others are orthogonal.
    figure = similarity_figure(np.eye(300), np.zeros(300, int), np.zeros(300, int), 500)
    same, *_ = drawn(figure.axes[0])
    assert same[0] == pytest.approx(100)
    assert not same[1:].any()


def test_classes_of_one_example_have_no_pairs():
    figure = similarity_figure(np.eye(50), np.arange(50), np.arange(50), 10)
    assert names_of(figure)[0] == "same class, right labels (none)"


def test_each_method_has_a_panel_and_length_does_not_matter(tmp_path):
    lengths = np.linspace(0.1, 10, 40)[:, None]
    features = {"standard": FEATURES, "NCR": (lengths * FEATURES).astype("float16")}
    figure = similarity_figure(features, CLEAN, NOISY)
    first, second = figure.axes
    assert [first.get_title(), second.get_title()] == ["standard", "NCR"]
    for one, other in zip(drawn(first), drawn(second), strict=True):
        assert np.abs(one - other).sum() < 5  # Half precision moves some a bar on.
    figure.savefig(tmp_path / "figure.png", dpi=30)


def test_without_negative_similarities_the_axis_begins_at_zero():
    figure = similarity_figure(np.abs(FEATURES), CLEAN, NOISY)
    assert figure.axes[0].get_xlim() == (0, 1)
    assert similarity_figure(FEATURES, CLEAN, NOISY).axes[0].get_xlim() == (-1, 1)


def test_memory_does_not_grow_with_the_pairs():
    features = np.ones((3000, 512), "float32")
    labels = np.arange(3000) % 10
    tracemalloc.start()
    try:
        similarity_figure(features, labels, labels, num_pairs=60_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The features of all pairs at once would take 490 MB.
    assert peak < 120e6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": FEATURES[:9]}, r"`features` .* \(40, dim\).* \(9, 4\)"),
        ({"features": FEATURES[:, 0]}, r"`features` .* \(40,\)"),
        ({"features": {}}, "Received: 0 sets of features"),
        ({"features": np.where(np.eye(40, 4), np.nan, 1)}, "finite.* position 0"),
        ({"clean_labels": CLEAN[:9]}, "9 clean and 40 noisy"),
        ({"noisy_labels": -1 - NOISY}, "`noisy_labels` must be 0 or more"),
        ({"num_pairs": 0}, "`num_pairs` must be an integer of at least 1"),
    ],
)
def test_wrong_input_is_refused(changes, message):
    arguments = {"features": FEATURES, "clean_labels": CLEAN, "noisy_labels": NOISY}
    with pytest.raises(ValueError, match=message):
        similarity_figure(**(arguments | changes))


def test_one_example_makes_no_pair():
    with pytest.raises(ValueError, match="two examples or more"):
        similarity_figure([[1.0]], [0], [0])
