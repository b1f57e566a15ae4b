"""Weighted means of predictions, and divergences from them, computed from logarithms.

The gradients are written out since they are far shorter than their parts. A softmax
takes out of its gradient what all classes have in common, so that is left out here.
"""

import tensorflow as tf

# The logarithm of probability 0, as of a class that a logit of -inf rules out.
LOWEST = -1e30

# Sums of probabilities below this are too small to divide by in float32. In the
# direction that divides by none a sum may be as small as float32 has numbers.
SMALLEST, SMALLEST_NUMBER = 1e-30, 1e-37

# Such sums are added up once more on a lower scale, times `exp(scale)`, from one scale
# to the next at least `STEP` lower: of the 60 nats that a scale reaches down, 14 are
# for the least weight, 1e-6. On none of them a term is above `exp(HIGHEST)`.
SMALLEST_ON_SCALE, STEP, HIGHEST, MOST_SCALES = 1e-26, 46.0, 10.0, 200

# But only where that may change the loss by more than this, in nats.
NEGLIGIBLE = 1e-9


@tf.custom_gradient
def log_softmax(logits):
    """Returns the logarithms of a softmax, `LOWEST` at the least."""
    log_predictions = tf.maximum(tf.nn.log_softmax(logits), LOWEST)

    def gradient(upstream):
        total = tf.reduce_sum(upstream, axis=1, keepdims=True)
        return upstream - tf.exp(log_predictions) * total

    return log_predictions, gradient


def self_to_neighbors(weights, pool, log_own):
    """Returns KL(own || q), with q the neighbors' weighted mean: eq. 3 as printed."""

    @tf.custom_gradient
    def divergence(log_targets, log_own):
        own = tf.exp(log_own)
        terms = own * (log_own - log_targets)

        def gradient(upstream):
            return -upstream[:, None] * own, upstream[:, None] * terms

        return tf.nn.relu(tf.reduce_sum(terms, axis=1)), gradient

    relevance = tf.stop_gradient(tf.exp(log_own))
    return divergence(log_mean(weights, pool, relevance), log_own)


def neighbors_to_self(weights, pool, log_own):
    """Returns KL(q || own), the direction of the authors' released code."""

    @tf.custom_gradient
    def divergence(log_targets, log_own):
        targets = tf.exp(log_targets)
        terms = targets * (log_targets - log_own)

        def gradient(upstream):
            return upstream[:, None] * terms, -upstream[:, None] * targets

        return tf.nn.relu(tf.reduce_sum(terms, axis=1)), gradient

    return divergence(log_mean(weights, pool), log_own)


DIVERGENCES = {
    "self_to_neighbors": self_to_neighbors,
    "neighbors_to_self": neighbors_to_self,
}


def log_mean(weights, pool, relevance=None):
    """Returns log q, with q the weighted mean prediction, `(batch, num_classes)`."""
    # What is too small for float32 counts as `SMALLEST_NUMBER`, unless `relevance`, of
    # the shape of q, says how much each logarithm matters: then those that do are
    # exact.
    past = pool.past_log_predictions
    smallest = SMALLEST_NUMBER if relevance is None else SMALLEST

    @tf.custom_gradient
    def mean(weights, log_batch):
        log_pool = log_batch if past is None else tf.concat([log_batch, past], axis=0)
        predictions = tf.exp(log_pool)
        sums = tf.matmul(weights, predictions)
        # Predictions add up to 1, and so this is the sum of the weights.
        total = tf.reduce_sum(sums, axis=1, keepdims=True)
        sums = tf.maximum(sums, smallest)
        log_sums, is_missing = tf.math.log(sums), None
        if relevance is not None:
            is_missing = are_missing(sums, log_pool, relevance)
            sums, log_sums = over_scales(
                added_up_on_scale, is_missing, weights, log_pool, [sums, log_sums]
            )

        def gradients_of(share, predictions):
            rows = tf.shape(log_batch)[0]
            of_batch = weights if past is None else weights[:, :rows]
            to_predictions = tf.matmul(of_batch, share, transpose_a=True)
            of_batch = predictions if past is None else predictions[:rows]
            to_weights = tf.matmul(share, predictions, transpose_b=True)
            return [to_weights, of_batch * to_predictions]

        def gradient(upstream):
            of_total = tf.reduce_sum(upstream, axis=1, keepdims=True) / total
            gradients = gradients_of(upstream / sums - of_total, predictions)
            if is_missing is None:
                return gradients

            def add_on_scale(is_here, found, scale, lower, *totals):
                share = tf.where(is_here, upstream / found, tf.zeros_like(found))
                return map(tf.add, totals, gradients_of(share, lower))

            return over_scales(add_on_scale, is_missing, weights, log_pool, gradients)

        return log_sums - tf.math.log(total), gradient

    return mean(weights, pool.log_predictions)


def are_missing(sums, log_pool, relevance):
    """Returns which sums are too small although their logarithms matter."""
    deepest = -tf.reduce_min(log_pool)
    return tf.cond(
        deepest > STEP,
        lambda: (sums <= SMALLEST) & (relevance * deepest > NEGLIGIBLE),
        lambda: tf.zeros_like(sums, tf.bool),
    )


def over_scales(function, is_missing, weights, log_pool, state):
    """Returns the state after a function has had it on all scales that are needed."""
    # `function(is_here, sums, scale, predictions, *state)` is told which of the missing
    # sums are large enough on a scale, the sums, and the scaled predictions.

    def step(scale, is_missing, *state):
        last, scale = scale, next_scale(log_pool, scale)
        lower = tf.exp(tf.minimum(log_pool + scale, HIGHEST))
        found = tf.matmul(weights, lower)
        is_here = is_missing & (found > SMALLEST_ON_SCALE)
        state = function(is_here, tf.maximum(found, SMALLEST), scale, lower, *state)
        return [scale, is_missing & ~is_here & (scale > last), *state]

    highest = tf.zeros([1, log_pool.shape[1] or tf.shape(log_pool)[1]], weights.dtype)
    return tf.while_loop(
        lambda scale, is_missing, *state: tf.reduce_any(is_missing),
        step,
        [highest, is_missing, *state],
        maximum_iterations=MOST_SCALES,
    )[2:]


def added_up_on_scale(is_here, found, scale, predictions, sums, log_sums):
    """Returns sums, infinite where they are found on another scale, and logarithms."""
    log_found = tf.math.log(found) - scale
    sums = tf.where(is_here, tf.constant(float("inf"), sums.dtype), sums)
    return sums, tf.where(is_here, log_found, log_sums)


def next_scale(log_pool, scale):
    """Returns what lifts each class's largest probability of those left to 1."""
    is_left = log_pool < -(scale + STEP)
    largest = tf.where(is_left, log_pool, tf.constant(float("-inf"), log_pool.dtype))
    largest = tf.reduce_max(largest, axis=0, keepdims=True)
    return tf.where(tf.math.is_inf(largest), scale, -largest)
