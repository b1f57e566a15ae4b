"""The rows of the report: data, noise and training of a config."""

import numpy as np

from keras_ncr.experiments.batches import input_shape, steps_per_epoch
from keras_ncr.experiments.methods import consistency_settings, method_of
from keras_ncr.experiments.schedule import learning_rate_schedule

_CONFUSIONS = 5


def data_rows(config, sources):
    """Returns the rows on the training and test data."""
    train = sources.train
    counts = np.bincount(train.labels, minlength=train.num_classes)
    filled, empty = np.flatnonzero(counts), np.flatnonzero(counts == 0)
    largest, smallest = np.argmax(counts), filled[np.argmin(counts[filled])]
    final = [(f"{name} examples", s.num_examples) for name, s in sources.final.items()]
    unlabeled = sources.unlabeled
    sizes = [
        ("training examples", train.num_examples),
        *([("without a label", unlabeled.num_examples)] if unlabeled else []),
        ("test examples", sources.test.num_examples),
        *final,
        ("classes", train.num_classes),
    ]
    return [
        ("name", config.data.name),
        *((name, f"{size:,}") for name, size in sizes),
        *_input_rows(config, train),
        *_class_sizes(train, counts, largest, smallest),
        ("empty classes", _some_classes(train, empty)),
    ]


def _input_rows(config, train):
    """Returns the rows on the inputs: what they are, and as the network gets them."""
    if train.kind != "images":
        shape = input_shape(config, train)
        names = (
            ", ".join(shape) if train.kind == "columns" else str(shape or "a string")
        )
        return [("inputs", f"{train.kind}: {names}")]
    stored = "encoded files" if train.is_encoded else "pixels"
    return [
        ("images as stored", f"{_shape(train.image_shape)}, {stored}"),
        ("as the network sees", _shape(input_shape(config, train))),
    ]


def _class_sizes(train, counts, largest, smallest):
    """Returns the sizes of the classes, in one row if they are equal."""
    if counts[largest] == counts[smallest]:
        return [("labels of a class", f"{counts[largest]:,}")]
    return [
        ("largest class", _class_and_count(train, counts, largest)),
        ("smallest class", _class_and_count(train, counts, smallest)),
        ("imbalance", f"{counts[largest] / counts[smallest]:.3g} to 1"),
    ]


def noise_rows(config, source):
    """Returns the rows on the wrong labels."""
    kind = config.noise.kind
    rate, words = source.realized_rate, "unknown: there are no true labels"
    if rate is not None:
        words = f"{percent(rate)}, {source.is_noisy.sum():,} wrong labels"
    added = [("kind", kind), ("nominal rate", percent(config.noise.rate))]
    rows = [
        *([("kind", "none added")] if kind == "none" else added),
        ("realized rate", words),
        ("hash of the labels", source.record.hash),
    ]
    if rate is None:
        return rows
    num_unknown = np.sum(source.clean_labels < 0)
    if num_unknown:
        rows.append(("without true class", f"{num_unknown:,} of the wrong labels"))
    for position, words in enumerate(_confusions(source)):
        rows.append(("" if position else "most frequent", words))
    if "oracle" in method_of(config).words:
        left = f"{np.sum(~source.is_noisy):,} examples"
        rows.append(("oracle", f"wrong labels are left out, {left} remain"))
    return rows


def _confusions(source):
    """Returns the most frequent pairs of a true class and a wrong label, in words."""
    clean, given = source.clean_labels, source.labels
    chosen = source.is_noisy & (clean >= 0)
    pairs, counts = np.unique(
        clean[chosen] * source.num_classes + given[chosen], return_counts=True
    )
    of_class = np.bincount(clean[clean >= 0], minlength=source.num_classes)
    return [
        f"{_class(source, true)} labeled {_class(source, wrong)}: {count:,}, "
        f"{percent(count / of_class[true])} of the class"
        for (true, wrong), count in (
            (divmod(pairs[position], source.num_classes), counts[position])
            for position in np.argsort(-counts, kind="stable")[:_CONFUSIONS]
        )
    ]


def training_rows(config, source, model):
    """Returns the rows on method, network, epochs and optimizer."""
    steps = steps_per_epoch(config, source)
    classifier = config.model.classifier
    if "heteroscedastic" in method_of(config).words:
        classifier = "heteroscedastic"
    network = f"{config.model.backbone}, {classifier} classifier"
    batch = f"{config.batch_size:,} examples"
    if config.data.balanced:
        batch += ", classes drawn equally often"
    rows = [
        ("method", config.method),
        ("network", f"{network}, {model.count_params():,} parameters"),
        ("epochs", f"{config.epochs:,} of {steps:,} steps, trials: {config.trials}"),
        ("batch", batch),
        ("learning rate", _learning_rates(config, steps)),
        ("weight decay", _weight_decay(config, model)),
    ]
    if "ncr" not in method_of(config).words:
        return rows
    ncr = consistency_settings(config)
    rows.append(
        (
            "consistency",
            f"weight (alpha) {ncr['consistency_weight']}, "
            f"neighbors (k) {ncr['num_neighbors'] or 'all'}, "
            f"epochs without it (e) {ncr['warmup_epochs']}",
        )
    )
    if config.batch_size < source.num_classes:
        rows.append(
            (
                "note",
                f"The batch is smaller than the number of classes "
                f"({source.num_classes:,}), so that few neighbors are of an example's "
                "own class. In the paper's Table 6 accuracy falls there.",
            )
        )
    return rows


def _learning_rates(config, steps):
    """Returns the learning rate at the turning points of its schedule."""
    schedule = learning_rate_schedule(config, steps)
    warmup = config.optimizer.warmup_epochs
    moments = {"at the start": 0}
    if warmup:
        moments[f"after {warmup:g} epochs of warm-up"] = round(warmup * steps)
    moments[f"after {config.epochs / 2:g} epochs"] = round(config.epochs * steps / 2)
    moments["in the last step"] = config.epochs * steps - 1
    return ", ".join(
        f"{float(schedule(step)):.3g} {moment}" for moment, step in moments.items()
    )


def _weight_decay(config, model):
    """Returns the weight decay, and which share of the model it acts on."""
    if not config.optimizer.weight_decay:
        return "none"
    variables = model.trainable_variables
    # Keras has no public name for the question.
    is_decayed = [model.optimizer._use_weight_decay(variable) for variable in variables]
    sizes = [int(np.prod(variable.shape)) for variable in variables]
    decayed = sum(np.compress(is_decayed, sizes))
    left_out = sorted(
        {v.name for v, decays in zip(variables, is_decayed, strict=True) if not decays}
    )
    return (
        f"{config.optimizer.weight_decay:g} on {sum(is_decayed)} of {len(variables)} "
        f"trained variables, {decayed:,} of {sum(sizes):,} parameters"
        + (f"; not on {', '.join(left_out)}" if left_out else "")
    )


def percent(share):
    """Returns a share as text."""
    return f"{100 * share:.1f} %"


def _shape(shape):
    """Returns the shape of an image in words."""
    height, width, channels = shape
    size = "sizes differ" if None in (height, width) else f"{height} x {width}"
    return f"{size}, {'gray' if channels == 1 else 'color'}"


def _class(source, label):
    """Returns the name of a class, with its number where the name is another."""
    name = str(source.class_names[label])
    return name if name == str(label) else f"{name} (#{label})"


def _class_and_count(source, counts, label):
    """Returns a class and how many examples carry its label."""
    return f"{_class(source, label)}: {counts[label]:,} labels"


def _some_classes(source, labels, most=10):
    """Returns how many classes there are, and the names of the first."""
    if not len(labels):
        return "none"
    names = [_class(source, label) for label in labels[:most]]
    more = ", ..." if len(labels) > most else ""
    return f"{len(labels):,}: {', '.join(names)}{more}"
