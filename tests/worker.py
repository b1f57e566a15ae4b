"""One of several processes that train together, or the only one of them.

python worker.py FOLDER

Trains models on the same data, and writes what came of it into FOLDER.
"""

import functools
import json
import os
import pathlib
import sys
import warnings

import tensorflow as tf

# First of all: TensorFlow wants to know of other machines before it is used.
strategy = tf.distribute.get_strategy()
place = "alone"
if "TF_CONFIG" in os.environ:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    place = json.loads(os.environ["TF_CONFIG"])["task"]["index"]

import keras  # noqa: E402  After the strategy, as the comment above says.
import numpy as np  # noqa: E402  As the one above.

import keras_ncr  # noqa: E402  As the one above.
from keras_ncr.distribution import workers  # noqa: E402  As the one above.

warnings.filterwarnings("error", module="keras_ncr")
X = np.random.default_rng(0).normal(size=(67, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 67)


def network():
    return keras.Sequential([keras.layers.Dense(8, activation="relu")])


def ncr_model():
    return keras_ncr.NCRModel(network(), 3, consistency_weight=0.5)


def plain_model():
    inputs = keras.Input((5,))
    outputs = keras.layers.Dense(3)(network()(inputs))
    return keras_ncr.distribution.MultiWorkerClassifier(inputs, outputs)


def compiled(make):
    keras.utils.set_random_seed(1)
    model = make()
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def trained(make, x, y=None, **options):
    """Returns what a model learned and what it says, as arrays by name."""
    model = compiled(make)
    validation = X[:35], Y[:35]
    history = model.fit(
        x, y, epochs=2, verbose=0, validation_data=validation, **options
    ).history
    test = tf.data.Dataset.from_tensor_slices(X[:37]).batch(32)
    return {
        **{f"history/{key}": value for key, value in history.items()},
        "evaluated": model.evaluate(*validation, batch_size=20, verbose=0),
        "predicted": model.predict(X[:37], batch_size=32, verbose=0),
        "predicted of a dataset": model.predict(test, verbose=0),
        "called": model(X[:37]).numpy(),
        **{
            f"weight/{number}": weight
            for number, weight in enumerate(model.get_weights())
        },
    }


def on_batches():
    """Returns what a model says of a batch, all of which each replica is given."""
    model = compiled(ncr_model)
    said = {
        "tested": model.test_on_batch(X[:8], Y[:8]),
        "predicted": model.predict_on_batch(X[:8])[:8],
    }
    assert np.isfinite(model.train_on_batch(X[:8], Y[:8])).all()
    return said


def normalized():
    """Returns what a model with batch normalization learned and says."""
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(momentum=0.5)]
    model = compiled(lambda: keras_ncr.NCRModel(keras.Sequential(layers), 3))
    model.fit(X, Y, batch_size=32, verbose=0)
    weights = model.get_weights()
    return {
        "predicted": model.predict(X[:37], verbose=0),
        **{f"weight/{number}": weight for number, weight in enumerate(weights)},
    }


def synchronized():
    """Returns what a model on one of our backbones learned and says."""
    pixels = (40 * X + 120).reshape(67, 5, 1, 1).astype("uint8")
    backbone = functools.partial(keras_ncr.backbones.mlp, (5, 1, 1), hidden=(8, 4))
    model = compiled(lambda: keras_ncr.NCRModel(backbone(), 3, consistency_weight=0.5))
    model.fit(pixels, Y, batch_size=32, epochs=2, verbose=0)
    weights = model.get_weights()
    return {
        "predicted": model.predict(pixels[:37], verbose=0),
        **{f"weight/{number}": weight for number, weight in enumerate(weights)},
    }


def indices(dataset):
    """Returns the examples that this process gets of each batch."""
    parts = strategy.experimental_distribute_dataset(dataset)
    return [
        strategy.experimental_local_results(index)[0].numpy().tolist()
        for index in parts
    ]


def main(folder):
    # The last batches of an epoch cannot be shared out evenly, but for the plain model,
    # of which Keras weighs unequal parts alike.
    batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(32)
    even_batches = tf.data.Dataset.from_tensor_slices((X[:66], Y[:66])).batch(32)
    with strategy.scope():
        results = {
            "ncr": trained(ncr_model, batches),
            "elr": trained(lambda: keras_ncr.ELRModel(network(), 3), X, Y),
            "plain": trained(plain_model, even_batches),
            "on_batches": on_batches(),
            "normalized": normalized(),
            "synchronized": synchronized(),
        }
        source, _ = keras_ncr.datasets.digits()
        batches = keras_ncr.pipelines.training_batches(
            source, 32, num_epochs=1, carry=["index"], examples_per_epoch=67
        )
        read = {
            "pipeline": indices(batches.map(lambda _, targets: targets["index"])),
            "dataset": indices(tf.data.Dataset.range(67).batch(32)),
            "whole": [batch["index"].numpy().tolist() for _, batch in batches],
        }
        read["is_chief"] = workers.is_chief()
        read["has_other_workers"] = workers.has_other_workers()
        read["are_alike"] = [workers.are_alike(2, 7), workers.are_alike(2, place)]
    for name, arrays in results.items():
        np.savez(folder / f"{name}-{place}.npz", **arrays)
    (folder / f"read-{place}.json").write_text(json.dumps(read))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
