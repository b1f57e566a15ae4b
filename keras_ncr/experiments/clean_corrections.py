"""What a review decided, put on the data of `keras-ncr clean`; and a classifier."""

import os
import pathlib

import keras
import numpy as np

from keras_ncr.experiments.clean import Clean
from keras_ncr.files import replacing, write_json
from keras_ncr.models.head import train_head
from keras_ncr.review import read_corrections
from keras_ncr.review.export import write_table


def correct(clean: Clean, path: str | os.PathLike) -> str:
    """Writes the corrected labels and a classifier that was trained on them.

    `classifier.keras` is network and head in one, from raw inputs to logits. Accuracies
    are those of folds. Nothing is written if the corrections are not of these labels.
    """
    source = clean.source
    corrections = read_corrections(path)
    corrected = corrections.apply(source)
    features = clean.features()
    left = set(corrected.ids.tolist())
    kept = np.flatnonzero([example in left for example in source.ids.tolist()])
    before = clean.probabilities(features, source)[kept]
    table = _write_table(corrected, clean)
    rows = features
    if features is not None and len(kept) < len(features):
        rows = np.array(features[kept])
    after = clean.probabilities(rows, corrected)
    if clean.settings.trains_network:
        model = clean.training.train(corrected)
    else:
        labels = corrected.labels
        model = train_head(rows, labels, source.num_classes, settings=clean.head)
    file = clean.folder / "classifier.keras"
    with replacing(file) as temporary:
        classifier_of(model, clean).save(temporary)
    names = list(source.class_names)
    write_json(clean.folder / "classes.json", {"class_names": names})
    shares = [
        100 * np.mean(probabilities.argmax(axis=1) == corrected.labels)
        for probabilities in (before, after)
    ]
    counts = ", ".join(f"{n} {action}" for action, n in corrections.counts.items())
    return "\n".join(
        [
            f"{source.name}: {counts}. {corrected.num_examples:,} "
            f"{clean.data.words} are left.",
            "Accuracy on the corrected labels, by folds: trained on the labels as they "
            f"were {shares[0]:.1f} %, as corrected {shares[1]:.1f} %.",
            f"Corrected labels: {table}",
            f"Classifier: {file}, its classes: {clean.folder / 'classes.json'}",
            "In Python: import keras, keras_ncr; "
            f"keras.models.load_model({str(file)!r}).predict(...)",
        ]
    )


def classifier_of(model: keras.Model, clean: Clean) -> keras.Model:
    """Returns one model from raw inputs to logits: the network, and a head."""
    if clean.network is None:
        features = inputs = keras.Input(model.backbone.input_shape[1:])
    elif clean.source.kind != "images":
        inputs, features = clean.network.input, clean.network.output
    else:
        size, channels = clean.settings.image_size, clean.source.image_shape[-1]
        inputs = keras.Input((None, None, channels), name="pixels")
        square = keras.layers.Resizing(
            size, size, crop_to_aspect_ratio=True, antialias=True
        )
        features = square(inputs)
        if not clean.settings.trains_network:
            features = _averaged(clean.network(features))
    logits = model.classifier(_averaged(model.backbone(features)))
    return keras.Model(inputs, logits, name="classifier")


def _averaged(features):
    """Returns features; those of a feature map are averaged."""
    if len(features.shape) == 4:
        return keras.layers.GlobalAveragePooling2D()(features)
    return features


def _write_table(corrected, clean):
    """Writes the corrected labels in place of those of an earlier review."""
    for suffix in (".csv", ".parquet"):
        (clean.folder / f"corrected{suffix}").unlink(missing_ok=True)
    path = pathlib.Path(clean.folder, "corrected.csv")
    try:
        write_table(corrected, path, clean.data.folder, clean.data.names)
    except ValueError:  # Names of classes that are no names in a CSV file.
        path = path.with_suffix(".parquet")
        write_table(corrected, path, clean.data.folder, clean.data.names)
    return path
