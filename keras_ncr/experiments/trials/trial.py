"""One training run of a config: from a seed to a model, its measures and its files."""

import contextlib
import math
import time

import keras
import numpy as np
import tensorflow as tf

from keras_ncr.distribution import workers
from keras_ncr.experiments import workdir
from keras_ncr.experiments.batches import (
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from keras_ncr.experiments.labels import grade, verify
from keras_ncr.experiments.methods import method_of
from keras_ncr.experiments.model import compiled_model
from keras_ncr.experiments.schedule import learning_rate_schedule
from keras_ncr.experiments.trials import interruption
from keras_ncr.experiments.trials.checkpoint import Checkpoint
from keras_ncr.experiments.trials.checkpoint_files import Position
from keras_ncr.experiments.trials.finished import finished_result
from keras_ncr.experiments.trials.logs import TensorBoard, history_logger
from keras_ncr.experiments.trials.non_finite import FailAtNonFiniteLoss, NonFiniteLoss
from keras_ncr.features.extraction import features_of
from keras_ncr.features.label_propagation import propagate_labels
from keras_ncr.files import replacing, write_json
from keras_ncr.models.mean_predictions import MeanPredictions
from keras_ncr.models.metrics import MemorizationMonitor


class Trial:
    """One training run of a config, with a seed of its own."""

    def __init__(self, config, trial, sources, folder):
        self.config = config
        self.trial = trial
        self.seed = config.seed + trial
        self.sources = sources
        # With examples without a label behind those that have one.
        self.trained_on = sources.trained_on
        self.folder = workdir.trial_folder(folder, trial)

    def result(self, callbacks, verbose):
        """Returns the measures of the trial, after running it if it is not finished.

        All workers of a run compute. The first writes and returns the measures, the
        others return `None`.
        """
        path = self.folder / "result.json"
        result, gone = finished_result(
            self.folder, self.config.epochs, self.sources.train.num_examples
        )
        is_finished = result is not None and not gone
        if not workers.are_alike(is_finished):
            raise ValueError(
                "`workdir` must be one folder that all workers can read. Received: "
                f"{self.folder.parent}, in which trial {self.trial} is finished for "
                "some of them alone. Pass one that is on a shared disk."
            )
        checkpoint = Checkpoint(
            self.folder / "checkpoint",
            self.steps_per_epoch,
            self.config.checkpoint_seconds,
        )
        if is_finished:
            if not workers.is_chief():
                return None
            checkpoint.files.clear()  # The run may have ended just before.
            return result
        if gone and workers.is_chief():
            if verbose:
                print(f"{self.folder} lacks {', '.join(gone)}: it is trained again.")
            path.unlink()
        start, cpu_start = time.monotonic(), time.process_time()
        keras.utils.set_random_seed(self.seed)
        model = compiled_model(self.config, self.trained_on, self.seed)
        verify(self.config, self.trained_on, model)
        grade(self.config, self.trained_on, model)
        if self.keeps_means:
            self.mean_predictions().attach(model)
        position = checkpoint.restore(model, self.test_batches())
        try:
            if position.epoch < self.config.epochs:
                self.fit(model, checkpoint, callbacks, verbose)
            result = self.measured(model)
        except NonFiniteLoss as error:
            result = {"failed": str(error), "failed_at": error.place}
        if not workers.is_chief():
            return None
        result = {"trial": self.trial, "seed": self.seed, **result}
        if "failed" not in result:
            # Since the last interruption.
            result["seconds"] = round(time.monotonic() - start, 1)
            # The time of all cores together.
            result["cpu_seconds"] = round(time.process_time() - cpu_start, 1)
            result["resumed_at_epoch"] = position.epoch
            result["resumed_at_step"] = position.step
        write_json(path, result)
        checkpoint.files.clear()
        return result

    def fit(self, model, checkpoint, callbacks, verbose):
        """Trains the model from where the checkpoint is, and logs every epoch."""
        position = checkpoint.start
        # Memorization needs clean labels.
        monitors = []
        if self.sources.train.is_noisy is not None:
            monitors = [MemorizationMonitor(self.annotated_batches())]
        with (
            interruption.noted() as checkpoint.request,
            self.loggers(position.epoch) as loggers,
        ):
            model.fit(
                self.training_batches(position),
                validation_data=self.test_batches(),
                initial_epoch=position.epoch,
                epochs=self.config.epochs,
                steps_per_epoch=self.steps_per_epoch,
                shuffle=False,  # The pipeline shuffles, and Keras would warn.
                verbose=verbose if workers.is_chief() else 0,
                callbacks=[
                    self.fail_at_non_finite_loss(),
                    *self.callbacks_of_method(),
                    *([model.mean_predictions] if self.keeps_means else []),
                    # Adds to the logs that the loggers below write.
                    *monitors,
                    *callbacks,
                    *loggers,
                    # Last: an epoch that it saves has been logged.
                    checkpoint,
                ],
            )

    def measured(self, model):
        """Keeps the trained model and its confidences, and returns its measures."""
        confidence = self.confidence(model)
        measures = {**self.propagated(model), "final_tests": self.final_tests(model)}
        if not workers.is_chief():
            model.save(self.folder / "model.keras")  # Which the chief alone keeps.
            return measures
        with replacing(self.folder / "model.keras") as temporary:
            model.save(temporary)
        with replacing(self.folder / "confidence.npy") as temporary:
            np.save(temporary, confidence)
        if self.keeps_means:
            ids = self.sources.train.ids  # Of those that have a label.
            means = model.mean_predictions.means()[: len(ids)].astype("float16")
            with replacing(self.folder / "mean_predictions.npz") as temporary:
                np.savez(temporary, ids=ids, means=means)
        if getattr(model, "outlier_rejection", None) is not None:
            ids = self.sources.train.ids
            with replacing(self.folder / "outlier_scores.npz") as temporary:
                np.savez(temporary, ids=ids, scores=model.outlier_scores()[: len(ids)])
        return {**self.measures(), **measures}

    @property
    def keeps_means(self):
        """Whether the examples' mean predictions are kept, for an audit."""
        is_one = tf.distribute.get_strategy().num_replicas_in_sync == 1
        return is_one and method_of(self.config).has_mean_predictions

    def mean_predictions(self):
        """Returns the callback that keeps them, from the end of warm-up on."""
        train, optimizer = self.trained_on, self.config.optimizer
        # The first epoch begins with what random weights say.
        first = max(math.ceil(optimizer.warmup_epochs), 1)
        first = min(first, self.config.epochs - 1)
        return MeanPredictions(train.num_examples, train.num_classes, first)

    @property
    def steps_per_epoch(self):
        """The number of batches in an epoch."""
        return steps_per_epoch(self.config, self.trained_on)

    def training_batches(self, position, **options):
        """Returns the batches from a position on, as `fit` wants them."""
        if self.keeps_means:
            options.setdefault("carry", ("index",))
        batches = training_batches(
            self.config,
            self.trained_on,
            self.seed,
            first_epoch=position.epoch,
            first_step=position.step,
            **options,
        )
        if position.step:
            # Keras counts the skipped steps too, and would stop as many before the end.
            # A filter makes the number of batches unknown.
            batches = batches.filter(lambda *batch: True)
        return batches

    def test_batches(self, source=None):
        """Returns the batches of a source to evaluate on, the test data by default."""
        is_one_hot = method_of(self.config).needs("one_hot")
        source = source or self.sources.test
        return evaluation_batches(self.config, source, one_hot=is_one_hot)

    @contextlib.contextmanager
    def loggers(self, first_epoch):
        """Yields the callbacks that write logs: none on workers after the first."""
        if not workers.is_chief():
            yield []
            return
        self.folder.mkdir(exist_ok=True)
        with history_logger(self.folder / "history.csv", first_epoch) as logger:
            yield [TensorBoard(self.folder / "tensorboard"), logger]

    def fail_at_non_finite_loss(self):
        """Returns the callback that ends the trial at a loss that is not finite."""
        return FailAtNonFiniteLoss(
            self.steps_per_epoch,
            learning_rate_schedule(self.config, self.steps_per_epoch),
            self.examples_at,
        )

    def examples_at(self, epoch, step):
        """Returns the indices of the examples of one batch, and their ids if words."""
        # The batch is a function of the seed and the step, so it can be made again.
        batches = self.training_batches(
            Position(epoch, step), batch_augment=None, carry=("index",)
        )
        _, targets = next(iter(batches))
        indices = np.asarray(targets["index"])
        ids = np.asarray(self.trained_on.ids)
        has_words = ids.dtype.kind not in "iu"
        return {
            "indices": indices.tolist(),
            **({"ids": ids[indices].tolist()} if has_words else {}),
        }

    def callbacks_of_method(self):
        """Returns the callbacks that the method needs between epochs."""
        make = method_of(self.config).row.between_epochs
        return [make(self.annotated_batches())] if make else []

    def annotated_batches(self):
        """Returns the training images in one pass, with labels and clean labels."""
        return evaluation_batches(
            self.config, self.sources.train, carry=("clean_label", "index")
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
        """Returns the accuracy of the last and best epoch, and the share memorized."""
        path = self.folder / "history.csv"
        rows = workdir.read_history(path, self.config.epochs)
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
        """Returns accuracies after label propagation, if the method has it."""
        if "label_propagation" not in method_of(self.config).words:
            return {}
        train, test, *_ = self.sources
        batches = self.annotated_batches()
        order = np.concatenate([targets["index"] for _, targets in batches])
        test_batches = evaluation_batches(self.config, test)
        test_labels = np.concatenate([labels for _, labels in test_batches])
        features = [features_of(model, part, 0) for part in (batches, test_batches)]
        scores = propagate_labels(
            np.concatenate(features),
            np.concatenate([train.labels[order], np.full(len(test_labels), -1)]),
            train.num_classes,
            **self.config.label_propagation.to_dict(),
        )
        spread_labels = np.argmax(scores, axis=1)
        is_right = spread_labels[len(order) :] == test_labels
        return {
            "propagated_test_accuracy": float(np.mean(is_right)),
            "propagated_label_accuracy": None
            if train.clean_labels is None
            else float(
                np.mean(spread_labels[: len(order)] == train.clean_labels[order])
            ),
        }

    def final_tests(self, model):
        """Returns the accuracies on the further test splits, by split."""
        return {
            split: {
                name: value
                for name, value in model.evaluate(
                    self.test_batches(source), verbose=0, return_dict=True
                ).items()
                if name.endswith("accuracy")
            }
            for split, source in self.sources.final.items()
        }
