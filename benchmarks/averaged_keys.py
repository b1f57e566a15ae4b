"""A queue whose past examples are as an averaged network sees them, against NCR's own.

    python benchmarks/averaged_keys.py --seeds=3

Past examples keep the features and predictions of the step that saw them. Those of an
averaged network change more slowly, as in MoCo. Data, network and training are those of
batch_size.py, with batches of 32 and a queue of 992; printed is the test accuracy of
the last epoch.
"""

import argparse
import statistics

import keras
import tensorflow as tf
from batch_size import trained_model, two_digit_numbers

import keras_ncr
from keras_ncr.losses import neighbors
from keras_ncr.losses.consistency import consistency, log_softmax
from keras_ncr.models.weight_average import copy_of, decay_at, move_average


class AveragedKeysModel(keras_ncr.NCRModel):
    """NCR whose queue is filled by a moving average of the network."""

    decay = 0.99

    def fit(self, x, *args, **kwargs):
        self(x[:1])
        average = copy_of(self)
        average(x[:1])
        # It is no layer of this model, whose weights Keras would count.
        object.__setattr__(self, "average", average)
        return super().fit(x, *args, **kwargs)

    def batch_objective(self, x, y, sample_weight=None):
        features, logits = self.average(x, training=False, return_features=True)
        temperature = self.consistency_loss.temperature
        self.keys = neighbors.Pool(
            neighbors.unit_vectors(features), log_softmax(logits / temperature)
        )
        return super().batch_objective(x, y, sample_weight)

    def consistency_of(self, features, logits, training=True):
        queue = self if training else None
        return consistency(features, logits, self.consistency_loss.settings, queue)

    def appended_to(self, pool):
        """Returns the pool with the past, as a queue does."""
        return self.consistency_loss.queue.appended_to(pool)

    def add(self, pool):
        """Fills the queue with the batch as the averaged network sees it."""
        self.consistency_loss.queue.add(self.keys)

    def train_step(self, data):
        logs = super().train_step(data)
        decay = decay_at(self.optimizer.iterations, self.decay)
        move_average(self.average, self, tf.convert_to_tensor(decay))
        return logs


def main():
    """Trains each row, and prints mean and deviation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    train, test = two_digit_numbers()
    rows = {"own keys": keras_ncr.NCRModel, "averaged keys": AveragedKeysModel}
    for name, model_class in rows.items():
        accuracies = []
        for seed in range(arguments.seeds):
            model = trained_model(
                train, 0.9, 992, 32, arguments.epochs, seed, model_class
            )
            logits = model.predict(test.images, verbose=0)
            hits = keras.ops.argmax(logits, axis=1) == test.labels
            accuracies.append(100 * float(keras.ops.mean(hits)))
            print(f"{name}, seed {seed}: {accuracies[-1]:.1f} %", flush=True)
        deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        print(f"{name}: {statistics.mean(accuracies):.1f} ± {deviation:.1f} %")


if __name__ == "__main__":
    main()
