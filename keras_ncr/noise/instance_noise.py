"""Instance-dependent label noise: what an image looks like decides its wrong label."""

import numpy as np

from keras_ncr.checks import check_integer, check_labels, check_rate

# Standard deviation of the flip rates over examples, from Xia et al., 2020.
_RATE_DEVIATION = 0.1
# Examples handled at a time: 50 MB of float32 for images of 32 x 32 x 3.
_CHUNK = 4096


class InstanceDependentNoise:
    """Part-dependent label noise: similar images get similar wrong labels.

    Each example has a flip rate of its own, from a normal distribution around `rate`
    with standard deviation 0.1, truncated to [0, 1]. Which wrong class it flips to
    follows from its pixels, by one random projection per clean class.

    Formula:

        x_i = the standardized pixels of image i; c = its clean label
        q_i ~ Normal(rate, 0.1**2), truncated to [0, 1]
        W_c ~ Normal(0, 1), of shape (pixels, num_classes)
        p_i = softmax(x_i W_c) over the classes other than c
        noisy label = c with probability 1 - q_i, else drawn from p_i

    Pixels are standardized here: each has mean 0 and standard deviation 1 over the
    images given. With raw pixels the mean brightness dominates every projection, the
    wrong class then depends on the clean class almost alone, and the noise is hardly
    instance-dependent. The published code uses raw or normalized pixels, so its label
    files differ from these.

    Truncation moves the mean of the flip rates: by less than 0.006 for a `rate` from
    0.2 to 0.8, but to 0.129 for a `rate` of 0.1. `rate=0` changes no label.

    The last bits of matrix products differ between machines, so that a rare label may
    too: keep the labels in a file (`NoisyLabels.save`).

    Args:
        rate: Float in [0, 1]: mean share of labels that change, before truncation.
            Xia et al. use 0.1 to 0.5.
        seed: Int, 0 or more. Draws depend on the seed and the position of the example.
            Defaults to 0.
        num_classes: Optional int, at least 2. `None`, the default, takes the largest
            label plus 1.

    Raises:
        ValueError: If an argument is out of its range.

    Reference:
        - [Xia et al., 2020](https://arxiv.org/abs/2006.07836), Algorithm 2.

    Example:
    >>> images = np.random.default_rng(0).normal(size=(1000, 8, 8, 1))
    >>> labels = np.arange(1000) % 10
    >>> noise = keras_ncr.noise.InstanceDependentNoise(rate=0.4)
    >>> noisy_labels = noise.corrupt(images, labels)
    >>> bool(0.35 < np.mean(noisy_labels != labels) < 0.45)
    True
    """

    def __init__(self, rate: float, seed: int = 0, num_classes: int | None = None):
        self.rate = check_rate(rate)
        self.seed = check_integer(seed, "seed", minimum=0)
        self.num_classes = num_classes
        if num_classes is not None:
            self.num_classes = check_integer(num_classes, "num_classes", minimum=2)

    def corrupt(self, images, labels) -> np.ndarray:
        """Returns the noisy labels of `images`.

        Needs the whole training set at once, since pixels are standardized over it.
        Takes some 100 MB beyond the arguments for images of 32 x 32 x 3.

        Args:
            images: Finite numbers of shape `(n, ...)`, of any scale and dtype, such as
                features `(n, dim)`.
            labels: Clean labels, integers of shape `(n,)`.

        Returns:
            NumPy int64 array of shape `(n,)`.

        Raises:
            ValueError: If `images` and `labels` differ in length, pixels are not
                finite, or labels are not class numbers.
        """
        labels = check_labels(labels, self.num_classes)
        num_classes = self.num_classes or int(labels.max()) + 1
        check_integer(num_classes, "num_classes", minimum=2)
        images = np.asarray(images)
        if images.ndim < 2 or len(images) != len(labels):
            raise ValueError(
                "`images` must have shape (n, ...), one image per label. "
                f"Received: shape {images.shape} and {len(labels)} labels."
            )
        if self.rate == 0:
            return labels
        scaler = _fit_scaler(images)
        is_flipped, class_draws = self._draw(len(labels))
        noisy_labels = labels.copy()
        for label in np.unique(labels[is_flipped]):
            positions = np.flatnonzero(is_flipped & (labels == label))
            # One class at a time: all projections together are 123 MB for CIFAR-100.
            projection = self._projection(label, scaler.n_features_in_, num_classes)
            for chunk in np.split(positions, range(_CHUNK, len(positions), _CHUNK)):
                activations = scaler.transform(_flatten(images[chunk])) @ projection
                activations[:, label] = -np.inf
                noisy_labels[chunk] = _sample(activations, class_draws[chunk])
        return noisy_labels

    def _draw(self, num_examples):
        """Returns which examples flip, and a uniform number that picks the class."""
        from scipy.stats import truncnorm

        # Drawn row by row: an example's numbers depend on its position alone.
        draws = _generator(0, self.seed).random((num_examples, 3))
        rate_draws, flip_draws, class_draws = draws.T
        low, high = (np.array([0.0, 1.0]) - self.rate) / _RATE_DEVIATION
        flip_rates = truncnorm(low, high, self.rate, _RATE_DEVIATION).ppf(rate_draws)
        return flip_draws < flip_rates, class_draws

    def _projection(self, label, num_pixels, num_classes):
        """Returns the random projection of one clean class, W_c of the formula."""
        generator = _generator(label + 1, self.seed)
        return generator.standard_normal((num_pixels, num_classes), np.float32)


def _generator(stream, seed):
    """Returns the generator of one stream of random numbers under a seed."""
    return np.random.default_rng([stream, seed])


def _flatten(images):
    return images.reshape(len(images), -1).astype(np.float32)


def _fit_scaler(images):
    """Returns a scaler that gives each pixel mean 0 and deviation 1 over images."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    for start in range(0, len(images), _CHUNK):
        pixels = _flatten(images[start : start + _CHUNK])
        if not np.all(np.isfinite(pixels)):
            raise ValueError(
                "`images` must hold finite numbers. Received: NaN or infinity between "
                f"positions {start} and {start + len(pixels) - 1}. Repair or remove "
                "these images."
            )
        scaler.partial_fit(pixels)
    return scaler


def _sample(activations, draws):
    """Returns one class per row of activations, drawn from their softmax."""
    activations = activations - activations.max(axis=1, keepdims=True)
    cumulative = np.cumsum(np.exp(activations), axis=1, dtype=np.float64)
    cumulative /= cumulative[:, -1:]  # the last is exactly 1, above any draw
    return np.sum(draws[:, None] >= cumulative, axis=1)
