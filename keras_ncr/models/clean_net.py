"""CleanNet: tells by features whether labels are right, from verified ones."""

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.checks import check_integer, check_labels, check_positive, check_rate

# Examples of a batch that are verified, and as many that are not.
HALF_BATCH = 32
BLOCK = 4096


class CleanNet:
    """Network that tells by an example's features whether its label is right.

    It learns from verification labels, which say of some examples whether the label
    that was given is right, and tells of examples of any class, of those too of which
    none was verified. A class is known by references, the centers of its features by
    k-means, all its examples included, wrong ones too; a small network with attention
    turns these into one vector, and another turns an example's features into a vector
    and back. With s the cosine of both vectors, in [-1, 1], training minimizes

        loss(s, right) = 1 - s if right else wrong_weight * max(0, s - margin)
        verified * loss(s, right) + 0.1 * |input - input from vector|**2
            + 0.1 * (1 - verified) * loss(s, s >= margin)

    averaged over batches of 32 examples that are verified and 32 that are not, drawn
    such that each class is as probable, with an L2 penalty of 1e-4 on kernels. The
    input is `log(1 + v)` of features, which are expected not to be negative.

    It differs from the authors' code in that: the input of a negative feature is
    `-log(1 - v)`, where they have none; the references of a class are the same in a
    batch, and so is what dropout leaves of them; a class of fewer different examples
    than references has these for references, some more than once. As there, the way
    back ends in tanh, which cannot reach inputs above 1.

    Args:
        num_classes: Int, at least 2.
        num_references: Int, at least 1: references of a class. They do not tell how
            many examples are near each: where wrong labels of a class fill as many as
            right ones, take fewer. Defaults to 32, the authors'.
        num_steps: Int, at least 1. The learning rate falls to a tenth after half of
            them. Defaults to 60,000, the authors'; small data need fewer.
        margin: Float in [0, 1]. Defaults to 0.1, the authors'.
        wrong_weight: Positive float. Defaults to 5.0, the authors'.
        learning_rate: Positive float, of SGD with momentum 0.9. Defaults to 0.01, the
            authors'.
        dropout_rate: Float in [0, 1], of references in training. Defaults to 0.2, our
            choice.
        seed: Int, at least 0: of weights, references and batches. Defaults to 0.

    Raises:
        ValueError: If an argument is out of its range.

    Reference:
        - [Lee et al., 2018](https://arxiv.org/abs/1711.07131)

    Example:
    >>> random = np.random.default_rng(0)
    >>> labels = np.arange(60) % 2
    >>> features = np.eye(2)[labels] + random.uniform(size=(60, 2)) / 10
    >>> given = np.where(np.arange(60) < 20, 1 - labels, labels)
    >>> is_right = np.where(np.arange(60) % 4 < 2, given == labels, -1)
    >>> net = keras_ncr.models.CleanNet(num_classes=2, num_references=1, num_steps=50)
    >>> similarities = net.fit(features, given, is_right).similarities(features, given)
    >>> bool(similarities[20:].min() > 0.5 > similarities[:20].max())
    True
    """

    def __init__(
        self,
        num_classes: int,
        num_references: int = 32,
        num_steps: int = 60_000,
        margin: float = 0.1,
        wrong_weight: float = 5.0,
        learning_rate: float = 0.01,
        dropout_rate: float = 0.2,
        seed: int = 0,
    ):
        self.num_classes = check_integer(num_classes, "num_classes", minimum=2)
        self.num_references = check_integer(num_references, "num_references", minimum=1)
        self.num_steps = check_integer(num_steps, "num_steps", minimum=1)
        self.margin = check_rate(margin, "margin")
        self.wrong_weight = check_positive(wrong_weight, "wrong_weight")
        self.learning_rate = check_positive(learning_rate, "learning_rate")
        self.dropout_rate = check_rate(dropout_rate, "dropout_rate")
        self.seed = check_integer(seed, "seed", minimum=0)

    def fit(self, features, labels, is_right, judged_labels=None):
        """Learns which labels are right, and returns itself.

        Args:
            features: Array of shape `(n, dim)`.
            labels: Ints of shape `(n,)`: the labels as given, by which references are
                found.
            is_right: Ints of shape `(n,)`: 1 where the label was found right, 0 where
                it was found wrong, -1 where nobody looked.
            judged_labels: Optional ints of shape `(n,)`: the labels that `is_right` is
                about. Defaults to `labels`.

        Raises:
            ValueError: If labels are out of range, or none was found right, or wrong.
        """
        features = np.asarray(features, "float32")
        labels = check_labels(labels, self.num_classes)
        is_right = check_verification(is_right, len(labels))
        judged = labels if judged_labels is None else np.asarray(judged_labels)
        references = self._references(features, labels)
        self.references = tf.constant(scaled(references))
        self.query = query_network(features.shape[1], self.seed)
        self.reference = reference_network(
            features.shape[1], self.num_references, self.dropout_rate, self.seed + 10
        )
        self._train(scaled(features), np.where(is_right < 0, labels, judged), is_right)
        return self

    def _references(self, features, labels):
        """Returns the references of each class, `(num_classes, k, dim)`."""
        found = np.zeros(
            (self.num_classes, self.num_references, features.shape[1]), "float32"
        )
        for label in np.unique(labels):
            found[label] = centers(
                features[labels == label], self.num_references, self.seed
            )
        return found

    def _train(self, inputs, labels, is_right):
        """Trains both networks, batch by batch."""
        half = max(self.num_steps // 2, 1)
        optimizer = keras.optimizers.SGD(
            keras.optimizers.schedules.PiecewiseConstantDecay(
                [half], [self.learning_rate, self.learning_rate / 10]
            ),
            momentum=0.9,
        )
        weights = [*self.query.trainable_weights, *self.reference.trainable_weights]
        optimizer.build(weights)

        @tf.function
        def step(inputs, labels, is_right):
            with tf.GradientTape() as tape:
                loss = self._loss(inputs, labels, is_right)
            optimizer.apply(tape.gradient(loss, weights), weights)

        random = np.random.RandomState(self.seed)
        parts = [np.flatnonzero(is_right >= 0), np.flatnonzero(is_right < 0)]
        pools = [Pool(part, labels[part]) for part in parts if len(part)]
        for _ in range(self.num_steps):
            rows = np.concatenate([pool.drawn(HALF_BATCH, random) for pool in pools])
            step(inputs[rows], labels[rows], is_right[rows])

    def _loss(self, inputs, labels, is_right):
        """Returns the loss of a batch, with the penalty on kernels."""
        codes, restored = self.query(inputs, training=True)
        present, where = tf.unique(labels)
        references = tf.gather(self.references, present)
        references = self.reference(references, training=True)
        similarities = cosines(codes, tf.gather(references, where))
        each = verification_losses(
            similarities, is_right, self.margin, self.wrong_weight
        )
        each += 0.1 * tf.reduce_sum((inputs - restored) ** 2, axis=1)
        penalties = [*self.query.losses, *self.reference.losses]
        return tf.reduce_mean(each) + tf.add_n(penalties)

    def similarities(self, features, labels):
        """Returns how well features and labels fit, `(n,)`, float32 in [-1, 1].

        The authors call a label right from 0.1 or 0.2 on; as the weight of an example
        they have the similarity, or 0 if it is negative.
        """
        features = np.asarray(features, "float32")
        labels = check_labels(labels, self.num_classes)
        classes = self.reference(self.references, training=False)
        found = []
        for start in range(0, len(labels), BLOCK):
            rows = slice(start, start + BLOCK)
            codes, _ = self.query(scaled(features[rows]), training=False)
            found.append(cosines(codes, tf.gather(classes, labels[rows])).numpy())
        return np.concatenate(found)


class Pool:
    """Examples from which batches are drawn: a class first, then an example of it."""

    def __init__(self, rows, labels):
        self.rows = rows[np.argsort(labels, kind="stable")]
        _, self.starts, self.counts = np.unique(
            np.sort(labels), return_index=True, return_counts=True
        )

    def drawn(self, size, random):
        """Returns the numbers of so many examples."""
        label = random.randint(len(self.counts), size=size)
        places = (random.random_sample(size) * self.counts[label]).astype(int)
        return self.rows[self.starts[label] + places]


def check_verification(is_right, num_examples):
    """Returns verification labels as ints, or raises."""
    is_right = np.asarray(is_right)
    if is_right.shape != (num_examples,) or not np.isin(is_right, (-1, 0, 1)).all():
        raise ValueError(
            f"`is_right` must hold 1, 0 or -1 for each of {num_examples} examples. "
            f"Received: shape {is_right.shape}, {np.unique(is_right)[:5]}. 1 is for a "
            "label that was found right, 0 for one found wrong, -1 where nobody looked."
        )
    missing = [
        word for word, value in (("right", 1), ("wrong", 0)) if value not in is_right
    ]
    if missing:
        raise ValueError(
            "`is_right` must have labels that were found right and labels that were "
            f"found wrong: CleanNet learns from both. Received: none that was found "
            f"{' or '.join(missing)}. Review some, such as those that an audit doubts; "
            "without any, train keras_ncr.ELRModel, which needs none."
        )
    return is_right.astype("int64")


def scaled(features):
    """Returns features as the networks get them."""
    return np.sign(features) * np.log1p(np.abs(features))


def centers(features, num_centers, seed):
    """Returns the centers of features by k-means, or the features if they are few."""
    from sklearn.cluster import KMeans

    different = np.unique(features, axis=0)
    if len(different) <= num_centers:
        return different[np.arange(num_centers) % len(different)]
    means = KMeans(num_centers, n_init=10, max_iter=50, tol=1e-4, random_state=seed)
    return means.fit(features).cluster_centers_


def cosines(one, other):
    """Returns the cosines of rows, 0 for a row of zeros."""
    one, other = tf.math.l2_normalize(one, axis=1), tf.math.l2_normalize(other, axis=1)
    return tf.reduce_sum(one * other, axis=1)


def verification_losses(similarities, is_right, margin=0.1, wrong_weight=5.0):
    """Returns the loss per example; of -1 a tenth, as if its similarity told."""
    is_right = tf.convert_to_tensor(is_right)
    is_verified = is_right >= 0
    is_right = tf.where(is_verified, is_right > 0, similarities >= margin)
    each = tf.where(
        is_right, 1 - similarities, wrong_weight * tf.nn.relu(similarities - margin)
    )
    return tf.where(is_verified, each, 0.1 * each)


def dense_layer(units, seed):
    """Returns a layer as both networks have them."""
    return keras.layers.Dense(
        units,
        activation="tanh",
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        kernel_regularizer=keras.regularizers.L2(1e-4),
        dtype="float32",
    )


def query_network(dim, seed):
    """Returns the network from an example's input to its vector, and back."""
    inputs = keras.Input((dim,), dtype="float32")
    code = dense_layer(128, seed + 1)(dense_layer(256, seed)(inputs))
    restored = dense_layer(dim, seed + 3)(dense_layer(256, seed + 2)(code))
    return keras.Model(inputs, [code, restored])


def reference_network(dim, num_references, dropout_rate, seed):
    """Returns the network from a class's references to its vector, with attention."""
    inputs = keras.Input((num_references, dim), dtype="float32")
    hidden = dense_layer(512, seed)(inputs)
    hidden = keras.layers.Dropout(dropout_rate, seed=seed, dtype="float32")(hidden)
    hidden = dense_layer(256, seed + 1)(hidden)
    # Without penalty, as in the authors' code.
    scores = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer=keras.initializers.GlorotUniform(seed + 2),
        dtype="float32",
    )(dense_layer(256, seed + 3)(hidden))
    mean = hidden
    if num_references > 1:
        shares = keras.layers.Softmax(axis=1, dtype="float32")(scores)
        mean = keras.layers.Dot(axes=1, dtype="float32")([shares, hidden])
    mean = keras.layers.Flatten(dtype="float32")(mean)
    return keras.Model(inputs, dense_layer(128, seed + 4)(mean))
