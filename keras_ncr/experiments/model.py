"""The model of a run: network and method, compiled."""

import inspect

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from keras_ncr import backbones
from keras_ncr.backbones import HeteroscedasticClassifier
from keras_ncr.backbones.applications import application_names
from keras_ncr.backbones.pretrained import HUB
from keras_ncr.datasets import Source
from keras_ncr.distribution import MultiWorkerClassifier
from keras_ncr.experiments.batches import input_shape, num_views, steps_per_epoch
from keras_ncr.experiments.config import WITH_STEM
from keras_ncr.experiments.methods import TABLE, consistency_settings, method_of
from keras_ncr.experiments.schedule import optimizer
from keras_ncr.losses import NeighborConsistencyLoss
from keras_ncr.models.auto_weight import AUTO
from keras_ncr.models.classifier_layer import classifier_layer

# The networks of the package.
BACKBONES = {
    "small_cnn": backbones.small_cnn,
    "small_resnet": backbones.small_resnet,
    "mlp": backbones.mlp,
    "resnet18": backbones.resnet18,
    "resnet34": backbones.resnet34,
    "resnet50": backbones.resnet50,
    "preact_resnet18": backbones.preact_resnet18,
    "bag_of_words": backbones.bag_of_words,
    "column_mlp": backbones.column_mlp,
}
# Those of inputs that are no images.
_BACKBONES_OF = {
    "features": ("mlp",),
    "text": ("bag_of_words",),
    "columns": ("column_mlp",),
}


def compiled_model(config: ConfigDict, source: Source, seed: int = 0) -> keras.Model:
    """Returns a built model that is ready for `fit`.

    Keras' global seed gives the weights; `seed` gives what a model draws in training.
    """
    shape = input_shape(config, source)
    method = method_of(config)
    make = _standard_model if method.row.makes is None else _method_model
    model = make(config, method, source, shape, seed)
    if isinstance(shape, dict):
        model.build({name: (None, *one) for name, one in shape.items()})
    else:
        model.build((None, *shape))
    compile_arguments = {"metrics": _metrics(config, method)}
    if method.row.loss != "own":
        compile_arguments["loss"] = _loss(config, method)
    sgd = optimizer(config, steps_per_epoch(config, source))
    model.compile(sgd, **compile_arguments)
    return model


def backbone(settings: ConfigDict, source: Source, shape) -> keras.Model:
    """Returns the network from raw inputs to features: ours, or Keras' own."""
    name = settings.backbone
    _check_takes(name, source)
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
    if name.startswith(HUB) and source.kind == "text":
        return backbones.text_encoder(name.removeprefix(HUB))
    if name not in BACKBONES:
        return backbones.application(name, shape, weights=settings.weights or None)
    if name in WITH_STEM:
        return BACKBONES[name](shape, stem=settings.stem)
    if source.kind in ("text", "columns"):
        return BACKBONES[name](source.stored_inputs)
    return BACKBONES[name](shape)


def _check_takes(name, source):
    """Raises unless a network is for the inputs of a source."""
    if source.kind == "images":
        own = {name for names in _BACKBONES_OF.values() for name in names}
        known = [other for other in BACKBONES if other == "mlp" or other not in own]
        is_fit = name in known or name not in BACKBONES  # A Keras application.
    else:
        known = _BACKBONES_OF[source.kind]
        is_hub = source.kind == "text" and name.startswith(HUB)
        is_fit = name in known or is_hub
    if not is_fit:
        raise ValueError(
            f"`config.model.backbone` must be one for {source.kind}: "
            f"{', '.join(known)}. Received: {name!r}, and the data {source.name!r}."
        )


def _standard_model(config, method, source, shape, seed):
    """Returns a plain Keras classifier."""
    network = backbone(config.model, source, shape)
    (classifier,) = _classifiers(config, method, source.num_classes, seed)
    classifier = classifier_layer(classifier, source.num_classes)
    # Keras' own model is enough on one device.
    is_one = tf.distribute.get_strategy().num_replicas_in_sync == 1
    cls = keras.Model if is_one else MultiWorkerClassifier
    return cls(network.input, classifier(network.output), name="standard")


def _method_model(config, method, source, shape, seed):
    """Returns a model of the package from its row of the table and its section."""
    row, section = method.row, config[method.model].to_dict()
    arguments = {
        **section,
        "num_examples": source.num_examples,
        "num_views": num_views(config),
        "seed": seed,
    }
    networks = [backbone(config.model, source, shape) for _ in range(row.num_networks)]
    classifiers = _classifiers(config, method, source.num_classes, seed)
    if arguments.get("forget_rate") == 0:
        raise ValueError(
            f"`config.{method.model}.forget_rate` must be the share of wrong labels, "
            f"known or estimated: {method.model} leaves out as many. Received: 0.0. "
            "Set it, or choose a method that need not know."
        )
    accepted = {*inspect.signature(row.makes).parameters}
    # What a class passes on to the one that it is made from.
    passed_on = {*section, "num_views", "seed"}
    accepted |= inspect.signature(row.makes.__base__).parameters.keys() & passed_on
    arguments = {name: arguments[name] for name in accepted if name in arguments}
    is_one = row.num_networks == 1
    if not row.own_classifier:
        arguments["classifier"] = classifiers[0] if is_one else classifiers
    return row.makes(
        networks[0] if is_one else networks,
        source.num_classes,
        **{**arguments, **_consistency(config, method)},
    )


def _classifiers(config, method, num_classes, seed):
    """Returns the head of each network: a name, or a layer with settings of its own."""
    name, numbers = config.model.classifier, range(method.row.num_networks)
    if method.row.own_classifier and name != "linear":
        raise ValueError(
            f"`config.model.classifier` has no effect on {method.model}, which has a "
            f"classifier of its own. Received: {name!r}. Leave it out."
        )
    if "heteroscedastic" not in method.words:
        return [name for _ in numbers]
    if name not in ("linear", "heteroscedastic"):
        raise ValueError(
            "`config.model.classifier` has no effect with the method heteroscedastic, "
            f"which is a classifier. Received: {name!r}. Leave one of them out."
        )
    settings = config.heteroscedastic
    return [
        HeteroscedasticClassifier(
            num_classes, seed=seed + number, name="classifier", **settings
        )
        for number in numbers
    ]


def _consistency(config, method):
    """Returns the arguments of NCR's term, or those that leave it out."""
    if "ncr" not in method.words:
        return {"consistency_weight": 0.0}
    settings = consistency_settings(config)
    is_one_row = not {"mixup", "second_view"} & {*method.words}
    if settings["consistency_weight"] == AUTO and not is_one_row:
        raise ValueError(
            '`consistency_weight` "auto" cannot see which labels are learned where '
            f"rows are mixed or have a second view. Received: {config.method!r}. Set a "
            "number, such as 0.3."
        )
    if settings["reject_outliers"] and not is_one_row:
        raise ValueError(
            "`config.ncr.reject_outliers` must be 0 where rows are mixed or have a "
            f"second view: a row is no example then. Received: {config.method!r}."
        )
    arguments = {
        name: settings.pop(name) for name in ("consistency_weight", "warmup_epochs")
    }
    if share := settings.pop("reject_outliers"):
        arguments["reject_outliers"] = share
    for name in ("num_neighbors", "rows_per_block"):
        settings[name] = settings[name] or None
    return {"consistency_loss": NeighborConsistencyLoss(**settings), **arguments}


def _loss(config, method):
    """Returns the classification loss: that of the table, or the paper's eq. 1."""
    if method.loss != "cross_entropy":
        return TABLE[method.loss].makes(**config[method.loss].to_dict())
    if method.needs("one_hot"):
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _metrics(config, method):
    """Returns accuracy, and top-5 accuracy if it is asked for."""
    # Not "accuracy": Keras makes its variables in the first step, which is traced
    # again for that.
    if method.needs("one_hot"):
        accuracy = keras.metrics.CategoricalAccuracy
        top_5 = keras.metrics.TopKCategoricalAccuracy
    else:
        accuracy = keras.metrics.SparseCategoricalAccuracy
        top_5 = keras.metrics.SparseTopKCategoricalAccuracy
    metrics = [accuracy(name="accuracy")]
    return [*metrics, top_5(5, name="top_5_accuracy")] if config.top_5 else metrics
