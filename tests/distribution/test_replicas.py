"""What replicas tell each other: their parts of a batch, and means over all of it."""

import numpy as np
import pytest
import tensorflow as tf
from replica_runs import on_replicas, split

from keras_ncr.distribution import replicas


@pytest.mark.parametrize("sizes", [(4, 4), (1, 4), (0, 3)])
def test_shares_of_the_global_mean_add_up_and_so_do_their_gradients(
    two_replicas, sizes
):
    weight = tf.Variable(2.0)
    values = np.arange(1.0, sum(sizes) + 1, dtype="float32")

    def share_and_gradient(local):
        with tf.GradientTape() as tape:
            share = replicas.global_mean(weight * local)
        return share, tape.gradient(share, weight)

    parts = split(values, sizes)
    shares, gradients = on_replicas(two_replicas, share_and_gradient)(parts)
    np.testing.assert_allclose(sum(shares), 2 * np.mean(values), rtol=1e-6)
    np.testing.assert_allclose(sum(gradients), np.mean(values), rtol=1e-6)


def test_the_global_mean_of_one_device_is_the_mean():
    np.testing.assert_allclose(replicas.global_mean(tf.constant([1.0, 2.0, 6.0])), 3)


def test_a_replica_knows_its_place_in_the_global_batch(two_replicas):
    def place(local):
        return replicas.first_of_replica(local), replicas.gather_replicas(local)

    rows = np.arange(10.0).reshape(5, 2)
    first, gathered = on_replicas(two_replicas, place)(split(rows, (2, 3)))
    assert first == [0, 2]
    for of_one in gathered:
        np.testing.assert_array_equal(of_one, rows)


def test_other_replicas_are_seen_only_where_there_are_some(two_replicas):
    def has_other_replicas():
        return tf.constant(replicas.has_other_replicas())

    assert on_replicas(two_replicas, has_other_replicas)() == [True, True]
    assert not replicas.has_other_replicas()
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    assert not strategy.run(has_other_replicas)
    with two_replicas.scope():
        assert not replicas.has_other_replicas()
