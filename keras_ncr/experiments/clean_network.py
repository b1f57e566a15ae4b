"""The networks of `keras-ncr clean`, and whole ones trained in folds."""

import dataclasses
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf

import keras_ncr
from keras_ncr.backbones import (
    encoded_columns,
    latent_semantics,
    pretrained,
    text_encoder,
)
from keras_ncr.backbones.pretrained import HUB
from keras_ncr.datasets import Source
from keras_ncr.datasets.split import stratified_folds
from keras_ncr.features.feature_cache import content_hash
from keras_ncr.files import replacing
from keras_ncr.models import ELRModel
from keras_ncr.pipelines import (
    central_crop,
    evaluation_batches,
    random_resized_crop,
    steps_per_epoch,
    training_batches,
)

# Steps after which it is said how long all of them take.
_TIMED_STEPS = 5


@dataclasses.dataclass(frozen=True)
class NetworkTraining:
    """How a whole network is trained on pictures, by NCR with ELR, from its weights."""

    network: keras.Model
    image_size: int
    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    verbose: int

    def train(self, source: Source, callbacks=()) -> keras.Model:
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
            callbacks=list(callbacks),
            verbose=self.verbose,
        )
        return model

    def probabilities(self, source, num_folds, folder, tell=None) -> np.ndarray:
        """Returns out-of-sample probabilities; a fold that is there is not trained."""
        # `tell` is called in the first training, with the seconds that all will take.
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
                left = num_folds - number + 1
                estimate, tell = _Estimate(self.epochs * left, tell), None
                model = self.train(source.subset(kept), [estimate])
                batches = evaluation_batches(
                    source.subset(held_out), self.batch_size, prepare=prepare
                )
                logits = model.predict(batches, verbose=self.verbose)
                with replacing(path) as temporary:
                    np.save(temporary, tf.nn.softmax(logits).numpy())
            found[held_out] = np.load(path)
        return found


class _Estimate(keras.callbacks.Callback):
    """Tells, after the first steps, how long many epochs take."""

    def __init__(self, num_epochs, tell):
        super().__init__()
        self.num_epochs, self.tell, self.start = num_epochs, tell, None

    def on_train_batch_end(self, batch, logs=None):
        if self.start is None:  # The first step is compiled.
            self.start = time.monotonic()
        elif self.tell and (batch >= _TIMED_STEPS or batch + 1 == self.params["steps"]):
            each = (time.monotonic() - self.start) / batch
            self.tell(each * self.params["steps"] * self.num_epochs)
            self.tell = None


def network_of(source: Source, settings, folder: pathlib.Path) -> keras.Model:
    """Returns the network from the inputs of a source to features."""
    # One made of texts or columns is kept in `folder`: features stay the same.
    keras.utils.set_random_seed(settings.seed)  # Of "scratch".
    if source.kind == "images":
        size = settings.image_size
        return pretrained(settings.backbone, (size, size, source.image_shape[-1]))
    if settings.backbone.startswith(HUB):
        return text_encoder(settings.backbone.removeprefix(HUB))
    path = folder / f"{content_hash(source)}-{keras_ncr.__version__}.keras"
    if path.exists():
        return keras.models.load_model(path)
    make = latent_semantics if source.kind == "text" else encoded_columns
    network = make(source.stored_inputs)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        network.save(temporary)
    return network
