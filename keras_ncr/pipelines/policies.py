"""RandAugment, AutoAugment and cutout: the strong views of GJS and of SOP+.

Each is an augmentation `(image, seed) -> image`, as in `augmentation.py`: of one image,
whose changes are a function of the seed alone.

Keras' own `RandAugment` does not serve here: it draws from a state of its own, which a
resumed run does not have, one operation for all images of a batch, and with magnitudes
of another scale.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_ncr.checks import check_integer
from keras_ncr.pipelines import image_changes as changes

# Change: amounts at magnitude 0 and 30, and whether half of them are turned around.
_RAND_AUGMENT = {
    changes.auto_contrast: (0.0, 1.0, False),
    changes.equalize: (0.0, 1.0, False),
    changes.invert: (0.0, 1.0, False),
    changes.rotate: (0.0, 30.0, True),
    changes.posterize: (0.0, 4.0, False),
    changes.solarize: (0.0, 256.0, False),
    changes.solarize_add: (0.0, 110.0, False),
    changes.color: (0.1, 1.9, False),
    changes.contrast: (0.1, 1.9, False),
    changes.brightness: (0.1, 1.9, False),
    changes.sharpness: (0.1, 1.9, False),
    changes.shear_x: (0.0, 0.3, True),
    changes.shear_y: (0.0, 0.3, True),
    changes.square_cut_out: (0.0, 40.0, False),
    changes.translate_x: (0.0, 100.0, True),
    changes.translate_y: (0.0, 100.0, True),
}
_NAMES = [change.__name__ for change in _RAND_AUGMENT]
_IS_TURNED = [turned for _, _, turned in _RAND_AUGMENT.values()]

# From a level of the AutoAugment paper, 0 to 9, to an amount.
_AMOUNTS = {
    "shear_y": lambda level: 0.03 * level,
    "rotate": lambda level: 3.0 * level,
    "solarize": lambda level: 256.0 - 256 * level // 10,
    "posterize": lambda level: 4.0 - 4 * level // 10,
    **dict.fromkeys(
        ("contrast", "color", "brightness", "sharpness"),
        lambda level: 0.1 + 0.18 * level,
    ),
}
# The policy for CIFAR-10 (Cubuk et al., 2019, appendix): change, probability, level.
_AUTO_AUGMENT = """
    invert 0.1 7, contrast 0.2 6
    rotate 0.7 2, translate_x 0.3 9
    sharpness 0.8 1, sharpness 0.9 3
    shear_y 0.5 8, translate_y 0.7 9
    auto_contrast 0.5 8, equalize 0.9 2
    shear_y 0.2 7, posterize 0.3 7
    color 0.4 3, brightness 0.6 7
    sharpness 0.3 9, brightness 0.7 9
    equalize 0.6 5, equalize 0.5 1
    contrast 0.6 7, sharpness 0.6 5
    color 0.7 7, translate_x 0.5 8
    equalize 0.3 7, auto_contrast 0.4 8
    translate_y 0.4 3, sharpness 0.2 6
    brightness 0.9 6, color 0.2 6
    solarize 0.5 2, invert 0.0 3
    equalize 0.2 0, auto_contrast 0.6 0
    equalize 0.2 8, equalize 0.6 4
    color 0.9 9, equalize 0.6 6
    auto_contrast 0.8 4, solarize 0.2 8
    brightness 0.1 3, color 0.7 0
    solarize 0.4 5, auto_contrast 0.9 3
    translate_y 0.9 9, translate_y 0.7 9
    auto_contrast 0.9 2, solarize 0.8 3
    equalize 0.8 8, invert 0.1 3
    translate_y 0.7 9, auto_contrast 0.9 1
"""


def rand_augment(num_changes: int = 1, magnitude: int = 3) -> Callable:
    """Returns a function that changes an image by some of 16 changes, drawn at random.

    The changes and the scale of magnitudes are those of the library that GJS's released
    code uses, ildoonet's RandAugment: color, contrast, brightness and sharpness stay as
    they were at 15 and are weakest at 0; below 7.5 posterizing leaves a black image.

    Args:
        num_changes: Int, at least 1. Defaults to 1, as in GJS on CIFAR.
        magnitude: Int from 0 to 30. Defaults to 3, as in GJS on CIFAR.

    Returns:
        Callable `(image, seed) -> image` for `training_batches(augment=...)`: uint8
        pixels of shape `(height, width, 1 or 3)`, a seed of two integers, and back
        comes an image of the same shape and dtype.

    Raises:
        ValueError: If an argument is out of its range.

    Reference:
        - [Cubuk et al., 2020](https://arxiv.org/abs/1909.13719)
        - [Englesson and Azizpour, 2021](https://arxiv.org/abs/2105.04522)

    Example:
    >>> augment = keras_ncr.pipelines.rand_augment()
    >>> augment(np.zeros((32, 32, 3), "uint8"), seed=[0, 7]).shape
    TensorShape([32, 32, 3])
    """
    num_changes = check_integer(num_changes, "num_changes", minimum=1)
    magnitude = check_integer(magnitude, "magnitude", minimum=0)
    if magnitude > 30:
        raise ValueError(
            f"`magnitude` must be at most 30. Received: magnitude={magnitude}."
        )
    amounts = tf.constant(
        [low + (high - low) * magnitude / 30 for low, high, _ in _RAND_AUGMENT.values()]
    )

    def augment(image, seed):
        image = tf.convert_to_tensor(image)
        for seeds in tf.unstack(tf.random.split(seed, num=num_changes)):
            choice, change_seed = tf.unstack(tf.random.split(seeds, num=2))
            number = _whole(choice, len(_NAMES))
            image = _changed(image, number, tf.gather(amounts, number), change_seed)
        return image

    return augment


def auto_augment() -> Callable:
    """Returns a function that changes an image by the AutoAugment policy of CIFAR-10.

    One of its 25 pairs of changes is drawn, and each of both made with its probability,
    as SOP's released code has it for the second view of SOP+: translations are in
    pixels, of 32 that an image is wide.

    Returns:
        Callable `(image, seed) -> image`, as of `rand_augment`.

    Reference:
        - [Cubuk et al., 2019](https://arxiv.org/abs/1805.09501)
        - [Liu et al., 2022](https://arxiv.org/abs/2202.14026)

    Example:
    >>> augment = keras_ncr.pipelines.auto_augment()
    >>> augment(np.zeros((32, 32, 3), "uint8"), seed=[0, 7]).shape
    TensorShape([32, 32, 3])
    """
    rows = [
        [_parsed(change) for change in line.split(",")]
        for line in _AUTO_AUGMENT.strip().splitlines()
    ]
    policy = tf.constant(rows)  # (25, 2, 3): number, probability and amount

    def augment(image, seed):
        image = tf.convert_to_tensor(image)
        choice, *seeds = tf.unstack(tf.random.split(seed, num=3))
        pair = tf.gather(policy, _whole(choice, len(rows)))
        for change, change_seed in zip(tf.unstack(pair), seeds, strict=True):
            number, probability, amount = tf.unstack(change)
            gate, own_seed = tf.unstack(tf.random.split(change_seed, num=2))
            changed = _changed(image, tf.cast(number, "int32"), amount, own_seed)
            is_made = tf.random.stateless_uniform([], gate) < probability
            image = tf.where(is_made, changed, image)
        return image

    return augment


def cutout(size: int = 16) -> Callable:
    """Returns a function that blanks a square of an image.

    Its middle is any pixel of the image, so that a part may lie outside. Blank is 0 in
    the range [-1, 1] to which our networks bring pixels, 128: the released codes have
    the mean color of the data there.

    Args:
        size: Int, at least 0: the side in pixels. Defaults to 16, as in GJS and SOP+ on
            CIFAR.

    Returns:
        Callable `(image, seed) -> image`, as of `rand_augment`.

    Raises:
        ValueError: If `size` is not an integer of at least 0.

    Reference:
        - [DeVries and Taylor, 2017](https://arxiv.org/abs/1708.04552)

    Example:
    >>> augment = keras_ncr.pipelines.cutout(2)
    >>> image = augment(np.zeros((8, 8, 1), "uint8"), seed=[0, 7])
    >>> int(np.sum(image)) // 128
    4
    """
    size = check_integer(size, "size", minimum=0)

    def augment(image, seed):
        image = tf.convert_to_tensor(image)
        shape = tf.shape(image)[:2]
        place = tf.random.stateless_uniform([2], seed)
        start = tf.cast(place * tf.cast(shape, "float32"), "int32") - size // 2
        end = start + 2 * (size // 2)
        rows, columns = tf.range(shape[0]), tf.range(shape[1])
        is_row = (rows >= start[0]) & (rows < end[0])
        is_column = (columns >= start[1]) & (columns < end[1])
        is_cut = (is_row[:, None] & is_column)[..., None]
        return tf.where(is_cut, tf.constant(128, image.dtype), image)

    return augment


def _parsed(text):
    """Returns number, probability and amount of a change of the policy."""
    name, probability, level = text.split()
    amount = _AMOUNTS.get(name, float)(int(level))
    return [float(_NAMES.index(name)), float(probability), float(amount)]


def _whole(seed, end):
    """Returns a whole number below `end`."""
    return tf.random.stateless_uniform([], seed, maxval=end, dtype="int32")


def _changed(image, number, amount, seed):
    """Returns an image after the change of a number, to a random side."""
    numbers = tf.random.stateless_uniform([3], seed)
    is_turned = tf.gather(_IS_TURNED, number) & (numbers[0] > 0.5)
    amount = tf.where(is_turned, -amount, amount)

    def made(change):
        if change is changes.square_cut_out:
            return lambda: change(image, amount, numbers[1:])
        return lambda: change(image, amount)

    changed = tf.switch_case(number, [made(change) for change in _RAND_AUGMENT])
    return tf.ensure_shape(changed, image.shape)
