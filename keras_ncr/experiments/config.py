"""The config of a training run: every setting, its default and its meaning."""

import json
import os
import pathlib
from typing import Any

import ml_collections

from keras_ncr.checks import check_known
from keras_ncr.experiments.methods import method_sections


def default_config() -> ml_collections.ConfigDict:
    """Returns the settings from which every file in `configs/` starts.

    They train a small network on scikit-learn's digits, for which nothing is
    downloaded. A method's section holds the arguments of its class or function, with
    the defaults that these have. Values are numbers, strings and booleans alone.
    Lengths are in epochs; steps are derived from them, so that they stay right when the
    batch size is changed on the command line.

    Returns:
        `ml_collections.ConfigDict`, locked: other keys cannot be set.

    Example:
    >>> from keras_ncr.experiments.config import default_config
    >>> config = default_config()
    >>> config.ncr.consistency_weight, config.batch_size
    (0.9, 256)
    """
    config = ml_collections.ConfigDict()
    config.method = "ncr"  # Words of TABLE in experiments/methods.py, joined by +.
    config.epochs = 50
    config.steps_per_epoch = 0  # 0: as many as all examples take.
    config.batch_size = 256  # Over all replicas. The paper's for CIFAR and WebVision.
    config.seed = 0  # Weights, order and augmentation of trial t: seed + t.
    config.trials = 1  # Runs that differ by the seed alone; the paper reports 5.
    config.top_5 = False  # Whether top-5 accuracy is measured beside accuracy.
    config.strategy = "one"  # One of STRATEGIES in experiments/strategy.py.
    # Seconds of training between two checkpoints within an epoch. 0: after every step.
    config.checkpoint_seconds = 60.0

    config.data = _data_settings()

    config.noise = ml_collections.ConfigDict()
    config.noise.kind = "symmetric"  # One of NOISES in experiments/labels.py.
    config.noise.rate = 0.4  # Share of the labels that is redrawn.
    config.noise.include_true = True  # Whether a redrawn label may be the true one.
    config.noise.exact = True  # Whether the counts are met, or drawn independently.
    config.noise.look_alikes = ""  # One of LOOK_ALIKES. Empty: config.data.name.
    config.noise.seed = 0  # The same wrong labels in every trial.

    config.model = ml_collections.ConfigDict()
    # One of BACKBONES in experiments/model.py, or a name in keras.applications.
    config.model.backbone = "small_cnn"
    config.model.stem = "cifar"  # Of our ResNets; "imagenet" for large images.
    config.model.weights = ""  # Of keras.applications: "imagenet", or a file.
    # "linear", "cosine", as the paper has on WebVision, or "heteroscedastic".
    config.model.classifier = "linear"

    # The sections of the methods: NCR's, and those of its peers.
    config.update(method_sections())

    config.optimizer = ml_collections.ConfigDict()  # SGD, as in all of the paper.
    config.optimizer.learning_rate = 0.1  # At its peak; the paper's for CIFAR.
    config.optimizer.momentum = 0.9
    config.optimizer.nesterov = False
    # Whether learning rates stand outside of the velocity, as in the authors' code.
    config.optimizer.plain_velocity = False
    config.optimizer.weight_decay = 5e-4  # As papers state it; experiments/schedule.py.
    config.optimizer.decay_kernels_only = False  # The released code decays all weights.
    config.optimizer.warmup_epochs = 0.0  # Linear from 0; then cosine decay to 0.

    config.augment = ml_collections.ConfigDict()
    config.augment.crop = "padded"  # One of CROPS in experiments/batches.py.
    config.augment.padding = 0  # Of "padded": pixels added on each side.
    config.augment.min_area = 0.05  # Of "resized": the smallest share of an image.
    config.augment.flip = False  # Random left-right flips.
    return config.lock()


def _data_settings():
    """Returns the settings of the data and of how images are read."""
    data = ml_collections.ConfigDict()
    # One of DATA in experiments/data.py, or any name that tfds.load knows.
    data.name = "digits"
    data.dir = ""  # Folder of TensorFlow Datasets. Empty: its own default.
    data.train_split = "train"
    data.test_split = "test"  # Measured after every epoch.
    data.final_splits = ""  # More test splits, measured at the end: "a,b".
    # Share of the training examples that is held out, with the labels as they are, to
    # be tested on instead of the test split, which is then not looked at.
    data.validation_share = 0.0
    data.corrections = ""  # A file of reviewed labels, as the review page exports it.
    data.limit = 0  # Training examples, a fixed random subset. 0: all.
    # Names of features, or columns. Empty: as the data set itself has it.
    data.image_key = ""  # Of a table: the column of the files.
    data.text_key = ""  # Of a table of texts.
    data.id_key = ""  # Of texts and rows. Empty: the numbers of the rows.
    data.picture_key = ""  # Of texts and rows: paths of pictures, for the review.
    data.columns = ""  # Of a table of rows: "a,b". Empty: all but label and id.
    data.label_key = ""
    data.clean_label_key = ""  # The true label.
    data.is_clean_key = ""  # Whether the label is right.
    # The user's own data.
    data.path = ""  # A folder of class folders, a table, or a file of features.
    data.test_path = ""  # Empty: part of the training data is held out.
    data.hold_out = 0.2  # The share of it.
    # The folder, among those of the classes, with images without a label.
    data.unlabeled_folder = ""
    data.check_images = True  # Whether every image is decoded once at the start.
    # What is done about examples that cannot be read or have no label: "raise" or
    # "skip", which counts and reports them.
    data.on_error = "raise"
    # How images are read.
    data.image_size = 0  # Side of the squares that training sees. 0: as stored.
    data.short_side = 0  # What the shorter side is brought to, before a crop.
    data.cache = True  # Whether images, or their files, are held in memory.
    data.shuffle_buffer = 0  # Of streams that are not. 0: all examples.
    data.balanced = False  # With steps_per_epoch: classes drawn equally often.
    return data


def paper_config() -> ml_collections.ConfigDict:
    """Returns the settings that all experiments of the paper share.

    SGD with momentum 0.9, a peak learning rate of 0.1 after 5 epochs of linear warm-up,
    cosine decay to 0, weight decay 5e-4; flips; ResNet-18; the loss of eq. 3 with
    T = 2; five trials. Momentum is that of its released code, `PlainSGD`. Labels are
    as the data set gives them.

    Returns:
        `ml_collections.ConfigDict`, locked, with the keys of `default_config`.

    Reference:
        - [Iscen et al., 2022](https://arxiv.org/abs/2202.02200), Table 4.

    Example:
    >>> from keras_ncr.experiments.config import paper_config
    >>> config = paper_config()
    >>> config.epochs, config.batch_size, config.optimizer.warmup_epochs
    (130, 128, 5.0)
    """
    config = default_config()
    config.trials = 5
    config.epochs = 130  # Mini-ImageNet and WebVision.
    config.batch_size = 128  # Mini-ImageNet and Clothing1M.
    config.noise.kind = "none"
    config.model.backbone = "resnet18"
    config.optimizer.warmup_epochs = 5.0
    config.optimizer.plain_velocity = True
    config.augment.flip = True
    return config


# Our networks with a choice of two stems.
WITH_STEM = ("resnet18", "resnet34", "resnet50")


def stem_for(backbone: str, image_size: int) -> str:
    """Returns the stem that suits a network and images of a size.

    Args:
        backbone: String, as `config.model.backbone`.
        image_size: Int, the side of the images in pixels; 0 if it is not known.

    Returns:
        `"imagenet"` for our ResNets from 64 pixels up: the CIFAR stem keeps every
        pixel, which is slow on large images. Otherwise `"cifar"`.

    Example:
    >>> from keras_ncr.experiments.config import stem_for
    >>> stem_for("resnet18", 224), stem_for("resnet18", 32), stem_for("MobileNet", 224)
    ('imagenet', 'cifar', 'cifar')
    """
    return "imagenet" if backbone in WITH_STEM and image_size >= 64 else "cifar"


def own_pictures(kind: str, arguments: dict) -> ml_collections.ConfigDict:
    """Returns settings for the user's own pictures, in a folder or a table.

    The paper's training for fewer epochs, on random parts of the pictures. Consistency
    comes in after a third of them: neighbors mean little before features do. (Of the
    paper's 130 epochs on mini-ImageNet it is 50.)

    Args:
        kind: `"folder"` or `"table"`.
        arguments: Dict with `"path"`; `"method"`; `"size"`, the side of the squares
            that the network sees, in pixels; `"backbone"`; and `"epochs"`.

    Returns:
        `ml_collections.ConfigDict`, locked, with the keys of `default_config`.

    Example:
    >>> from keras_ncr.experiments.config import own_pictures, string_arguments
    >>> arguments = string_arguments(
    ...     "pictures", path="", method="ncr", size=128, backbone="resnet18", epochs=50
    ... )
    >>> config = own_pictures("folder", arguments)
    >>> config.data.path, config.data.image_size
    ('pictures', 128)
    """
    config = paper_config()
    config.method = arguments["method"]
    config.trials = 1
    config.epochs = arguments["epochs"]
    config.optimizer.warmup_epochs = min(5.0, arguments["epochs"] / 10)
    config.data.name = kind
    config.data.path = arguments["path"]
    config.data.image_size = arguments["size"]
    config.model.backbone = arguments["backbone"]
    config.model.stem = stem_for(arguments["backbone"], arguments["size"])
    config.ncr.warmup_epochs = arguments["epochs"] // 3
    config.augment.crop = "resized"
    config.augment.min_area = 0.25  # Small parts of small pictures show nothing.
    return config


def own_data(kind: str, arguments: dict) -> ml_collections.ConfigDict:
    """Returns settings for the user's own data that are no pictures.

    The paper's training for fewer epochs, as for pictures, without augmentation.

    Args:
        kind: `"features"`, `"text"` or `"tabular"`.
        arguments: Dict with `"path"`, `"method"`, `"backbone"` and `"epochs"`.

    Returns:
        `ml_collections.ConfigDict`, locked, with the keys of `default_config`.

    Example:
    >>> from keras_ncr.experiments.config import own_data, string_arguments
    >>> arguments = string_arguments(
    ...     "f.npz", path="", method="ncr", backbone="mlp", epochs=50
    ... )
    >>> own_data("features", arguments).model.backbone
    'mlp'
    """
    config = own_pictures(kind, {**arguments, "size": 0})
    config.augment.crop, config.augment.flip = "padded", False
    config.augment.min_area = default_config().augment.min_area
    return config


def string_arguments(argument: str | None, **defaults) -> dict:
    """Returns the arguments in a string after `--config=NAME:`, as a dict.

    Between commas stand `key=value`. The first may be a value alone, that of the first
    key. Values take the type of the default. A path may have `=`
    in it, but no comma.

    Args:
        argument: String, such as `"standard,rate=0.2"`, or `None` for the defaults.
        **defaults: The keys that the config file knows, with their defaults.

    Returns:
        Dict with the keys of `defaults`.

    Raises:
        ValueError: If a key is unknown or missing, or a value is not of its type.

    Example:
    >>> from keras_ncr.experiments.config import string_arguments
    >>> string_arguments("standard,rate=0.2", method="ncr", rate=0.4)
    {'method': 'standard', 'rate': 0.2}
    """
    values = dict(defaults)
    is_for_paths = "path" in defaults
    for position, word in enumerate(argument.split(",") if argument else ()):
        key, has_key, value = word.partition("=")
        is_path = is_for_paths and position == 0 and key not in defaults
        if is_path or not has_key:
            key, value = next(iter(defaults)), word
        if not has_key and position > 0:
            raise ValueError(
                "Arguments of the config after the first must read key=value, with one "
                f"of the keys {list(defaults)}. Received: {word!r}."
                + (" A path with a comma: --config.data.path=PATH." * is_for_paths)
            )
        check_known(key, defaults, "argument of the config")
        kind = type(defaults[key])
        try:
            values[key] = _TRUTH[value.lower()] if kind is bool else kind(value)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"Argument `{key}` of the config must be of type {kind.__name__}. "
                f"Received: {value!r}."
            ) from error
    return values


# `bool("false")` is True.
_TRUTH = {"true": True, "false": False}


def set_noise(config: ml_collections.ConfigDict, arguments: dict) -> None:
    """Sets the method and the noise that the arguments of a config name.

    Args:
        config: `ml_collections.ConfigDict` with the keys of `default_config`; changed
            in place.
        arguments: Dict, as `string_arguments` returns it, with `"method"`, `"noise"`
            and `"rate"`.

    Example:
    >>> from keras_ncr.experiments.config import default_config, set_noise
    >>> config = default_config()
    >>> set_noise(config, {"method": "standard", "noise": "pair_flip", "rate": 0.2})
    >>> config.method, config.noise.kind, config.noise.rate
    ('standard', 'pair_flip', 0.2)
    """
    config.method = arguments["method"]
    config.noise.kind = arguments["noise"]
    config.noise.rate = arguments["rate"]
    # Co-teaching is told the rate, as in its own experiments. Noise that is not added
    # has no known rate.
    is_added = arguments["noise"] != "none"
    config.co_teaching.forget_rate = arguments["rate"] if is_added else 0.0


def set_tuned(config: ml_collections.ConfigDict, path: str | os.PathLike) -> None:
    """Sets the values that tuning chose for the config's method, if there are any.

    Args:
        config: `ml_collections.ConfigDict` with the keys of `default_config`; changed
            in place.
        path: String or path of a JSON file: a dict from methods to dicts from dotted
            keys to values, as `benchmarks/tune.py` writes it. It need not exist.

    Example:
    >>> import json, pathlib, tempfile
    >>> from keras_ncr.experiments.config import default_config, set_tuned
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "tuned.json"
    >>> _ = path.write_text(json.dumps({"gce": {"gce.q": 0.3}}))
    >>> config = default_config()
    >>> config.method = "gce"
    >>> set_tuned(config, path)
    >>> config.gce.q
    0.3
    """
    path = pathlib.Path(path)
    if path.exists():
        tuned = json.loads(path.read_text(encoding="utf-8"))
        config.update_from_flattened_dict(tuned.get(config.method, {}))


def choose(name: str, known: dict, key: str) -> Any:
    """Returns the entry of a dict that a config names, or lists the entries.

    Args:
        name: String: the value in the config.
        known: Dict of the possible values.
        key: String: where the config has it, for the message.

    Returns:
        `known[name]`.

    Raises:
        ValueError: If there is no such entry.

    Example:
    >>> from keras_ncr.experiments.config import choose
    >>> choose("a", {"a": 1, "b": 2}, "config.letter")
    1
    """
    return known[check_known(name, known, key)]
