"""Mixtures of rows, and the weights that steps of training draw them by."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_ncr.pipelines.mixture import Mixture, likely_owner_weights


def test_mixture_weighs_owner_and_partner():
    mix = Mixture(tf.constant(0.75), tf.constant([1, 2, 0]))
    np.testing.assert_allclose(mix.rows(np.array([0, 4, 8], "uint8")), [1, 5, 6])
    np.testing.assert_array_equal(mix.of_partners(np.array([5, 6, 7])), [6, 7, 5])


def test_rows_may_be_mixed_with_those_of_a_larger_pool():
    mix = Mixture(tf.constant([0.5, 0.75]), tf.constant([2, 0]))
    rows, pool = np.array([[1.0], [2.0]]), np.array([[6.0], [7.0], [8.0]])
    np.testing.assert_allclose(mix.rows(rows, pool), [[4.5], [3.0]])


def test_a_weight_of_one_changes_no_bit():
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    mix = Mixture(tf.constant(1.0), tf.range(49, -1, -1))
    np.testing.assert_array_equal(mix.rows(rows), rows)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 4.0])
def test_weights_are_the_quantiles_of_the_larger_part_of_a_beta_number(alpha):
    weights = likely_owner_weights(alpha, 50)
    assert weights.min() >= 0.5 and weights.max() <= 1
    assert np.all(np.diff(weights) >= 0)
    # P(max(u, 1 - u) <= weight) = 2 P(u <= weight) - 1, where float32 can tell.
    known = weights < 0.9999
    levels = 2 * scipy.stats.beta.cdf(weights[known].astype(float), alpha, alpha) - 1
    expected = ((np.arange(50) + 0.5) / 50)[known]
    np.testing.assert_allclose(levels, expected, atol=1e-3)


def test_weights_have_the_mean_of_the_distribution():
    # E max(u, 1 - u) for Beta(4, 4) is 0.5 + 35 / 256.
    mean = likely_owner_weights(4.0).mean()
    assert mean == pytest.approx(0.5 + 35 / 256, abs=1e-5)
