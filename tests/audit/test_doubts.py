"""Tests of audit/doubts.py: what is stated of a list, and when it is doubtful."""

import numpy as np
import pytest

from keras_ncr.audit.doubts import doubts, estimate
from keras_ncr.audit.judgment import called_issues, judge
from keras_ncr.audit.predictions import from_probabilities


def stated(labels, probabilities, is_out_of_sample=True):
    """Returns the estimates of a list, the sentences of doubt, and what is called."""
    predictions = from_probabilities(labels, probabilities)
    judgment = judge(predictions)
    is_called = called_issues(judgment, predictions.labels)
    estimates = estimate(judgment, predictions.labels, is_called, is_out_of_sample)
    names = [f"class {c}" for c in range(predictions.num_classes)]
    said = doubts(judgment, predictions, is_called, estimates, names, is_out_of_sample)
    return estimates, " ".join(said), is_called


def strong_case(seed=0, num_examples=3000, num_classes=5, rate=0.2):
    """Returns noise that is even over classes, seen by a model that knows them."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, num_examples)
    labels = np.where(
        rng.uniform(size=num_examples) < rate,
        (truth + rng.integers(1, num_classes, num_examples)) % num_classes,
        truth,
    )
    logits = rng.normal(0, 0.7, (num_examples, num_classes))
    logits[np.arange(num_examples), truth] += 5
    return truth, labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def weak_case(strength, num_examples=3000, num_classes=6):
    """Returns right labels, and a model that knows the classes badly."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, num_classes, num_examples)
    logits = rng.normal(0, 1.5, (num_examples, num_classes))
    logits[np.arange(num_examples), truth] += strength
    return truth, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(10))
def test_strong_model_states_the_truth_within_narrow_bounds(seed):
    truth, labels, probabilities = strong_case(seed)
    estimates, said, is_called = stated(labels, probabilities)
    is_wrong = labels != truth
    for value, (low, high), true in (
        (estimates.noise_rate, estimates.noise_rate_bounds, is_wrong.mean()),
        (estimates.precision, estimates.precision_bounds, is_wrong[is_called].mean()),
    ):
        assert low <= true <= high and high - low < 0.15
        assert value == pytest.approx(true, abs=0.06)
    assert said == ""


def test_bounds_hold_the_estimates():
    for strength in (1, 2, 3, 4):
        estimates, _, _ = stated(*weak_case(strength))
        low, high = estimates.noise_rate_bounds
        assert 0 <= low <= estimates.noise_rate <= high <= 1
        if estimates.precision is not None:
            low, high = estimates.precision_bounds
            assert 0 <= low <= estimates.precision <= high <= 1


def test_nothing_called_has_no_precision():
    estimates, said, is_called = stated([0, 1] * 50, [[0.9, 0.1], [0.1, 0.9]] * 50)
    assert not is_called.any()
    assert estimates.precision is None and estimates.precision_bounds is None
    assert said == ""


def test_weak_model_is_doubted():
    _, said, _ = stated(*weak_case(2))
    assert "may know the class of only" in said
    assert said.count("better features") == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sharpness", [1, 2])
def test_right_labels_that_a_weak_model_does_not_know_are_not_bound_from_below(
    seed, sharpness
):
    # As sure as it is right, of nine to fourteen examples in twenty.
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(4000, 10))
    posteriors = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (posteriors.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    estimates, said, is_called = stated(labels, posteriors)
    assert estimates.noise_rate_bounds[0] < 0.05
    assert not is_called.any() or estimates.precision_bounds[0] < 0.1
    accuracy = np.mean(posteriors.argmax(axis=1) == labels)
    assert accuracy - 0.01 < estimates.least_accuracy < accuracy + 0.1
    assert "may know the class of only" in said or "do not rely" in said


def test_hopeless_model_bounds_nothing_from_below():
    estimates, said, _ = stated(*weak_case(0))
    assert "do not rely on any of these numbers" in said
    assert estimates.precision_bounds[0] == 0


@pytest.mark.parametrize(
    ("of_sure", "of_all", "words"),
    [
        (0.7, 0.6, "disagrees with 70 % even of the labels that it is surest about"),
        (0.3, 0.6, "surest about, 60 % of all would be wrong"),
    ],
)
def test_hopeless_model_names_the_labels_of_which_most_are_wrong(
    of_sure, of_all, words
):
    truth, probabilities = weak_case(0)
    predictions = from_probabilities(truth, probabilities)
    judgment = judge(predictions)._replace(
        share_of_sure=of_sure, right_by_class=np.full(len(truth), 1 - of_all)
    )
    nothing = np.zeros(len(truth), bool)
    estimates = estimate(judgment, truth, nothing, True)
    said = doubts(judgment, predictions, nothing, estimates, ["a"] * 6, True)
    assert words in said[0]


def test_predicted_classes_in_place_of_probabilities_bound_nothing_from_below():
    truth, labels, probabilities = strong_case()
    certain = np.eye(5)[probabilities.argmax(axis=1)]
    estimates, said, _ = stated(labels, certain)
    assert "nothing says how many of them are wrong" in said
    assert estimates.precision_bounds[0] == estimates.noise_rate_bounds[0] == 0


@pytest.mark.parametrize("rows", [np.full((60, 3), 1 / 3), np.eye(3)[[0, 1, 1] * 20]])
def test_predictions_that_are_all_alike_or_certain_are_the_one_doubt(rows):
    _, said, _ = stated([0, 1, 2] * 20, rows)
    assert said.startswith("All ")
    assert "surest" not in said and "wavers" not in said


def test_model_that_agrees_with_all_labels_that_it_saw_may_have_learned_them():
    _, labels, _ = strong_case()
    probabilities = np.full((len(labels), 5), 0.01)
    probabilities[np.arange(len(labels)), labels] = 0.96
    estimates, said, _ = stated(labels, probabilities, is_out_of_sample=False)
    assert estimates.noise_rate_bounds == (0, 1)
    assert "learned the wrong ones by heart" in said and "--folds=5" in said
    assert "by heart" not in stated(labels, probabilities)[1]


@pytest.mark.parametrize(
    ("num_examples", "sharpness", "may_have"),
    [(1000, 1, True), (4000, 0.2, False), (4000, 1, True)],
    ids=["few", "many", "many without any wavering"],
)
def test_labels_that_may_have_been_learned_are_bounded_by_the_nearest_inputs_too(
    num_examples, sharpness, may_have
):
    truth, labels, probabilities = strong_case(num_examples=num_examples, rate=0.2)
    powers = probabilities**sharpness
    predictions = from_probabilities(labels, powers / powers.sum(axis=1, keepdims=True))
    judgment = judge(predictions)
    is_called = called_issues(judgment, labels)
    rest = judgment, predictions, is_called
    # What the nearest inputs tell is poor, and out of sample.
    votes = 0.7 * np.eye(5)[np.roll(truth, 1) * (np.arange(len(truth)) % 2)] + 0.06
    by_inputs = judge(from_probabilities(labels, votes))
    for out_of_sample in (False, True):
        plain = estimate(judgment, labels, is_called, out_of_sample)
        spanned = estimate(judgment, labels, is_called, out_of_sample, by_inputs)
        is_wider = may_have and not out_of_sample
        assert (spanned != plain) == is_wider
        for name in ("noise_rate_bounds", "precision_bounds"):
            (low, high), others = getattr(spanned, name), getattr(plain, name)
            assert low <= others[0] and others[1] <= high
        for estimates, words in (
            (plain, "it may have learned wrong ones by heart"),
            (spanned, "By those of the nearest inputs between"),
        ):
            said = " ".join(
                doubts(*rest, estimates, ["a", "b", "c", "d", "e"], out_of_sample)
            )
            assert (words in said) == is_wider


def test_nearest_inputs_that_know_the_classes_bound_wrong_labels_from_below():
    # The network has learned nearly all labels; the nearest inputs tell the truth.
    truth, labels, probabilities = strong_case(num_examples=1000)
    learned = np.full((len(labels), 5), 0.01)
    learned[np.arange(len(labels)), labels] = 0.96
    judgment = judge(from_probabilities(labels, learned))
    by_inputs = judge(from_probabilities(labels, probabilities))
    is_called = np.zeros(len(labels), bool)
    estimates = estimate(judgment, labels, is_called, False, by_inputs)
    low, high = estimates.noise_rate_bounds
    assert 0.1 < low <= np.mean(labels != truth) <= high < 0.3


def test_right_labels_of_hard_examples_are_doubted_wherever_they_are_called():
    # All labels are right; a model that is mostly sure errs where it wavers.
    truth, probabilities = weak_case(5)
    estimates, said, is_called = stated(truth, probabilities)
    assert is_called.any()
    assert estimates.precision_bounds[0] < 0.05
    assert estimates.noise_rate_bounds[0] == 0
    assert "right ones of examples that are hard. The data cannot say which" in said
    assert "--folds=5" not in said  # They are out of sample already.


def test_model_that_saw_the_labels_is_advised_to_take_folds():
    estimates, said, _ = stated(*weak_case(5), is_out_of_sample=False)
    assert "--folds=5" in said and estimates.precision_bounds[1] == 1


@pytest.mark.parametrize(
    ("labels", "probabilities", "words"),
    [
        ([0, 1, 0, 1], np.full((4, 2), 0.5), "equally probable in all predictions"),
        ([0, 1, 0, 1], np.eye(2)[[0, 1, 1, 1]], "zeros and ones"),
        ([0, 1, 0, 1], np.eye(4)[[0, 1, 0, 1]], "labeled class 2, class 3: nothing"),
        ([0, 0, 0, 0], np.eye(6)[[0] * 4], "class 3 and 2 more: nothing"),
        (
            [0] * 60 + [1] * 40,
            [[0.9, 0.1]] * 40 + [[0.1, 0.9]] * 60,
            "All labels that are called are class 0",
        ),
    ],
    ids=["all equal", "one-hot", "absent", "many absent", "one class called"],
)
def test_input_that_says_little_is_named(labels, probabilities, words):
    assert words in stated(labels, probabilities)[1]
