"""What is done to a whole batch: mixup, and two views of each example.

A batch augmentation is a callable `(images, targets, seed) -> (images, targets)`. The
pipeline hands it one batch and a seed of shape `(2,)` made from its own seed, the epoch
and the step, so that a resumed run sees the batches that an uninterrupted one would
have. Targets are labels, or a dict of them and what comes with them.

A change is a callable `(images, seed) -> images` on a batch, from which `second_view`
makes a batch augmentation. Its images keep their number, shape and dtype.

Keras' own `MixUp` and `RandomColorJitter` do not serve here: both draw from a state of
their own, which a resumed run does not have. `MixUp` also lets an example be its own
partner, and a partner weigh more than the owner of the targets.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from keras_ncr.checks import check_bool, check_integer, check_positive, check_rate
from keras_ncr.distribution.targets import label_of
from keras_ncr.pipelines import row_random
from keras_ncr.pipelines.mixture import Mixture
from keras_ncr.pipelines.stages import takes

__all__ = ["color_jitter", "in_sequence", "mixup", "random_shift", "second_view"]

# Images of more pixels are changed one by one.
_MAX_PIXELS = 64 * 64


def mixup(alpha=0.5):
    """Returns a batch augmentation that mixes each example with another one.

    Formula:

        x = w * x_i + (1 - w) * x_j
        y = w * y_i + (1 - w) * y_j,    w = max(v, 1 - v),  v ~ Beta(alpha, alpha)

    with a weight for each example. At least half of a mixture is its owner i: features,
    and whatever comes with the label, such as `"index"`, still stand for one example.

    Partners follow a random circle through the batch. Nobody is mixed with itself, and
    in a batch of three or more no two examples are each other's partners, as they are
    where j is the mirrored row: two mixtures of the same two images look alike, and
    would be taken for neighbors. A batch of one stays as it is.

    Args:
        alpha: Positive number. Small values hardly mix, 1 mixes evenly, large values
            halve. The authors' released code suggests 0.5, the default; the mixup paper
            has 1 on CIFAR, DivideMix 4.

    Returns:
        Callable `(images, targets, seed) -> (images, targets)` for
        `training_batches(batch_augment=..., one_hot=True)`. Images, or other inputs of
        shape `(batch, ...)`, become float32 on the scale that they had, 0 to 255 for
        pixels: nothing is rounded. Labels must be of shape `(batch, num_classes)`, and
        become float32. In a dict all else stays that of the owner.

    Raises:
        ValueError: If `alpha` is not a positive number; on a batch, if labels are not
            of rank 2.

    Reference:
        - [Zhang et al., 2018](https://arxiv.org/abs/1710.09412)
        - [Li et al., 2020](https://arxiv.org/abs/2002.07394), the weight of at least
          one half.
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200)

    Example:
    >>> augment = keras_ncr.pipelines.mixup(alpha=1.0)
    >>> images = np.array([0, 100, 200], dtype="uint8").reshape(3, 1, 1, 1)
    >>> mixed, labels = augment(images, np.eye(3), seed=[0, 7])
    >>> bool(np.all(np.diag(labels) >= 0.5))
    True
    >>> np.allclose(mixed[:, 0, 0, 0], labels.numpy() @ [0, 100, 200])
    True
    """
    alpha = check_positive(alpha, "alpha")

    def augment(images, targets, seed):
        labels = tf.convert_to_tensor(label_of(targets))
        if labels.shape.rank != 2:
            raise ValueError(
                "`mixup` must be given one-hot labels, of shape (batch, num_classes), "
                f"to mix them. Received: labels of shape {labels.shape}. Pass "
                "`one_hot=True` to `keras_ncr.pipelines.training_batches`."
            )
        images = tf.convert_to_tensor(images)
        batch_size = tf.shape(images)[0]
        weight_seed, partner_seed = tf.unstack(tf.random.split(seed, num=2))
        mix = Mixture(
            _owner_weights(alpha, batch_size, weight_seed),
            _circle(batch_size, partner_seed),
        )
        labels = mix.rows(labels)
        targets = {**targets, "label": labels} if isinstance(targets, dict) else labels
        return mix.rows(images), targets

    return augment


def second_view(*changes: Callable, keep_first: bool = True) -> Callable:
    """Returns a batch augmentation that adds a changed view of each example.

    The views of example i are the rows 2i and 2i + 1; targets are repeated likewise.
    Replicas therefore keep them together, where the number of examples in a batch is a
    multiple of theirs.

    Args:
        *changes: Callables `(images, seed) -> images` on a batch, applied one after the
            other, such as `color_jitter()` and `random_shift(2)`.
        keep_first: Boolean. Whether rows 2i are the images as they are, as the paper's
            data augmentation has it. Otherwise both views are changed, independently of
            each other, as GJS, SOP+ and DivideMix have it. Defaults to `True`.

    Returns:
        Callable `(images, targets, seed) -> (images, targets)` for
        `training_batches(batch_augment=...)`, which doubles the batch.

    Raises:
        ValueError: If there is no change, or one is no function of images and a seed;
            on a batch, if one changes the images' shape or dtype.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), section 5.5 ("DA").

    Example:
    >>> augment = keras_ncr.pipelines.second_view(lambda images, seed: images + 1)
    >>> images = np.array([10, 20]).reshape(2, 1, 1, 1)
    >>> views, labels = augment(images, np.array([0, 1]), seed=[0, 7])
    >>> np.ravel(views), labels.numpy()
    (array([10, 11, 20, 21]), array([0, 0, 1, 1]))
    """
    _check_functions(changes, "changes", ("images", "seed"))
    keep_first = check_bool(keep_first, "keep_first")

    def augment(images, targets, seed):
        images = tf.convert_to_tensor(images)
        first_seed, second_seed = tf.unstack(tf.random.split(seed, num=2))
        first = images if keep_first else _changed(images, changes, first_seed)
        second = _changed(images, changes, second_seed)

        def twice(target):
            return _interleaved(target, target)

        return _interleaved(first, second), tf.nest.map_structure(twice, targets)

    return augment


def in_sequence(*batch_augments: Callable) -> Callable:
    """Returns a batch augmentation that applies several, one after the other.

    Each has random numbers of its own. For the paper's "Mixup + DA", mixup comes last:
    all views are then mixed with each other. That a view's partner is the other view of
    the same example happens by chance alone, once in `2 * batch - 1`.

    Args:
        *batch_augments: Callables `(images, targets, seed) -> (images, targets)`.

    Returns:
        Callable `(images, targets, seed) -> (images, targets)` for
        `training_batches(batch_augment=...)`.

    Raises:
        ValueError: If there is none, or one is no function of images, targets and a
            seed.

    Example:
    >>> augment = keras_ncr.pipelines.in_sequence(
    ...     keras_ncr.pipelines.second_view(keras_ncr.pipelines.color_jitter()),
    ...     keras_ncr.pipelines.mixup(),
    ... )
    >>> images, labels = augment(np.zeros((3, 4, 4, 3)), np.eye(3), seed=[0, 7])
    >>> images.shape, labels.shape
    (TensorShape([6, 4, 4, 3]), TensorShape([6, 3]))
    """
    _check_functions(batch_augments, "batch_augments", ("images", "targets", "seed"))

    def augment(images, targets, seed):
        for number, batch_augment in enumerate(batch_augments):
            own_seed = tf.random.fold_in(seed, number)
            images, targets = batch_augment(images, targets, own_seed)
        return images, targets

    return augment


def color_jitter(
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
) -> Callable:
    """Returns a change that varies the colors of each image at random.

    In this order, each with a draw for every image: all pixels are multiplied, spread
    about the mean of their channel, made more or less colorful, and turned on the color
    circle. Gray images, of one channel, get the first two. The paper names "random
    color jittering" without strengths; the defaults are those usual in contrastive
    learning.

    Args:
        brightness: Number in [0, 1]. The factor is drawn from `1 - brightness` to
            `1 + brightness`. Defaults to 0.4.
        contrast: Likewise, the factor on the distance from the mean. Defaults to 0.4.
        saturation: Likewise, the factor on the saturation. Defaults to 0.4.
        hue: Number in [0, 0.5]: the largest turn either way, as a share of the circle.
            Defaults to 0.1.

    Returns:
        Callable `(images, seed) -> images` for `second_view`: images of shape
        `(batch, height, width, 1 or 3)` with values from 0 to 255, and back come images
        of the same shape and dtype.

    Raises:
        ValueError: If a strength is out of its range.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), section 5.5.
        - [Chen et al., 2020](https://arxiv.org/abs/2002.05709), appendix A.

    Example:
    >>> change = keras_ncr.pipelines.color_jitter()
    >>> change(np.full((2, 4, 4, 3), 100, dtype="uint8"), seed=[0, 7]).dtype
    tf.uint8
    """
    brightness = check_rate(brightness, "brightness")
    contrast = check_rate(contrast, "contrast")
    saturation = check_rate(saturation, "saturation")
    hue = check_rate(hue, "hue")
    if hue > 0.5:
        raise ValueError(
            "`hue` must be at most 0.5, which reaches every color of the circle. "
            f"Received: hue={hue}."
        )

    def jitter(images, numbers):
        """Changes images by four numbers from 0 to 1 for each."""
        pixels = tf.cast(images, tf.float32) / 255
        numbers = tf.reshape(numbers, [4, -1, 1, 1, 1])
        # By a factor, and not by a summand as in tf.image: black stays black.
        pixels *= 1 + brightness * (2 * numbers[0] - 1)
        means = tf.reduce_mean(pixels, axis=[1, 2], keepdims=True)
        pixels = means + (1 + contrast * (2 * numbers[1] - 1)) * (pixels - means)
        pixels = tf.clip_by_value(pixels, 0.0, 1.0)  # Or a color has no hue.
        if images.shape[-1] == 3:
            hues, saturations, values = tf.split(
                tf.image.rgb_to_hsv(pixels), 3, axis=-1
            )
            hues = tf.math.floormod(hues + hue * (2 * numbers[3] - 1), 1.0)
            saturations *= 1 + saturation * (2 * numbers[2] - 1)
            colors = [hues, tf.minimum(saturations, 1.0), values]
            pixels = tf.image.hsv_to_rgb(tf.concat(colors, axis=-1))
        pixels *= 255
        return tf.cast(
            tf.round(pixels) if images.dtype.is_integer else pixels, images.dtype
        )

    def change(images, seed):
        images = tf.convert_to_tensor(images)
        seeds = row_random.fold_in(seed, tf.range(tf.shape(images)[0]))
        seeds = tf.reshape(row_random.split(seeds, 4), [-1, 2])
        numbers = tf.reshape(row_random.uniform(seeds), [4, -1])
        if math.prod(images.shape[1:3]) <= _MAX_PIXELS:
            return jitter(images, numbers)
        # One by one: a batch of large images needs many times its memory.
        spec = tf.TensorSpec(images.shape[1:], images.dtype)
        rows = images, tf.transpose(numbers)
        return tf.map_fn(
            lambda row: jitter(row[0][None], row[1])[0], rows, fn_output_signature=spec
        )

    return change


def random_shift(pixels: int) -> Callable:
    """Returns a change that moves each image at random, and fills up with zeros.

    It is for gray images such as digits, of which a second view by brightness and
    contrast alone would be almost the first one.

    Args:
        pixels: Int, at least 0: the farthest that an image moves along each axis, in
            either direction; all places are equally likely.

    Returns:
        Callable `(images, seed) -> images` for `second_view`: images of shape
        `(batch, height, width, channels)`, and back come images of the same shape and
        dtype.

    Raises:
        ValueError: If `pixels` is not an integer of at least 0.

    Example:
    >>> change = keras_ncr.pipelines.random_shift(1)
    >>> change(np.ones((2, 4, 4, 1), dtype="uint8"), seed=[0, 7]).shape
    TensorShape([2, 4, 4, 1])
    """
    pixels = check_integer(pixels, "pixels", minimum=0)

    def change(images, seed):
        images = tf.convert_to_tensor(images)
        shape = tf.shape(images)
        border = [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]]
        padded = tf.pad(images, border)
        offsets = tf.random.stateless_uniform(
            [2, shape[0], 1], seed, maxval=2 * pixels + 1, dtype=tf.int32
        )
        rows = offsets[0] + tf.range(shape[1])  # (batch, height)
        columns = offsets[1] + tf.range(shape[2])  # (batch, width)
        moved = tf.gather(padded, rows, axis=1, batch_dims=1)
        moved = tf.gather(moved, columns, axis=2, batch_dims=1)
        return tf.ensure_shape(moved, images.shape)

    return change


def _owner_weights(alpha, batch_size, seed):
    """Weights of the owners, (batch,) float32 in [0.5, 1], as `mixup` defines them."""
    gamma_seed, power_seed = tf.unstack(tf.random.split(seed, num=2))
    # v is a share of two gamma variables. For a small alpha both would underflow to 0,
    # so they are drawn as logarithms: G(alpha) = G(alpha + 1) * U**(1 / alpha).
    shape = tf.stack([2, batch_size])
    gammas = tf.random.stateless_gamma(shape, gamma_seed, alpha + 1)
    above_zero = 1 - tf.random.stateless_uniform(shape, power_seed)
    logs = tf.math.log(gammas) + tf.math.log(above_zero) / alpha
    return tf.sigmoid(tf.abs(logs[0] - logs[1]))


def _circle(batch_size, seed):
    """Each row's partner, (batch,): the next one on a random circle through all."""
    order = tf.random.experimental.stateless_shuffle(tf.range(batch_size), seed)
    following = tf.roll(order, shift=-1, axis=0)
    return tf.gather(following, tf.math.invert_permutation(order))


def _changed(images, changes, seed):
    """The images after all changes, each with a seed of its own."""
    for number, change in enumerate(changes):
        changed = change(images, tf.random.fold_in(seed, number))
        if changed.dtype != images.dtype or not (
            changed.shape.is_compatible_with(images.shape)
        ):
            raise ValueError(
                "`changes` must keep the shape and dtype of the images, to stand "
                f"beside them in one batch. Received: {change!r}, which makes "
                f"{changed.dtype.name} of shape {changed.shape} from "
                f"{images.dtype.name} of shape {images.shape}."
            )
        images = changed
    return images


def _interleaved(first, second):
    """The rows of both in turn: (batch, ...) twice to (2 * batch, ...)."""
    pairs = tf.stack([first, second], axis=1)
    return tf.reshape(pairs, tf.concat([[-1], tf.shape(pairs)[2:]], axis=0))


def _check_functions(functions, name, arguments):
    """Raises unless there are functions, all to be called with these arguments."""
    wrong = [function for function in functions if not takes(function, arguments)]
    if wrong or not functions:
        raise ValueError(
            f"`{name}` must be one or more functions ({', '.join(arguments)}) on a "
            f"batch. Received: {repr(wrong[0]) if wrong else 'none'}."
        )
