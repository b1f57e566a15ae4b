"""What happens between epochs: warm-up, and a look at what has been memorized."""

import keras

from keras_ncr.checks import check_integer, check_rate
from keras_ncr.metrics import MemorizationRate


class ConsistencyWarmup(keras.callbacks.Callback):
    """Sets an `NCRModel`'s weight of the consistency loss as an epoch begins.

    `NCRModel.fit` adds one by itself. Pass a subclass with a `weight_at` of your own,
    in [0, 1], for another course of the weight over the epochs.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Section 4.1: the
          first e epochs without the term.

    Example:
    >>> class LinearRamp(keras_ncr.callbacks.ConsistencyWarmup):
    ...     def weight_at(self, epoch):
    ...         return self.model.consistency_weight * min(1.0, (epoch + 1) / 10)
    """

    def weight_at(self, epoch):
        """Returns the weight in `epoch`, counted from 0: 0 during warm-up."""
        is_warm = epoch >= self.model.warmup_epochs
        return self.model.consistency_weight if is_warm else 0.0

    def on_epoch_begin(self, epoch, logs=None):
        weight = check_rate(float(self.weight_at(epoch)), "weight_at(epoch)")
        if weight > 0 and self.model.consistency_weight == 0:
            raise ValueError(
                "`weight_at(epoch)` must be 0 for a model with consistency_weight=0, "
                f"which leaves the term out. Received: weight_at({epoch})={weight}. "
                "Give the model the largest weight that is to come."
            )
        self.model.current_consistency_weight.assign(weight)


def with_warmup(callbacks, model):
    """Returns the callbacks of `fit`, with one that takes care of the warm-up."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        if not has_warmup(callbacks.callbacks):
            warmup = ConsistencyWarmup()
            warmup.set_model(model)
            callbacks.callbacks.append(warmup)
        return callbacks
    callbacks = keras.tree.flatten(callbacks) if callbacks else []
    if has_warmup(callbacks):
        return callbacks
    return [ConsistencyWarmup(), *callbacks]


def has_warmup(callbacks):
    """Whether one of the callbacks sets the consistency weight already."""
    return any(isinstance(callback, ConsistencyWarmup) for callback in callbacks)


class MemorizationMonitor(keras.callbacks.Callback):
    """Adds `memorization_rate` to the logs of every epoch.

    It runs the model over the training images once more, as in evaluation, at the cost
    of one forward pass per epoch. `History`, `CSVLogger` and TensorBoard take the value
    up where they come later in the list of callbacks.

    Args:
        dataset: `tf.data.Dataset` of batches `(inputs, {"label": ..., "clean_label":
            ...})`, the annotated and the true labels, ints of shape `(batch,)`.
        every: Int. Epochs between two looks. The value is repeated in between, since
            loggers want the same keys in every epoch. Defaults to 1.

    Example:
    >>> images = np.zeros((4, 2), "float32")
    >>> labels = {"label": np.array([0, 1, 0, 1]), "clean_label": np.zeros(4, int)}
    >>> dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)
    >>> monitor = keras_ncr.callbacks.MemorizationMonitor(dataset)
    """

    def __init__(self, dataset, every=1):
        super().__init__()
        check_carries_clean_labels(dataset)
        self.dataset = dataset
        self.every = check_integer(every, "every", minimum=1)
        self.metric = MemorizationRate()

    def on_train_begin(self, logs=None):
        self.has_looked = False

    def on_epoch_end(self, epoch, logs=None):
        is_last = epoch + 1 == self.params.get("epochs")
        if epoch % self.every == 0 or is_last or not self.has_looked:
            self.look()
        if logs is not None:
            logs[self.metric.name] = float(self.metric.result())

    def look(self):
        """Computes the rate anew, over the whole dataset."""
        self.has_looked = True
        self.metric.reset_state()
        for inputs, labels in self.dataset:
            logits = self.model.predict_on_batch(inputs)
            # Under a strategy every replica predicts the whole batch.
            logits = logits[: len(labels["label"])]
            self.metric.update_state(labels["label"], logits, labels["clean_label"])


def check_carries_clean_labels(dataset):
    """Raises unless the batches of a dataset tell the annotated and the true label."""
    spec = getattr(dataset, "element_spec", None)
    labels = spec[1] if isinstance(spec, tuple) and len(spec) == 2 else None
    if not isinstance(labels, dict) or not {"label", "clean_label"} <= labels.keys():
        raise ValueError(
            "`dataset` must be a tf.data.Dataset of batches "
            '(inputs, {"label": ..., "clean_label": ...}). Received: '
            f"{dataset!r}. `keras_ncr.pipelines.evaluation_batches` makes one, with "
            'carry=["clean_label"].'
        )
