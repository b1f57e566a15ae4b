"""One training run of a config: from a seed to a model, its measures and its files."""

import json
import time

import keras
import numpy as np
import tensorflow as tf

from keras_ncr import assembly, workdir
from keras_ncr.callbacks import MemorizationMonitor
from keras_ncr.features import features_of
from keras_ncr.label_propagation import propagate_labels
from keras_ncr.methods import CoDivide


class NonFiniteLoss(RuntimeError):
    """The loss of a trial became infinite or NaN."""


class _FailAtNonFiniteLoss(keras.callbacks.Callback):
    """Ends a trial at the first loss that is not finite."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.check("loss", logs, f", step {batch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        # The last step may have ruined the weights, of which no training loss tells.
        self.check("val_loss", logs, ", on the test images")

    def check(self, name, logs, where):
        """Raises if a loss in the logs is infinite or NaN."""
        loss = (logs or {}).get(name, 0.0)
        if not np.isfinite(loss):
            raise NonFiniteLoss(
                f"The loss became {loss} in epoch {self.epoch + 1}{where}."
            )


class Trial:
    """One training run of a config, with a seed of its own."""

    def __init__(self, config, trial, sources, labels, folder):
        self.config = config
        self.trial = trial
        self.seed = config.seed + trial
        self.sources = sources
        self.labels = labels
        self.folder = workdir.trial_folder(folder, trial)

    def result(self, callbacks, verbose):
        """Returns the measures of the trial, which is run if it is not finished."""
        path = self.folder / "result.json"
        if path.exists():
            return json.loads(path.read_text())
        start = time.time()
        self.folder.mkdir(exist_ok=True)
        keras.utils.set_random_seed(self.seed)
        model = assembly.compiled_model(self.config, self.sources.train, self.seed)
        checkpoint = workdir.Checkpoint(self.folder / "checkpoint")
        first_epoch = checkpoint.restore(model)
        try:
            if first_epoch < self.config.epochs:
                self.fit(model, checkpoint, first_epoch, callbacks, verbose)
        except NonFiniteLoss as error:
            result = {"trial": self.trial, "seed": self.seed, "failed": str(error)}
            workdir.write_json(path, result)
            checkpoint.clear()
            return result
        with workdir.replacing(self.folder / "model.keras") as temporary:
            model.save(temporary)
        with workdir.replacing(self.folder / "confidence.npy") as temporary:
            np.save(temporary, self.confidence(model))
        result = {
            "trial": self.trial,
            "seed": self.seed,
            **self.measures(),
            **self.propagated(model),
            "final_tests": self.final_tests(model),
            # Of the part that came after the last interruption.
            "seconds": round(time.time() - start, 1),
            "resumed_at_epoch": first_epoch,
        }
        workdir.write_json(path, result)
        checkpoint.clear()
        return result

    def fit(self, model, checkpoint, first_epoch, callbacks, verbose):
        """Trains the model from an epoch on, and logs every epoch."""
        config, (train_source, test_source, *_) = self.config, self.sources
        method = assembly.method_of(config)
        batches = assembly.training_batches(
            config,
            train_source,
            self.labels.noisy_labels,
            self.seed,
            first_epoch=first_epoch,
        )
        test_batches = assembly.evaluation_batches(
            config, test_source, one_hot=method.is_one_hot
        )
        # Who knows no wrong labels cannot say which are memorized.
        monitors = (
            []
            if self.labels.is_noisy is None
            else [MemorizationMonitor(self.annotated_batches())]
        )
        history = self.folder / "history.csv"
        with workdir.history_logger(history, first_epoch) as logger:
            model.fit(
                batches,
                validation_data=test_batches,
                initial_epoch=first_epoch,
                epochs=config.epochs,
                steps_per_epoch=assembly.steps_per_epoch(config, train_source),
                shuffle=False,  # The pipeline does, and Keras warns that it does not.
                verbose=verbose,
                callbacks=[
                    _FailAtNonFiniteLoss(),
                    *self.callbacks_of_method(method),
                    # Adds to the logs that those below take up.
                    *monitors,
                    *callbacks,
                    keras.callbacks.TensorBoard(
                        self.folder / "tensorboard", write_graph=False
                    ),
                    logger,
                    # Last: an epoch that it knows of has been logged.
                    checkpoint,
                ],
            )

    def callbacks_of_method(self, method):
        """Returns what a model needs between epochs beside what `fit` adds itself."""
        if method.model != "divide_mix":
            return []
        return [CoDivide(self.annotated_batches())]

    def annotated_batches(self):
        """Returns the training images with annotated and clean labels, for a look."""
        return assembly.evaluation_batches(
            self.config,
            self.sources.train,
            labels=self.labels.noisy_labels,
            carry=("clean_label", "index"),
        )

    def confidence(self, model):
        """Returns the probability of each training example's annotated label."""
        confidence = np.empty(self.sources.train.num_examples, np.float32)
        for images, targets in self.annotated_batches():
            labels = targets["label"]
            # Under a strategy every replica predicts the whole batch.
            logits = model.predict_on_batch(images)[: len(labels)]
            probabilities = tf.nn.softmax(logits)
            confidence[targets["index"]] = tf.gather(
                probabilities, labels, batch_dims=1
            )
        return confidence

    def measures(self):
        """Returns accuracy in the last and in the best epoch, and what is memorized."""
        rows = workdir.read_history(self.folder / "history.csv")
        accuracies = [row["val_accuracy"] for row in rows]
        measures = {
            "last_test_accuracy": accuracies[-1],
            "best_test_accuracy": max(accuracies),
            "best_epoch": 1 + accuracies.index(max(accuracies)),
            "memorization_rate": rows[-1].get("memorization_rate"),
        }
        if self.config.top_5:
            measures["last_test_top_5_accuracy"] = rows[-1]["val_top_5_accuracy"]
        return measures

    def propagated(self, model):
        """Returns what the labels are worth once they have spread over the features."""
        if not assembly.method_of(self.config).is_propagated:
            return {}
        train_source, test_source, *_ = self.sources
        batches = self.annotated_batches()
        order = np.concatenate([targets["index"] for _, targets in batches])
        test_batches = assembly.evaluation_batches(self.config, test_source)
        test_labels = np.concatenate([labels for _, labels in test_batches])
        features = [features_of(model, part, 0) for part in (batches, test_batches)]
        annotated = self.labels.noisy_labels[order]
        scores = propagate_labels(
            np.concatenate(features),
            np.concatenate([annotated, np.full(len(test_labels), -1)]),
            train_source.num_classes,
            **self.config.label_propagation.to_dict(),
        )
        spread_labels = np.argmax(scores, axis=1)
        clean = self.labels.clean_labels
        is_right = spread_labels[len(order) :] == test_labels
        return {
            "propagated_test_accuracy": float(np.mean(is_right)),
            "propagated_label_accuracy": None
            if clean is None
            else float(np.mean(spread_labels[: len(order)] == clean[order])),
        }

    def final_tests(self, model):
        """Returns the accuracies on the further test splits, by split."""
        return {
            split: {
                name: value
                for name, value in model.evaluate(
                    assembly.evaluation_batches(
                        self.config,
                        source,
                        one_hot=assembly.method_of(self.config).is_one_hot,
                    ),
                    verbose=0,
                    return_dict=True,
                ).items()
                if name.endswith("accuracy")
            }
            for split, source in self.sources.final.items()
        }
