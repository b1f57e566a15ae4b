"""Slow, obvious re-implementations in NumPy, to hold the fast ones against."""

import math

import numpy as np

# Cosines that differ by less are a tie, and one below it is no similarity: the error
# of a cosine of two float32 vectors is about that.
ROUNDING = 1e-6


def neighbor_consistency(
    features,
    logits,
    num_neighbors=10,
    temperature=2.0,
    similarity_power=1.0,
    direction="self_to_neighbors",
    temperature_squared=False,
):
    """Eq. 3 of the paper, example by example, in float64."""
    features = np.asarray(features, "float64")
    logits = np.asarray(logits, "float64")
    predictions = [log_softmax(row / temperature) for row in logits]
    losses = []
    for i in range(len(features)):
        similarities = nearest_others(i, features, num_neighbors)
        weights = {j: s**similarity_power for j, s in similarities.items()}
        total = sum(weights.values())
        if total == 0:
            losses.append(0.0)
            continue
        target = log_sum(
            [math.log(w / total) + predictions[j] for j, w in weights.items()]
        )
        if direction == "self_to_neighbors":
            loss = kl_of_logarithms(predictions[i], target)
        else:
            loss = kl_of_logarithms(target, predictions[i])
        losses.append(loss * temperature**2 if temperature_squared else loss)
    return np.array(losses)


def nearest_others(i, features, num_neighbors):
    """The positive similarities of example i to its neighbors, by their index."""
    similarities = {
        j: cosine(features[i], features[j]) for j in range(len(features)) if j != i
    }
    if num_neighbors is None or num_neighbors > len(similarities):
        num_neighbors = len(similarities)
    if num_neighbors == 0:
        return {}
    kth_largest = sorted(similarities.values(), reverse=True)[num_neighbors - 1]
    return {
        j: similarity
        for j, similarity in similarities.items()
        if similarity >= kth_largest - ROUNDING and similarity >= ROUNDING
    }


def cosine(one, other):
    lengths = math.sqrt(np.sum(one * one)) * math.sqrt(np.sum(other * other))
    return 0.0 if lengths == 0 else np.sum(one * other) / lengths


def unit_rows(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def softmax(logits):
    exponentials = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return exponentials / np.sum(exponentials, axis=-1, keepdims=True)


def log_softmax(logits):
    return logits - log_sum(logits)


def log_sum(rows):
    """The logarithm of a sum of exponentials, which are too small for any number."""
    largest = np.max(rows, axis=0)
    return largest + np.log(np.sum(np.exp(rows - largest), axis=0))


def kl_of_logarithms(p, q):
    return float(np.sum(np.exp(p) * (p - q)))


def kl_divergence(p, q):
    return sum(p[c] * math.log(p[c] / q[c]) for c in range(len(p)) if p[c] > 0)
