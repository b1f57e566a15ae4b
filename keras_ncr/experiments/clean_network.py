"""Whole networks trained in folds, where `keras-ncr clean` is told to train all."""

import dataclasses
import pathlib

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.datasets import Source
from keras_ncr.datasets.split import stratified_folds
from keras_ncr.files import replacing
from keras_ncr.models import ELRModel
from keras_ncr.pipelines import (
    central_crop,
    evaluation_batches,
    random_resized_crop,
    steps_per_epoch,
    training_batches,
)


@dataclasses.dataclass(frozen=True)
class NetworkTraining:
    """How a whole network is trained on pictures, by NCR with ELR.

    Args:
        network: Keras model from pictures to features: what each training starts from.
        image_size: Int: pictures are squares of so many pixels.
        epochs: Int, at least 1.
        learning_rate: Positive float, of Adam; it falls to 0 as a cosine.
        batch_size: Int, at least 1.
        seed: Int, at least 0.
        verbose: As in `keras.Model.fit`.

    Example:
    >>> from keras_ncr.experiments.clean_network import NetworkTraining
    >>> network = keras_ncr.backbones.mlp((8, 8, 1))
    >>> NetworkTraining(network, 8, 1, 1e-3, 64, seed=0, verbose=0).epochs
    1
    """

    network: keras.Model
    image_size: int
    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    verbose: int

    def train(self, source: Source) -> keras.Model:
        """Returns an `ELRModel` that was trained on a source; the network stays."""
        copy = keras.models.clone_model(self.network)
        copy.set_weights(self.network.get_weights())
        copy.trainable = True
        batch_size = min(self.batch_size, source.num_examples)
        num_steps = steps_per_epoch(source.num_examples, batch_size)
        channels = source.image_shape[-1]
        model = ELRModel(copy, source.num_classes, source.num_examples)
        model.compile(
            keras.optimizers.Adam(
                keras.optimizers.schedules.CosineDecay(
                    self.learning_rate, self.epochs * num_steps
                )
            ),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        batches = training_batches(
            source,
            batch_size,
            augment=random_resized_crop(self.image_size, 0.3, channels=channels),
            seed=self.seed,
            num_epochs=self.epochs,
            carry=("index",),
        )
        model.fit(
            batches,
            epochs=self.epochs,
            steps_per_epoch=num_steps,
            shuffle=False,
            verbose=self.verbose,
        )
        return model

    def probabilities(self, source, num_folds, folder) -> np.ndarray:
        """Returns out-of-sample probabilities; a fold that is there is not trained."""
        folds = stratified_folds(source.labels, num_folds, self.seed)
        found = np.zeros((source.num_examples, source.num_classes), "float32")
        prepare = central_crop(
            self.image_size, channels=source.image_shape[-1], method="bilinear"
        )
        for number, (kept, held_out) in enumerate(folds, start=1):
            path = pathlib.Path(folder, f"fold-{number}.npy")
            if not path.exists():
                if self.verbose:
                    print(f"Fold {number} of {num_folds}")
                model = self.train(source.subset(kept))
                batches = evaluation_batches(
                    source.subset(held_out), self.batch_size, prepare=prepare
                )
                logits = model.predict(batches, verbose=self.verbose)
                with replacing(path) as temporary:
                    np.save(temporary, tf.nn.softmax(logits).numpy())
            found[held_out] = np.load(path)
        return found
