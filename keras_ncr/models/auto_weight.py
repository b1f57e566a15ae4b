"""Alpha that sets itself, by how much of the labels is learned by heart."""

import keras
import tensorflow as tf

from keras_ncr.checks import check_known, check_rate
from keras_ncr.distribution import replicas
from keras_ncr.distribution.targets import label_of
from keras_ncr.losses.consistency import Settings, neighbor_predictions
from keras_ncr.losses.labels import label_distributions
from keras_ncr.models.example_memory import ExampleMemory, index_of
from keras_ncr.models.unlabeled import without_labels

# The word for it, in place of a number.
AUTO = "auto"

# Chosen on held-out noisy labels: `docs/ablation.md`. The share of the examples whose
# labels train nothing; how many epochs are looked back on, and how many examples held
# out at least.
HELD_OUT_SHARE, WINDOW, FEWEST_HELD_OUT = 0.05, 0.5, 150
# Alpha at first; the part of an agreement that is let pass, what a part more adds to
# alpha at once, and what it adds in each epoch that it lasts.
FIRST, TOLERANCE, GAIN, GAIN_PER_EPOCH = 0.3, 0.06, 2.0, 0.5
LARGEST = 0.6  # More cost up to 18 points where it was tried, for two at the most.


@keras.saving.register_keras_serializable(package="keras_ncr")
class AutoWeight(keras.layers.Layer):
    """Layer that sets the weight of consistency by what is learned by heart.

    On each training batch, before its step, the layer counts how often the most
    probable class is the given label:

    - `own`: of the examples that are trained on;
    - `near`: of the same, by the mean prediction of their neighbors;
    - `unseen` and `unseen_near`: both of a few examples, 5 %, whose labels train
      nothing.

    The counts are running sums over the last half of an epoch, or more if fewer than
    150 examples would be held out in it. A model that learns labels by heart agrees
    with more of those that it is trained on than of others, and than its neighbors do:
    there alpha rises. Neighbors that know less than the example itself, as in features
    that are not learned, do harm: there alpha falls.

        error = the standard error of `unseen`
        learned = max(own - unseen - error, own - near - max(unseen - unseen_near, 0))
        lacking = unseen - unseen_near - error
        excess = max(learned / own - 0.06, 0) - max(lacking / own - 0.06, 0)
        lasting = min(max(lasting + 0.5 * excess * batch / num_examples, 0), 0.6)
        alpha = min(max(lasting + 2 * excess, 0), 0.6)

    `excess` is 0 in the first epoch. `lasting` is 0.3 at first, since labels of few
    examples are learned before anything can be counted. It holds alpha where it is once
    nothing more is learned by heart. Which examples are held out is drawn once, by
    their numbers; they take part in consistency, as examples without a label do.

    Args:
        num_examples: Int, or `None` if it is to be told to `reserve` later. Defaults
            to `None`.
        settings: What neighbors are, as `NeighborConsistencyLoss.settings` has it.
            Defaults to its defaults.
        **kwargs: As in `keras.layers.Layer`.

    Call arguments:
        features: Tensor of shape `(batch, dim)`.
        logits: Tensor of shape `(batch, num_classes)`.
        y: The batch's targets, a dict with the keys `"label"` and `"index"`.

    Returns:
        Float32 scalar, alpha; the sums have counted the batch by then.

    Raises:
        ValueError: If targets do not say which examples they are of, or the number of
            the examples is not known.

    Example:
    A model that agrees with labels drawn at random has learned them by heart.

    >>> from keras_ncr.models import AutoWeight
    >>> random = np.random.default_rng(0)
    >>> labels = random.integers(0, 4, 100)
    >>> features = random.uniform(size=(100, 8)).astype("float32")
    >>> y = {"label": labels, "index": np.arange(100)}
    >>> layer = AutoWeight(num_examples=100)
    >>> learned = layer.trained(y)["label"]  # Without those held out, which are -1.
    >>> logits = 5.0 * np.eye(4, dtype="float32")[learned]
    >>> bool(layer(features, logits, y) > 0.5)  # After one epoch, of one batch.
    True
    """

    def __init__(self, num_examples=None, settings=None, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"}, autocast=False)
        self.settings = settings or Settings()
        uniform = keras.initializers.RandomUniform(0.0, 1.0, seed=0)
        # An example is held out if its number drawn is below the share.
        self.draws = ExampleMemory(1, num_examples, uniform, name="draws")

        first = keras.initializers.Constant(FIRST)
        # Hits, neighbors' hits and examples: of those trained, and of those held out.
        self.sums = replicas.add_state(self, "sums", [6])
        self.num_seen = replicas.add_state(self, "num_seen", [])
        self.lasting = replicas.add_state(self, "lasting", [], first)
        self.alpha = replicas.add_state(self, "alpha", [], first)
        self.built = True

    def is_held_out(self, y):
        """Returns which rows' labels train nothing: bools `(batch,)`."""
        return self.draws(index_of(y))[:, 0] < HELD_OUT_SHARE

    def trained(self, y):
        """Returns targets with -1, for no label, where examples are held out."""
        return without_labels(y, self.is_held_out(y))

    def call(self, features, logits, y):
        features, logits = map(tf.stop_gradient, (features, logits))
        labels = tf.cast(tf.convert_to_tensor(label_of(y)), "float32")
        labels = label_distributions(labels, logits)
        is_label = tf.reduce_all(labels >= 0, axis=1)  # Not so for -1, or NaN.
        classes = tf.argmax(labels, axis=1)
        neighbors = neighbor_predictions(features, logits, self.settings)
        is_held_out = self.is_held_out(y)

        def count(*conditions):
            is_so = tf.reduce_all(tf.stack(conditions), axis=0)
            return tf.reduce_sum(tf.cast(is_so, "float32"))

        is_hit = tf.argmax(logits, axis=1) == classes
        is_hit_of_neighbors = tf.argmax(neighbors, axis=1) == classes
        is_trained, is_held_out = is_label & ~is_held_out, is_label & is_held_out
        counts = [
            count(is_trained, is_hit),
            count(is_trained, is_hit_of_neighbors),
            count(is_trained),
            count(is_held_out, is_hit),
            count(is_held_out, is_hit_of_neighbors),
            count(is_held_out),
            tf.cast(tf.shape(classes)[0], "float32"),
        ]
        *counts, size = tf.unstack(replicas.global_sum(tf.stack(counts)))
        num_examples = self.draws.num_examples
        epochs = size / num_examples
        decay = tf.exp(-epochs / window_of(num_examples))
        self.sums.assign(decay * self.sums + (1 - decay) * tf.stack(counts))
        self.num_seen.assign(self.num_seen + epochs)
        # A hair less, since fractions are added up.
        is_due = tf.cast(self.num_seen > 0.999, "float32")
        excess = is_due * excess_of(tf.convert_to_tensor(self.sums), num_examples)
        lasting = self.lasting + GAIN_PER_EPOCH * epochs * excess
        self.lasting.assign(tf.clip_by_value(lasting, 0.0, LARGEST))
        alpha = self.lasting + GAIN * excess
        self.alpha.assign(tf.clip_by_value(alpha, 0.0, LARGEST))
        return tf.convert_to_tensor(self.alpha)

    def get_config(self):
        return {
            **super().get_config(),
            "num_examples": self.draws.num_examples,
            "settings": list(self.settings),
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "settings": Settings(*config["settings"])})


def window_of(num_examples):
    """Returns how many epochs are looked back on."""
    return max(WINDOW, FEWEST_HELD_OUT / (HELD_OUT_SHARE * num_examples))


def excess_of(sums, num_examples):
    """Returns what is learned by heart less what neighbors lack, beyond a margin."""
    *trained, num_trained, held_one, held_near, num_held_out = tf.unstack(sums)
    own, near = (tf.math.divide_no_nan(hits, num_trained) for hits in trained)
    unseen = tf.math.divide_no_nan(held_one, num_held_out)
    unseen_near = tf.math.divide_no_nan(held_near, num_held_out)
    error = tf.sqrt(unseen * (1 - unseen) / (HELD_OUT_SHARE * num_examples))
    learned = tf.maximum(
        own - unseen - error, own - near - tf.maximum(unseen - unseen_near, 0)
    )
    lacking = unseen - unseen_near - error

    def beyond_margin(part):
        return tf.maximum(tf.math.divide_no_nan(part, own) - TOLERANCE, 0)

    return beyond_margin(learned) - beyond_margin(lacking)


def number_or_auto(value, name, words):
    """Returns a number in [0, 1], or "auto"; or raises."""
    if isinstance(value, str):
        return check_known(value, [AUTO], name, f" or {words}")
    return check_rate(value, name)


def checked_weight(weight, takes_unlabeled, model):
    """Returns a number in [0, 1], or "auto" where a model can do so; or raises."""
    weight = number_or_auto(weight, "consistency_weight", "a number from 0 to 1")
    if weight == AUTO and not takes_unlabeled:
        raise ValueError(
            f"`consistency_weight` must be a number from 0 to 1 for {model}. Received: "
            f"{weight!r}, which keras_ncr.NCRModel and keras_ncr.ELRModel take."
        )
    return weight
