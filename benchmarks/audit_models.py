"""Small networks for `audit_sets.py`: in-sample and out-of-sample probabilities."""

import numpy as np
import tensorflow as tf
from cleanlab.classification import CleanLearning
from sklearn.model_selection import StratifiedKFold


class Networks:
    """Networks of one shape, each trained on rows of its own, all at once.

    `joined` adds neighbor consistency (alpha 0.3, T squared) and early-learning
    regularization (lambda 3, momentum 0.7) to cross-entropy.
    """

    def __init__(self, x, labels, num_classes, rows, hidden, layers, joined=False):
        self.x, self.labels = tf.constant(x), tf.constant(labels, tf.int32)
        self.rows, self.joined, count = rows, joined, len(rows)
        sizes = [x.shape[1], *[hidden] * layers]
        self.layers = [
            (
                tf.Variable(
                    tf.random.normal((count, a, b)) * np.float32((2 / a) ** 0.5)
                ),
                tf.Variable(tf.ones((count, 1, b))),
                tf.Variable(tf.zeros((count, 1, b))),
            )
            for a, b in zip(sizes, sizes[1:], strict=False)
        ]
        self.moments = [
            (tf.Variable(tf.zeros((count, 1, b))), tf.Variable(tf.ones((count, 1, b))))
            for b in sizes[1:]
        ]
        head = tf.Variable(tf.random.normal((count, sizes[-1], num_classes)) * 0.01)
        self.head = head, tf.Variable(tf.zeros((count, 1, num_classes)))
        shape = (len(x), num_classes) if joined else (1, 1)
        self.targets = tf.Variable(tf.zeros(shape))

    def forward(self, h, training):
        """Returns features and logits, with batch normalization."""
        for (kernel, scale, shift), (mean, var) in zip(
            self.layers, self.moments, strict=True
        ):
            h = h @ kernel
            m, v = mean, var
            if training:
                m, v = tf.nn.moments(h, [1], keepdims=True)
                mean.assign(0.9 * mean + 0.1 * m)
                var.assign(0.9 * var + 0.1 * v)
            h = tf.nn.relu((h - m) * tf.math.rsqrt(v + 1e-3) * scale + shift)
        kernel, bias = self.head
        return h, h @ kernel + bias

    def loss(self, index):
        """Returns the summed loss of the networks, and their predictions."""
        features, logits = self.forward(tf.gather(self.x, index), True)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.gather(self.labels, index), logits
        )
        loss = len(self.rows) * tf.reduce_mean(losses)
        if self.joined:
            loss = self.joined_loss(loss, features[0], logits[0], index[0])
        return loss, tf.nn.softmax(logits)

    def joined_loss(self, loss, features, logits, index):
        """Returns NCR joined with ELR, of one network."""
        probabilities = tf.clip_by_value(tf.nn.softmax(logits), 1e-4, 1 - 1e-4)
        scaled = tf.stop_gradient(probabilities)
        scaled /= tf.reduce_sum(scaled, 1, keepdims=True)
        targets = 0.7 * tf.gather(self.targets, index) + 0.3 * scaled
        self.targets.scatter_nd_update(index[:, None], targets)
        agreement = tf.reduce_sum(targets * probabilities, 1)
        elr = tf.reduce_mean(tf.math.log(1 - tf.minimum(agreement, 1 - 1e-4)))
        unit = tf.math.l2_normalize(features, 1)
        similar = tf.nn.relu(unit @ tf.transpose(unit))
        similar = tf.linalg.set_diag(similar, tf.zeros(tf.shape(similar)[0]))
        tenth = tf.math.top_k(similar, 10).values[:, -1:]
        weights = tf.where(similar >= tenth, similar, 0.0)
        weights /= tf.maximum(tf.reduce_sum(weights, 1, keepdims=True), 1e-9)
        wanted = weights @ tf.nn.softmax(logits / 2)
        excess = tf.math.log(wanted + 1e-9) - tf.nn.log_softmax(logits / 2)
        consistency = 4 * tf.reduce_mean(tf.reduce_sum(wanted * excess, 1))
        return 0.7 * loss + 0.3 * consistency + 3 * elr

    def train(self, epochs, rate, decay, seed, warmup=2):
        """Trains by momentum and cosine; returns each row's mean training softmax."""
        size = min(map(len, self.rows))
        batch = min(256, max(size // 8, 16))
        steps, rng = size // batch, np.random.default_rng(seed)
        variables = [v for layer in self.layers for v in layer] + list(self.head)
        momenta = [tf.Variable(tf.zeros_like(v)) for v in variables]

        @tf.function
        def step(index, rate):
            with tf.GradientTape() as tape:
                loss, probabilities = self.loss(index)
            gradients = tape.gradient(loss, variables)
            for gradient, variable, momentum in zip(
                gradients, variables, momenta, strict=True
            ):
                if variable.shape[1] > 1:
                    gradient += decay * variable
                momentum.assign(0.9 * momentum + gradient)
                variable.assign_sub(rate * momentum)
            return probabilities

        sums = np.zeros((len(self.x), self.head[1].shape[-1]), "float32")
        counts = np.zeros((len(self.x), 1), "float32")
        for epoch in range(epochs):
            orders = [rng.permutation(rows) for rows in self.rows]
            for number in range(steps):
                now = epoch * steps + number
                done = (now - warmup * steps) / max((epochs - warmup) * steps, 1)
                now_rate = rate * min(1, (now + 1) / (warmup * steps))
                now_rate *= 0.5 * (1 + np.cos(np.pi * max(done, 0)))
                index = np.stack(
                    [o[number * batch : (number + 1) * batch] for o in orders]
                )
                probabilities = step(
                    tf.constant(index, tf.int32), tf.constant(now_rate, tf.float32)
                )
                if epoch >= warmup and len(self.rows) == 1:
                    sums[index[0]] += probabilities[0].numpy()
                    counts[index[0]] += 1
        return sums / np.maximum(counts, 1)

    def predict(self, x, number=0):
        """Returns one network's features and probabilities."""
        parts = []
        for start in range(0, len(x), 2048):
            features, logits = self.forward(
                tf.constant(x[None, start : start + 2048]), 0
            )
            of_one = features[min(number, features.shape[0] - 1)]
            parts.append((of_one.numpy(), tf.nn.softmax(logits[number]).numpy()))
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def in_sample(x, labels, num_classes, joined, hidden, epochs):
    """Returns features, last probabilities, and their mean over training."""
    tf.random.set_seed(0)
    rows = [np.arange(len(labels))]
    networks = Networks(x, labels, num_classes, rows, hidden, 2, joined)
    means = networks.train(epochs, rate=0.1, decay=4e-3, seed=0)
    return *networks.predict(x), means


def out_of_sample(x, labels, num_classes, hidden, epochs, layers=2):
    """Returns probabilities of five networks, each for the fifth it has not seen."""
    tf.random.set_seed(0)
    parts = list(StratifiedKFold(5, shuffle=True, random_state=0).split(x, labels))
    networks = Networks(
        x, labels, num_classes, [kept for kept, _ in parts], hidden, layers
    )
    rate, decay = (0.1, 4e-3) if layers else (0.02, 1e-3)
    networks.train(epochs, rate, decay, seed=0)
    probabilities = np.zeros((len(labels), num_classes), "float32")
    for number, (_, held_out) in enumerate(parts):
        probabilities[held_out] = networks.predict(x[held_out], number)[1]
    return probabilities


def by_cleanlab(x, labels):
    """Returns cleanlab's quality and calls, by its own folds and default model."""
    _, present = np.unique(labels, return_inverse=True)
    found = CleanLearning(
        seed=0, cv_n_folds=5, find_label_issues_kwargs={"n_jobs": 1}
    ).find_label_issues(x, present)
    return found["label_quality"].to_numpy(), found["is_label_issue"].to_numpy()
