"""What a training run is made of: every setting, its default and its meaning."""

import ml_collections

from keras_ncr.checks import check_known


def default_config():
    """Returns the settings from which every file in `configs/` starts.

    As they stand they train a small network on scikit-learn's digits, for which nothing
    is downloaded. Only values are in it: numbers, strings and booleans that
    `assembly` turns into Keras objects. Lengths are in epochs; steps are derived
    from them, so that they stay right when the batch size is changed on the command
    line.

    Returns:
        `ml_collections.ConfigDict`, locked: other keys cannot be set.

    Example:
    >>> from keras_ncr.config import default_config
    >>> config = default_config()
    >>> config.ncr.consistency_weight, config.batch_size
    (0.93, 256)
    """
    config = ml_collections.ConfigDict()
    config.method = "ncr"  # One of METHODS in assembly/model.py.
    config.epochs = 50
    config.batch_size = 256  # Over all replicas. The paper's for CIFAR and WebVision.
    config.seed = 0  # Weights, order and augmentation of trial t: seed + t.
    config.trials = 1  # Runs that differ by the seed alone; the paper reports 5.

    config.data = ml_collections.ConfigDict()
    config.data.name = "digits"  # scikit-learn's, or any name that tfds.load knows.
    config.data.train_split = "train"
    config.data.test_split = "test"
    config.data.dir = ""  # Folder of TensorFlow Datasets. Empty: its own default.
    config.data.limit = 0  # Training examples, a fixed random subset. 0: all.

    config.noise = ml_collections.ConfigDict()
    config.noise.kind = "symmetric"  # One of NOISES in assembly/labels.py.
    config.noise.rate = 0.4  # Share of the labels that is redrawn.
    config.noise.include_true = True  # Whether a redrawn label may be the true one.
    config.noise.exact = True  # Whether the counts are met, or drawn independently.
    config.noise.seed = 0  # The same wrong labels in every trial.

    config.model = ml_collections.ConfigDict()
    config.model.backbone = "small_cnn"  # One of BACKBONES in assembly/model.py.
    config.model.classifier = "linear"  # Or "cosine", as the paper has on WebVision.

    config.ncr = ml_collections.ConfigDict()  # As in NCRModel.
    config.ncr.consistency_weight = 0.93  # The paper's alpha; 0.9 in its ablation.
    config.ncr.warmup_epochs = 0  # The paper's e.
    config.ncr.num_neighbors = 10  # The paper's k. 0: all others.
    config.ncr.temperature = 2.0  # The paper's T.
    config.ncr.similarity_power = 3.0  # The paper has none, which is 1.
    config.ncr.direction = "self_to_neighbors"
    config.ncr.temperature_squared = False

    config.optimizer = ml_collections.ConfigDict()  # SGD, as in all of the paper.
    config.optimizer.learning_rate = 0.1  # At its peak; the paper's for CIFAR.
    config.optimizer.momentum = 0.9
    config.optimizer.nesterov = False
    config.optimizer.weight_decay = (
        5e-4  # As papers state it; see assembly/schedule.py.
    )
    config.optimizer.decay_kernels_only = False  # The released code decays all weights.
    config.optimizer.warmup_epochs = 0.0  # Linear from 0; then cosine decay to 0.

    config.augment = ml_collections.ConfigDict()
    config.augment.padding = 0  # Random crops from an image padded by so many pixels.
    config.augment.flip = False  # Random left-right flips.
    return config.lock()


def string_arguments(argument, **defaults):
    """Returns what a string after `--config=FILE:` asks for, as a dict.

    The words between commas are `key=value`. The first may be a value alone, which is
    meant for the first key. Values take the type of the default.

    Args:
        argument: String, such as `"standard,rate=0.2"`, or `None` for the defaults.
        **defaults: The keys that the config file knows, with their defaults.

    Returns:
        Dict with the keys of `defaults`.

    Raises:
        ValueError: If a key is unknown or missing, or a value is not of its type.

    Example:
    >>> from keras_ncr.config import string_arguments
    >>> string_arguments("standard,rate=0.2", method="ncr", rate=0.4)
    {'method': 'standard', 'rate': 0.2}
    """
    values = dict(defaults)
    for position, word in enumerate(argument.split(",") if argument else ()):
        key, has_key, value = word.rpartition("=")
        if not has_key and position > 0:
            raise ValueError(
                "Arguments of the config after the first must read key=value, with one "
                f"of the keys {list(defaults)}. Received: {word!r}."
            )
        key = key if has_key else next(iter(defaults))
        check_known(key, defaults, "argument of the config")
        kind = type(defaults[key])
        try:
            values[key] = kind(value)
        except ValueError as error:
            raise ValueError(
                f"Argument `{key}` of the config must be of type {kind.__name__}. "
                f"Received: {value!r}."
            ) from error
    return values


def choose(name, known, key):
    """Returns the entry of a dict that a config names, or says which there are.

    Args:
        name: String: the value in the config.
        known: Dict of the possible values.
        key: String: where the config has it, for the message.

    Returns:
        `known[name]`.

    Raises:
        ValueError: If there is no such entry.

    Example:
    >>> from keras_ncr.config import choose
    >>> choose("a", {"a": 1, "b": 2}, "config.letter")
    1
    """
    return known[check_known(name, known, key)]
