"""MILe: phases of given labels, and phases of what a copy of the network predicts."""

import math

import keras
import tensorflow as tf

from keras_ncr.checks import check_integer, check_rate
from keras_ncr.distribution.targets import label_of, weight_of
from keras_ncr.losses.labels import label_distributions
from keras_ncr.models.classifier_layer import refuse_classifier
from keras_ncr.models.ncr import NCRModel
from keras_ncr.models.weight_average import copy_of, copy_weights


@keras.saving.register_keras_serializable(package="keras_ncr")
class MILeModel(NCRModel):
    """Classifier of several labels an example, which it iterates from one (MILe).

    Each class has a sigmoid of its own. Training alternates between two phases of one
    network: `teacher_steps` on the given labels, and `student_steps` on all classes
    that a copy of the network, taken in between, finds probable:

        target_c = label_c    or    [sigmoid(logit_c of the copy) > threshold]
        loss = sum_c binary cross-entropy of sigmoid(logit_c) against target_c

    An example may so have several labels, or none: its given label is not added. The
    copy predicts as in evaluation.

    The loss is the model's own, so `compile` takes none. Evaluation reports plain
    cross-entropy, for which logits are taken as in any other classifier. Steps are
    counted by the optimizer: another `fit` goes on.

    It differs from the authors' code in that a phase has as many steps as it says,
    where theirs has one less, and in that the copy is kept, and saved, in the phases of
    given labels too. The authors train with a constant learning rate of 0.1 for a batch
    of 256, momentum 0.9 and weight decay 1e-4, for 200,000 steps on WebVision.

    Args:
        backbone: As in `NCRModel`.
        num_classes: As in `NCRModel`. There is no `classifier`: the model's own is a
            `Dense` layer with biases of `-log(num_classes)` at first, so that sigmoids
            start near `1 / num_classes`, as the authors have it.
        teacher_steps: Int, at least 1 (the paper's k_1): steps on given labels.
            Defaults to 2000, that of the released config.
        student_steps: Int, at least 1 (k_2): steps on predicted ones. Defaults to 2000,
            that of the released config.
        threshold: Float in [0, 1] (rho): how probable a class has to be. Defaults to
            0.5, that of the released config; it has to fit the data.
        consistency_loss: As in `NCRModel`.
        consistency_weight: As in `NCRModel`; above 0 the method is joined with NCR, of
            which MILe is then the classification loss. Defaults to 0.0.
        **kwargs: As in `NCRModel`, `warmup_epochs` for example.

    Raises:
        ValueError: If an argument is out of its range; in `compile`, for a loss.

    Reference:
        - [Rajeswar et al., 2022](https://arxiv.org/abs/2111.12172)

    Example:
    >>> backbone = keras.Sequential([keras.layers.Dense(16, activation="relu")])
    >>> model = keras_ncr.models.MILeModel(
    ...     backbone, num_classes=3, teacher_steps=2, student_steps=1
    ... )
    >>> model.compile(optimizer="sgd", metrics=["accuracy"])
    >>> x, y = np.random.default_rng(0).normal(size=(32, 5)), np.arange(32) % 3
    >>> history = model.fit(x, y, epochs=3, batch_size=16, verbose=0)
    >>> model.predict(x, verbose=0).shape
    (32, 3)
    """

    built_in_loss = "binary cross-entropy of each class"
    takes_unlabeled = False

    def __init__(
        self,
        backbone: keras.Layer,
        num_classes: int,
        teacher_steps: int = 2000,
        student_steps: int = 2000,
        threshold: float = 0.5,
        consistency_loss: keras.Layer | None = None,
        consistency_weight: float = 0.0,
        **kwargs,
    ):
        refuse_classifier(kwargs, "MILeModel", "has a sigmoid for each class")
        num_classes = check_integer(num_classes, "num_classes", minimum=2)
        start = keras.initializers.Constant(-math.log(num_classes))
        super().__init__(
            backbone,
            num_classes,
            consistency_loss=consistency_loss,
            consistency_weight=consistency_weight,
            classifier=keras.layers.Dense(
                num_classes, bias_initializer=start, dtype="float32", name="classifier"
            ),
            **kwargs,
        )
        self.teacher_steps = check_integer(teacher_steps, "teacher_steps", minimum=1)
        self.student_steps = check_integer(student_steps, "student_steps", minimum=1)
        self.threshold = check_rate(threshold, "threshold")
        self.teacher = copy_of(self.own_network())

    def build(self, input_shape):
        super().build(input_shape)
        self.teacher.build(input_shape)
        # Once more, for layers that were not there before.
        self.teacher.trainable = False

    def cycle_step(self):
        """Returns the number of the step, from 0, in a cycle of both phases."""
        steps = tf.convert_to_tensor(self.optimizer.iterations)
        return steps % (self.teacher_steps + self.student_steps)

    def batch_objective(self, x, y, sample_weight=None):
        """Returns the objective of `NCRModel`, once the teacher is there."""
        if not self.built:
            self(x)
        is_due = self.cycle_step() == self.teacher_steps
        copy_weights(self.backbone, self.teacher.backbone, is_due)
        copy_weights(self.classifier, self.teacher.classifier, is_due)
        return super().batch_objective(x, y, sample_weight)

    def supervised_loss(self, x, y, features, logits, sample_weight=None):
        """Returns this replica's share of MILe's loss, with `self.losses`."""
        # Read before the teacher adds its own.
        additional = self.additional_loss()
        labels = tf.cast(tf.convert_to_tensor(label_of(y)), "float32")
        labels = label_distributions(labels, logits)
        targets = tf.cond(
            self.cycle_step() < self.teacher_steps,
            lambda: labels,
            lambda: self.predicted_labels(x),
        )
        each = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
        share = self.mean_share(tf.reduce_sum(each, axis=1), weight_of(sample_weight))
        return share + tf.cast(additional, share.dtype)

    def predicted_labels(self, x):
        """Returns 1 for the classes that the teacher finds probable, 0 for others."""
        probabilities = tf.sigmoid(self.teacher(x, training=False))
        return tf.cast(probabilities > self.threshold, "float32")

    def get_config(self):
        config = super().get_config()
        del config["classifier"]
        return config
