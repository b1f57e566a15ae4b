"""The pictures of what a config would train on."""

import numpy as np

from keras_ncr import plots
from keras_ncr.datasets.images import decode
from keras_ncr.experiments.batches import (
    evaluation_batches,
    training_batches,
    view_augmentations,
)

_MOST_IMAGES = 36
_AUGMENTED_IMAGES, _AUGMENTATIONS = 4, 6
# With more classes, a cell of the matrix would be smaller than a pixel.
_MOST_MATRIX_CLASSES = 2000


def figures_of(config, sources):
    """Returns the figures by file name, and the reasons why others are missing."""
    train = sources.train
    name, names = config.data.name, train.class_names
    figures, not_drawn = {}, {}
    if train.kind == "images":
        figures["batch.png"] = _batch_figure(config, train)
        images, test_labels = _first_test_images(config, sources.test)
        figures["evaluation.png"] = plots.contact_sheet(
            images, test_labels, names, title=f"{name}: the first test images"
        )
    else:
        reason = f"the inputs are no images, but {train.kind}"
        not_drawn = {"batch.png": reason, "evaluation.png": reason}
    if view_augmentations(config, train)[-1] is None:
        not_drawn["same_images.png"] = "there is no augmentation"
    else:
        figures["same_images.png"] = _augmentation_figure(config, train)
    figures["classes.png"] = plots.class_count_figure(
        train.labels, names, train.clean_labels, title=f"{name}: training set"
    )
    if train.clean_labels is None:
        not_drawn["transition_matrix.png"] = "true labels are unknown"
    elif not np.any(train.clean_labels >= 0):
        not_drawn["transition_matrix.png"] = "no true label is one of the classes"
    elif len(names) > _MOST_MATRIX_CLASSES:
        not_drawn["transition_matrix.png"] = "there are too many classes"
    else:
        figures["transition_matrix.png"] = plots.transition_matrix_figure(
            train.record.transition_matrix(len(names)),
            names,
            title=f"{name}: {100 * train.realized_rate:.1f} % of the labels wrong",
        )
    return figures, not_drawn


def _first_training_images(config, source):
    """Returns the images of the first training batch, and their indices."""
    batches = training_batches(
        config,
        source,
        config.seed,
        batch_size=min(config.batch_size, _MOST_IMAGES),  # The order is the same.
        num_epochs=1,
        carry=["index"],
        # Files need not all be read for a few of them.
        cache=config.data.cache and source.read_image is None,
    )
    images, targets = next(iter(batches))
    # Mixed images are floats.
    return images.numpy().round().astype(np.uint8), targets["index"].numpy()


def _batch_figure(config, source):
    """Returns the contact sheet of the first batch."""
    images, indices = _first_training_images(config, source)
    clean_labels, legend = None, ""
    if source.clean_labels is not None:
        clean_labels = source.clean_labels[indices]
        legend = ", wrong labels in color (and the true one)"
    return plots.contact_sheet(
        images,
        source.labels[indices],
        source.class_names,
        clean_labels,
        title=f"{config.data.name}: the first batch{legend}",
    )


def _first_test_images(config, source):
    """Returns the first test images, as the network gets them, and their labels."""
    batches = evaluation_batches(
        config, source, batch_size=min(config.batch_size, _MOST_IMAGES), cache=False
    )
    images, labels = next(iter(batches))
    return images.numpy(), labels.numpy()


def _augmentation_figure(config, source):
    """Returns the first images of a data set, each augmented several times."""
    *_, augment = view_augmentations(config, source)  # The last view changes most.
    examples = list(source.dataset.take(_AUGMENTED_IMAGES))
    originals = [example["inputs"] for example in examples]
    # The seeds are not those of training: this shows the kind of change, no epoch.
    augmented = [
        [augment(image, [row, draw]).numpy() for draw in range(_AUGMENTATIONS)]
        for row, image in enumerate(originals)
    ]
    if source.is_encoded:
        originals = [decode(image, source.image_shape[-1]) for image in originals]
    return plots.augmentation_figure(
        [image.numpy() for image in originals],
        augmented,
        title=f"{config.data.name}: augmentation in training",
    )
