"""What label noise accepts: class numbers, rates, integers."""

import unicodedata

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

from keras_ncr.checks import (
    brief,
    check_bool,
    check_integer,
    check_known,
    check_labels,
    check_rate,
    check_spellings,
    plain_arguments,
)


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        (2.0, 0.0, 1.0),
        np.array([2, 0, 1], np.uint8),
        np.array([2, 0, 1], np.float32),
        tf.constant([2, 0, 1]),
        np.array([2, False, 1.0], object),
        pd.array([2, 0, 1], dtype="Int64"),
        pd.Series([2, 0, 1], dtype="Int64", index=[5, 6, 7]),
    ],
)
def test_labels_become_int64(labels):
    checked = check_labels(labels, num_classes=3)
    assert checked.dtype == np.int64
    assert checked.tolist() == [2, 0, 1]


def test_yes_or_no_is_class_1_or_0():
    assert check_labels([True, False]).tolist() == [1, 0]


@pytest.mark.parametrize("value", ["no", 1, None])
def test_a_word_is_no_choice_between_true_and_false(value):
    with pytest.raises(ValueError, match="`exact` must be True or False. Received"):
        check_bool(value, "exact")


def test_labels_are_copied():
    labels = np.array([0, 1])
    check_labels(labels)[:] = 5
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    "labels, message",
    [
        ([], "at least one label"),
        (3, r"shape \(n,\).*Received: shape \(\)"),
        ([[0, 1], [1, 0]], r"argmax\(labels, axis=-1\)"),
        ([[0], [1]], r"np.squeeze\(labels, axis=-1\)"),
        ([0.0, float("nan")], "whole class numbers. Received: nan at position 1"),
        ([0.0, float("inf")], "whole class numbers. Received: inf at position 1"),
        ([0.5, 1.0], "whole class numbers. Received: 0.5 at position 0"),
        ([0, -1], "0 or more. Received: -1 at position 1"),
        ([0, 3, 4], "below 3. Received: 3 at position 1"),
        (["cat", "dog"], "return_inverse"),
        ([0, None], "integers"),
        (pd.array([0, None], dtype="Int64"), "whole class numbers. Received: nan at"),
        ([[0], [1, 2]], "lists of different lengths"),
        (pd.Series([["cat"], ["dog"]]), r"Received: \['cat'\] at position 0"),
        ([0.5, 1.5, 2.25], "fractions in most rows.*pandas.qcut"),
        (scipy.sparse.csr_matrix(np.eye(3)), r"dense.*csr_matrix.*toarray\(\)"),
    ],
)
def test_wrong_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=f"`truth` must .*{message}"):
        check_labels(labels, num_classes=3, name="truth")


@pytest.mark.parametrize("rate", [0, 1, 0.4, np.float32(0.5), np.int64(1)])
def test_rates_become_floats(rate):
    assert check_rate(rate) == rate
    assert type(check_rate(rate)) is float


@pytest.mark.parametrize("rate", [-1e-9, 1.1, float("nan"), float("inf"), "0.4", True])
def test_other_rates_are_refused(rate):
    with pytest.raises(
        ValueError, match="`rate` must be a number from 0 to 1. Received"
    ):
        check_rate(rate)


@pytest.mark.parametrize("value", [2, np.int32(2), np.uint8(2)])
def test_integers_become_int(value):
    assert type(check_integer(value, "size", minimum=2)) is int


@pytest.mark.parametrize("value", [1, 2.0, "2", None, True, np.array([2])])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match="`size` must be an integer of at least 2"):
        check_integer(value, "size", minimum=2)


CAFE = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (CAFE, r"'caf\\xe9' and 'cafe\\u0301', which look alike"),
        (["Cat", "dog", "cat"], "'Cat' and 'cat', which differ only in spelling"),
        (["1", "1.0"], "'1' and '1.0'"),
        (["two  words", "two words"], "spaces"),
    ],
)
def test_one_name_in_two_spellings_is_refused(names, message):
    with pytest.raises(ValueError, match=message):
        check_spellings(names, "Classes")


@pytest.mark.parametrize(
    "names", [["1", "01"], ["a", "A"], ["1.0", "1.5"], ["cat", "cats"], ["e", "é"]]
)
def test_names_that_differ_are_classes(names):
    check_spellings(names, "Classes")


def test_choice_in_another_unicode_form_is_told_from_what_looks_alike():
    with pytest.raises(ValueError, match="alike .* in another Unicode form .*NFC"):
        check_known(CAFE[0], [CAFE[1], "tea"], "class folder")


@pytest.mark.parametrize(
    ("value", "text"),
    [("cat", "'cat'"), (np.float32(0.5), "0.5"), (b"x" * 1000, "(bytes)")],
)
def test_message_holds_any_value(value, text):
    assert brief(value).endswith(text) and len(brief(value)) < 100


class Base:
    def __init__(self, scale=1.0):
        self.scale = scale


class Derived(Base):
    def __init__(self, weight, name=None, layer=None, scale=2.0):
        super().__init__(scale)
        self.weight, self.name, self.layer = weight, name, layer


def test_plain_arguments_come_in_the_order_of_the_signature():
    arguments = plain_arguments(Derived(3, layer=[]), Base)
    assert list(arguments.items()) == [("weight", 3), ("name", None), ("scale", 2.0)]
