"""Several views of each example, each cropped and changed on its own.

Where `mixing.second_view` changes the images of a batch, which share their crops, here
a view starts from the image itself.
"""

from collections.abc import Callable

import tensorflow as tf

__all__ = ["one_after_another", "views_in_rows", "views_of"]


def one_after_another(*augments: Callable) -> Callable:
    """Returns an augmentation that applies several, each by random numbers of its own.

    Args:
        *augments: Callables `(image, seed) -> image`, such as `rand_augment()`,
            `crop_and_flip()` and `cutout()`.

    Returns:
        Callable `(image, seed) -> image` for `training_batches(augment=...)`.

    Example:
    >>> from keras_ncr.pipelines import crop_and_flip, cutout
    >>> augment = keras_ncr.pipelines.one_after_another(crop_and_flip(), cutout(4))
    >>> augment(np.zeros((8, 8, 1), "uint8"), seed=[0, 7]).shape
    TensorShape([8, 8, 1])
    """
    if len(augments) == 1:
        return augments[0]

    def augment(image, seed):
        for number, one in enumerate(augments):
            image = one(image, tf.random.fold_in(seed, number))
        return image

    return augment


def views_of(*augments: Callable) -> Callable:
    """Returns an augmentation that makes several views of an image, one by each.

    Args:
        *augments: Callables `(image, seed) -> image` whose images have one shape. Each
            view has random numbers of its own: with `crop_and_flip()` twice they are
            two independent crops and flips, as DivideMix has them.

    Returns:
        Callable `(image, seed) -> views` for `training_batches(augment=...)`, with
        views of shape `(num_views, height, width, channels)`. It goes with
        `batch_augment=views_in_rows()`.

    Reference:
        - [Li et al., 2020](https://arxiv.org/abs/2002.07394), the released code.

    Example:
    >>> from keras_ncr.pipelines import crop_and_flip
    >>> augment = keras_ncr.pipelines.views_of(crop_and_flip(), crop_and_flip())
    >>> augment(np.zeros((8, 8, 3), "uint8"), seed=[0, 7]).shape
    TensorShape([2, 8, 8, 3])
    """
    num_views = len(augments)

    def augment(image, seed):
        seeds = tf.unstack(tf.random.split(seed, num=num_views))
        return tf.stack(
            [one(image, own) for one, own in zip(augments, seeds, strict=True)]
        )

    return augment


def views_in_rows() -> Callable:
    """Returns a batch augmentation that lays the views of examples in neighboring rows.

    Returns:
        Callable `(images, targets, seed) -> (images, targets)` for
        `training_batches(batch_augment=...)`: from images of shape `(batch, num_views,
        ...)` to `(batch * num_views, ...)`; targets are repeated likewise.

    Example:
    >>> views = np.array([[10, 11], [20, 21]]).reshape(2, 2, 1, 1, 1)
    >>> rows, labels = keras_ncr.pipelines.views_in_rows()(
    ...     views, np.array([0, 1]), seed=[0, 7]
    ... )
    >>> np.ravel(rows), labels.numpy()
    (array([10, 11, 20, 21]), array([0, 0, 1, 1]))
    """

    def augment(images, targets, seed):
        images = tf.convert_to_tensor(images)
        num_views = images.shape[1]
        rows = tf.reshape(images, tf.concat([[-1], tf.shape(images)[2:]], axis=0))
        rows = tf.ensure_shape(rows, [None, *images.shape[2:]])

        def repeated(target):
            return tf.repeat(target, num_views, axis=0)

        return rows, tf.nest.map_structure(repeated, targets)

    return augment
