"""A linear classifier whose logits are noisy, with noise that depends on the input."""

import random

import keras
import tensorflow as tf
from keras import layers

from keras_ncr.checks import check_integer, check_positive
from keras_ncr.distribution import replicas

# The least standard deviation of a logit, as in the released code.
SMALLEST_DEVIATION = 1e-3

# The logarithm of the weight of samples that only fill up a chunk.
NO_WEIGHT = -1e30


@keras.saving.register_keras_serializable(package="keras_ncr")
class HeteroscedasticClassifier(layers.Layer):
    """Returns the log probabilities of a linear classifier with noisy logits.

    The noise is Gaussian, and its covariance, of low rank plus a diagonal, is a linear
    function of the features, so that the model can say where labels are unsure, and
    which classes are mixed up:

        logits = W h + b + V(h) e + d(h) * e',   e, e' standard normal
        p = mean over samples of softmax(logits / temperature)

    with `V` of shape `(num_classes, rank)`. It returns `log(p)`: these are logits whose
    softmax is `p`, so that any loss on logits takes them. Value and gradient are those
    of the sampled mean, computed from logarithms. Memory grows as
    `samples_at_once * batch * num_classes`; the gradient draws the samples again.

    All examples of a batch share the samples, as in the authors' code for ImageNet: a
    prediction does not depend on the batch or the replica it is in. Training draws
    other samples in each step, from `seed` and the number of steps, which is saved with
    the model. Otherwise the samples are always the same ones, and predictions repeat.

    It differs from the authors' code in that: they draw samples for each example on
    CIFAR, and anew in evaluation; their `p` is clipped to [1e-7, 1], which stops the
    gradient below; with many classes they save parameters by `V = U * (W' h)`.

    Args:
        num_classes: Int, at least 2.
        rank: Int, at least 1: directions of the noise that classes share. Defaults to
            6, the authors' for CIFAR; they have 15 for ImageNet.
        temperature: Positive float. Defaults to 1.3, theirs for CIFAR; for ImageNet
            they have 1.5.
        num_samples: Int, at least 1. Defaults to 1,000: a mean of 10,000, which they
            take for CIFAR, has a third of its error at ten times the time.
        samples_at_once: Int, at least 1. Defaults to 100.
        seed: Int, or `None` for one that Keras' global seed decides. Defaults to
            `None`.
        dtype: As in `keras.layers.Layer`. Defaults to `"float32"`.
        **kwargs: As in `keras.layers.Layer`.

    Call arguments:
        features: Float tensor of shape `(batch, dim)`.
        training: Bool. Whether to draw other samples than last time. Defaults to that
            of the model that calls the layer, else to `False`.

    Returns:
        Float32 tensor of shape `(batch, num_classes)`: log probabilities.

    Raises:
        ValueError: If an argument is out of its range.

    Reference:
        - [Collier et al., 2021](https://arxiv.org/abs/2105.10305)

    Example:
    >>> classifier = keras_ncr.backbones.HeteroscedasticClassifier(3, seed=0)
    >>> log_probabilities = classifier(np.ones((2, 4)))
    >>> tf.reduce_sum(tf.exp(log_probabilities), axis=1).numpy().round(4)
    array([1., 1.], dtype=float32)
    """

    def __init__(
        self,
        num_classes: int,
        rank: int = 6,
        temperature: float = 1.3,
        num_samples: int = 1000,
        samples_at_once: int = 100,
        seed: int | None = None,
        dtype="float32",
        **kwargs,
    ):
        super().__init__(dtype=dtype, **kwargs)
        self.num_classes = check_integer(num_classes, "num_classes", minimum=2)
        self.rank = check_integer(rank, "rank", minimum=1)
        self.temperature = check_positive(temperature, "temperature")
        self.num_samples = check_integer(num_samples, "num_samples", minimum=1)
        self.samples_at_once = check_integer(
            samples_at_once, "samples_at_once", minimum=1
        )
        if seed is None:
            seed = random.randrange(2**31)
        self.seed = check_integer(seed, "seed", minimum=0)
        self.location = layers.Dense(self.num_classes, dtype=dtype, name="location")
        self.factors = layers.Dense(
            self.num_classes * self.rank, dtype=dtype, name="factors"
        )
        self.deviations = layers.Dense(
            self.num_classes, activation="softplus", dtype=dtype, name="deviations"
        )

    def build(self, input_shape):
        self.input_spec = layers.InputSpec(ndim=2, axes={-1: input_shape[-1]})
        for layer in (self.location, self.factors, self.deviations):
            layer.build(input_shape)
        self.num_draws = replicas.add_state(self, "num_draws", (), dtype="int32")

    def call(self, features, training=None):
        draw = tf.constant(-1)
        if training:
            draw = tf.convert_to_tensor(self.num_draws.value)
            self.num_draws.assign(draw + 1)
        factors = tf.reshape(self.factors(features), [-1, self.num_classes, self.rank])
        return log_mean_softmax(
            self.location(features) / self.temperature,
            factors / self.temperature,
            (self.deviations(features) + SMALLEST_DEVIATION) / self.temperature,
            lambda chunk: self.samples(draw, chunk),
            self.num_chunks,
        )

    @property
    def num_chunks(self):
        """How many times `samples` are drawn for one mean."""
        return -(-self.num_samples // self.samples_at_once)

    def samples(self, draw, chunk):
        """Returns the noise of a chunk of samples, and the logarithms of their weights.

        Chunks have one size, which XLA wants to know; the last may be filled up.
        """
        size = -(-self.num_samples // self.num_chunks)
        seed = tf.random.experimental.stateless_fold_in(
            tf.stack([self.seed, draw]), chunk, alg="philox"
        )
        shape = [size, self.rank + self.num_classes]
        noise = standard_normal(shape, seed, self.compute_dtype)
        is_sample = chunk * size + tf.range(size) < self.num_samples
        weight = -tf.math.log(tf.cast(self.num_samples, noise.dtype))
        weights = tf.where(is_sample, weight, tf.cast(NO_WEIGHT, noise.dtype))
        return noise[:, : self.rank], noise[:, self.rank :], weights

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_classes)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "rank": self.rank,
            "temperature": self.temperature,
            "num_samples": self.num_samples,
            "samples_at_once": self.samples_at_once,
            "seed": self.seed,
        }


def standard_normal(shape, seed, dtype):
    """Returns normal noise; TensorFlow's own has other values under XLA."""
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype="uint32", alg="philox"
    )
    uniform = tf.cast(tf.bitwise.right_shift(bits, tf.constant(9, "uint32")), dtype)
    return 2.0**0.5 * tf.math.erfinv((2.0 * uniform + 1.0) / 2.0**23 - 1.0)


def log_mean_softmax(location, factors, deviations, samples, num_chunks):
    """Returns the logarithm of the mean softmax of noisy logits, chunk by chunk."""
    # `samples(chunk)` returns noise, `(samples, rank)` and `(samples, num_classes)`,
    # and the logarithms of the samples' weights.

    @tf.custom_gradient
    def log_mean(location, factors, deviations):
        def log_softmaxes(chunk):
            """Returns those of noisy logits, `(samples, batch, num_classes)`."""
            shared, own, log_weights = samples(chunk)
            noise = tf.einsum("bcr,sr->sbc", factors, shared)
            noise += deviations * own[:, None]
            logs = tf.nn.log_softmax(location + noise)
            return logs, logs + log_weights[:, None, None], shared, own

        def add(chunk, total):
            _, weighted, *_ = log_softmaxes(chunk)
            summed = tf.reduce_logsumexp(weighted, axis=0)
            largest, least = tf.maximum(total, summed), tf.minimum(total, summed)
            return chunk + 1, largest + tf.math.log1p(tf.exp(least - largest))

        nothing = tf.fill(tf.shape(location), tf.cast(NO_WEIGHT, location.dtype))
        (result,) = over_chunks(add, [nothing], num_chunks)

        def gradient(upstream):
            def add(chunk, *totals):
                logs, weighted, shared, own = log_softmaxes(chunk)
                shares = upstream * tf.exp(weighted - result)
                pull = tf.reduce_sum(shares, axis=2, keepdims=True)
                to_logits = shares - tf.exp(logs) * pull
                parts = (
                    tf.reduce_sum(to_logits, axis=0),
                    tf.einsum("sbc,sr->bcr", to_logits, shared),
                    tf.reduce_sum(to_logits * own[:, None], axis=0),
                )
                return chunk + 1, *map(tf.add, totals, parts)

            totals = [tf.zeros_like(x) for x in (location, factors, deviations)]
            return over_chunks(add, totals, num_chunks)

        return result, gradient

    return log_mean(location, factors, deviations)


def over_chunks(add, totals, num_chunks):
    """Returns the totals after all chunks, of which one is in memory at a time."""
    return tf.while_loop(
        lambda chunk, *totals: chunk < num_chunks,
        add,
        [tf.constant(0), *totals],
        parallel_iterations=1,
    )[1:]
