"""Random changes of one training image, each decided by a seed alone.

An augmentation is a callable `(image, seed) -> image`. The pipeline hands it one
image and a seed of shape `(2,)` made from its own seed, the epoch and the image's
index, so that a resumed run sees the images that an uninterrupted one would have.
"""

import tensorflow as tf

from keras_ncr.checks import check_bool, check_integer


def crop_and_flip(padding=4, flip=True):
    """Returns a function that shifts an image at random and mirrors half of them.

    The image is padded with zeros on each side and cut back to its size at a random
    place. The zeros stand for black: pixels are still raw here, and the network
    brings them to its own range afterwards.

    Args:
        padding: Int, at least 0. Pixels added on each side. The usual CIFAR protocol
            pads a 32-pixel image by 4. Defaults to 4.
        flip: Boolean. Whether to mirror left and right with probability one half; not
            for digits or letters. Defaults to `True`, as in the CIFAR protocol.

    Returns:
        Callable `(image, seed) -> image` for `training_batches(augment=...)`: an image
        of shape `(height, width, channels)`, a seed of two integers, and back comes
        an image of the same shape and dtype.

    Raises:
        ValueError: If `padding` is not an integer of at least 0.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), supplement A
          ("random crop").
        - [Liu et al., 2020](https://arxiv.org/abs/2007.00151), the protocol it follows.

    Example:
    >>> augment = keras_ncr.augment.crop_and_flip(padding=1, flip=False)
    >>> image = np.full((4, 4, 1), 255, dtype="uint8")
    >>> augment(image, seed=[0, 7]).shape
    TensorShape([4, 4, 1])
    """
    padding = check_integer(padding, "padding", minimum=0)
    flip = check_bool(flip, "flip")

    def augment(image, seed):
        image = tf.convert_to_tensor(image)
        # One draw must not decide both the place of the crop and the mirroring.
        crop_seed, flip_seed = tf.unstack(tf.random.split(seed, num=2))
        if padding:
            size = tf.shape(image)
            border = [[padding, padding], [padding, padding], [0, 0]]
            cropped = tf.image.stateless_random_crop(
                tf.pad(image, border), size, crop_seed
            )
            image = tf.ensure_shape(cropped, image.shape)
        if flip:
            image = tf.image.stateless_random_flip_left_right(image, flip_seed)
        return image

    return augment
