"""The model of a run: network and method, compiled."""

from typing import NamedTuple

import keras
import ml_collections
import tensorflow as tf

from keras_ncr import backbones, datasets, losses, models
from keras_ncr.backbones.applications import application_names
from keras_ncr.distribution import MultiWorkerClassifier
from keras_ncr.experiments.batches import input_shape, steps_per_epoch
from keras_ncr.experiments.config import WITH_STEM
from keras_ncr.experiments.methods import Method, method_of
from keras_ncr.experiments.schedule import optimizer
from keras_ncr.losses import NeighborConsistencyLoss
from keras_ncr.models.ncr import NCRModel, classifier_layer

# The networks of the package.
BACKBONES = {
    "small_cnn": backbones.small_cnn,
    "mlp": backbones.mlp,
    "resnet18": backbones.resnet18,
    "resnet34": backbones.resnet34,
    "resnet50": backbones.resnet50,
    "preact_resnet18": backbones.preact_resnet18,
}


def compiled_model(config, source, seed=0):
    """Returns a built model that is ready for `fit`.

    Weights come from Keras' global seed; `seed` is for what a model draws in training.
    """
    shape = input_shape(config, source)
    method = method_of(config)
    model = MODELS[method.model](_Parts(config, method, source, shape, seed))
    model.build((None, *shape))
    compile_arguments = {"metrics": _metrics(config, method)}
    if not isinstance(model, (models.GJSModel, models.SOPModel)):
        compile_arguments["loss"] = LOSSES[method.loss](config, method)
    sgd = optimizer(config, steps_per_epoch(config, source))
    model.compile(sgd, **compile_arguments)
    return model


def backbone(settings, shape):
    """Returns the network from pixels to features: ours, or a Keras application."""
    name = settings.backbone
    for key, default, names in (
        ("stem", "cifar", WITH_STEM),
        ("weights", "", application_names()),
    ):
        if settings[key] != default and name not in names:
            raise ValueError(
                f"`config.model.{key}` has no effect on {name!r}. "
                f"Received: {settings[key]!r}. Leave it out, or choose a backbone out "
                f"of {list(names)}."
            )
    if name not in BACKBONES:
        return backbones.application(name, shape, weights=settings.weights or None)
    if name in WITH_STEM:
        return BACKBONES[name](shape, stem=settings.stem)
    return BACKBONES[name](shape)


class _Parts(NamedTuple):
    """What models are made of."""

    config: ml_collections.ConfigDict
    method: Method
    source: datasets.Source
    shape: tuple
    seed: int

    def backbone(self):
        """Returns a new network from pixels to features."""
        return backbone(self.config.model, self.shape)

    def common(self):
        """Returns the arguments that all models of the package take."""
        return {
            "num_classes": self.source.num_classes,
            "classifier": self.config.model.classifier,
        }

    def consistency(self):
        """Returns the arguments of NCR's term, or those that leave it out."""
        ncr = self.config.ncr
        if not self.method.has_consistency:
            return {"consistency_weight": 0.0}
        # ELR and ELR+ have an alpha of their own for NCR beside them.
        weights = {**ncr, **self.config.get(self.method.model, {})}
        return {
            "consistency_loss": NeighborConsistencyLoss(
                num_neighbors=ncr.num_neighbors or None,
                temperature=ncr.temperature,
                similarity_power=ncr.similarity_power,
                direction=ncr.direction,
                temperature_squared=ncr.temperature_squared,
                cross_replica=ncr.cross_replica,
                queue_size=ncr.queue_size,
                rows_per_block=ncr.rows_per_block or None,
            ),
            "consistency_weight": weights["consistency_weight"],
            "warmup_epochs": ncr.warmup_epochs,
        }


def _standard_model(parts):
    """Returns a plain Keras classifier."""
    network = parts.backbone()
    classifier = classifier_layer(
        parts.config.model.classifier, parts.source.num_classes
    )
    # What Keras lacks on several devices is added only where there are several.
    is_one = tf.distribute.get_strategy().num_replicas_in_sync == 1
    cls = keras.Model if is_one else MultiWorkerClassifier
    return cls(network.input, classifier(network.output), name="standard")


def _ncr_model(parts):
    """Returns the classifier of the paper's eq. 4."""
    return NCRModel(parts.backbone(), **parts.common(), **parts.consistency())


def _elr_model(parts):
    """Returns the classifier with early-learning regularization."""
    elr = parts.config.elr
    return models.ELRModel(
        parts.backbone(),
        num_examples=parts.source.num_examples,
        elr_weight=elr.weight,
        target_momentum=elr.momentum,
        **parts.common(),
        **parts.consistency(),
    )


def _elr_plus_model(parts):
    """Returns the two classifiers of ELR+."""
    settings = parts.config.elr_plus
    return models.ELRPlusModel(
        [parts.backbone(), parts.backbone()],
        num_examples=parts.source.num_examples,
        elr_weight=settings.weight,
        target_momentum=settings.momentum,
        average_decay=settings.average_decay,
        mixup_alpha=settings.mixup_alpha,
        ramp_steps=settings.ramp_steps,
        seed=parts.seed,
        **parts.common(),
        **parts.consistency(),
    )


def _gjs_model(parts):
    """Returns the classifier of the generalized Jensen-Shannon divergence."""
    return models.GJSModel(
        parts.backbone(),
        label_weight=parts.config.gjs.label_weight,
        **parts.common(),
        **parts.consistency(),
    )


def _sop_model(parts):
    """Returns the classifier that models the noise of each label."""
    sop = parts.config.sop
    return models.SOPModel(
        parts.backbone(),
        num_examples=parts.source.num_examples,
        u_learning_rate=sop.u_learning_rate,
        v_learning_rate=sop.v_learning_rate,
        seed=parts.seed,
        **parts.common(),
        **parts.consistency(),
    )


def _co_teaching_model(parts):
    """Returns two classifiers, each of which chooses what the other trains on."""
    settings = parts.config.co_teaching
    if not settings.forget_rate:
        raise ValueError(
            "`config.co_teaching.forget_rate` must be the share of wrong labels, known "
            "or estimated: co_teaching leaves out as many. Received: "
            f"{settings.forget_rate}. Set it, or choose a method that need not know."
        )
    return models.CoTeachingModel(
        [parts.backbone(), parts.backbone()],
        forget_rate=settings.forget_rate,
        ramp_epochs=settings.ramp_epochs,
        **parts.common(),
    )


def _divide_mix_model(parts):
    """Returns the two classifiers of DivideMix."""
    return models.DivideMixModel(
        [parts.backbone(), parts.backbone()],
        num_examples=parts.source.num_examples,
        num_views=2,
        seed=parts.seed,
        **parts.config.divide_mix.to_dict(),
        **parts.common(),
    )


# From a word of `config.method` to the function that makes the model.
MODELS = {
    "standard": _standard_model,
    "ncr": _ncr_model,
    "elr": _elr_model,
    "elr_plus": _elr_plus_model,
    "gjs": _gjs_model,
    "sop": _sop_model,
    "co_teaching": _co_teaching_model,
    "divide_mix": _divide_mix_model,
}


def _cross_entropy(config, method):
    """Returns the paper's eq. 1."""
    if method.is_one_hot:
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _label_smoothing(config, method):
    """Returns the paper's eq. 6."""
    return keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=config.label_smoothing.weight
    )


def _own_loss(name, cls):
    """Returns what makes a loss of the package from the settings of its name."""
    return lambda config, method: cls(**config[name].to_dict())


# From a word of `config.method` to the function that makes the classification loss.
LOSSES = {
    "cross_entropy": _cross_entropy,
    "label_smoothing": _label_smoothing,
    "soft_bootstrap": _own_loss("soft_bootstrap", losses.SoftBootstrap),
    "hard_bootstrap": _own_loss("hard_bootstrap", losses.HardBootstrap),
    "gce": _own_loss("gce", losses.GeneralizedCrossEntropy),
    "sce": _own_loss("sce", losses.SymmetricCrossEntropy),
    "js": _own_loss("js", losses.JensenShannon),
}


def _metrics(config, method):
    """Returns accuracy, and top-5 accuracy if it is asked for."""
    if not config.top_5:
        return ["accuracy"]
    metric = (
        keras.metrics.TopKCategoricalAccuracy
        if method.is_one_hot
        else keras.metrics.SparseTopKCategoricalAccuracy
    )
    return ["accuracy", metric(5, name="top_5_accuracy")]
