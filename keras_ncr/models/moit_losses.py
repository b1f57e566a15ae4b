"""What MOIT knows of the mixtures of a batch, and the losses that it makes of it."""

from typing import NamedTuple

import tensorflow as tf

from keras_ncr.losses.interpolated_contrast import Embedded


class Side(NamedTuple):
    """What is known of the owners of mixtures, or of their partners: `(rows,)` each."""

    labels: tf.Tensor
    is_clean: tf.Tensor  # 1 where the label is taken for right, else 0
    predictions: tf.Tensor  # (rows, num_classes): probabilities for the plain view
    examples: tf.Tensor  # numbers in the batch

    def take(self, rows):
        """Returns what is known of some examples, by their rows."""
        return Side(*(tf.gather(part, rows) for part in self))


class Mixed(NamedTuple):
    """The mixtures of a batch: those of its first views, and then of its second."""

    owners: Side
    partners: Side
    owner_weights: tf.Tensor
    views: tf.Tensor


def remembered(memory, batch):
    """Returns memory and batch in one, and which rows of it are there."""
    # The batch stands behind the past, of which its rows displace the oldest.
    vectors, labels = (tf.convert_to_tensor(memory.vectors), memory.labels[:, 0])
    none = tf.fill([memory.size], -1)
    past = Embedded(vectors, tf.cast(labels, "int32"), none, none)
    batch = batch._replace(vectors=tf.stop_gradient(batch.vectors))
    num_new = tf.shape(batch.vectors)[0]
    stays = memory.is_filled() & (tf.range(memory.size) >= num_new)
    both = [
        tf.concat([one, tf.cast(other, one.dtype)], axis=0)
        for one, other in zip(past, batch, strict=True)
    ]
    return Embedded(*both), tf.concat([stays, tf.fill([num_new], True)], axis=0)


def classification_losses(logits, mixed):
    """Returns MOIT's classification loss of mixtures, `(rows,)`."""
    # As the authors have it, a clean owner's noisy partner counts with its label and
    # with its prediction, and a noisy owner's clean partner with neither.
    share, owners, partners = mixed.owner_weights, mixed.owners, mixed.partners
    of_labels = share * of_label(owners.labels, logits)
    of_labels += (1 - share) * of_label(partners.labels, logits)
    of_predictions = [
        weight
        * (1 - side.is_clean)
        * tf.nn.softmax_cross_entropy_with_logits(side.predictions, logits)
        for weight, side in ((share, owners), (1 - share, partners))
    ]
    return owners.is_clean * of_labels + sum(of_predictions)


def clean_losses(logits, mixed, bootstrap):
    """Returns MOIT+'s loss of mixtures, 0 for owners that are not clean, `(rows,)`."""
    losses = [
        weight
        * (
            (1 - bootstrap) * of_label(side.labels, logits)
            + bootstrap * of_label(tf.argmax(side.predictions, axis=1), logits)
        )
        for weight, side in (
            (mixed.owner_weights, mixed.owners),
            (1 - mixed.owner_weights, mixed.partners),
        )
    ]
    return mixed.owners.is_clean * sum(losses)


def of_label(labels, logits):
    """Returns cross-entropy with labels that are ints, `(rows,)`."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
