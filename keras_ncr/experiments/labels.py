"""The labels of a run: noise, corrections, what is held out, what an oracle leaves."""

import numpy as np

from keras_ncr import noise
from keras_ncr.datasets import Source
from keras_ncr.datasets.image_files import first_few
from keras_ncr.datasets.split import split_indices
from keras_ncr.datasets.table_source import read_table
from keras_ncr.experiments.data import Sources, with_true_labels
from keras_ncr.experiments.methods import method_of
from keras_ncr.experiments.own_pictures import naming
from keras_ncr.files import from_cell
from keras_ncr.review.corrections import Corrections, dataset_hash, read_corrections


def with_noise(config, sources: Sources) -> Sources:
    """Returns the sources as given, before corrections: with the noise of the config.

    The training part alone has noise, and so has that part of the whole.
    """
    train, whole = noisy(config, sources.train), sources.whole
    if whole is not None and train is not sources.train:
        trained_on = set(train.ids.tolist())
        labels = whole.labels.copy()
        # Both are in the order of the whole.
        labels[[name in trained_on for name in whole.ids.tolist()]] = train.labels
        whole = whole.relabeled(labels, clean_labels=whole.labels)
    return sources._replace(train=train, whole=whole)


def noisy(config, source: Source) -> Source:
    """Returns a source with the noise of the config."""
    if config.noise.kind == "none":
        return source
    if source.clean_labels is not None:
        raise ValueError(
            f"The labels of {source.name!r} have noise of their own, and more cannot "
            "be added. Received: "
            f"config.noise.kind={config.noise.kind!r}. Set it to 'none'."
        )
    return source.corrupted(NOISES[config.noise.kind](config, source))


def corrected(config, sources: Sources) -> tuple[Sources, dict | None]:
    """Returns the sources after the corrections of the config, and `counts` of these.

    The split into both parts stays that of the labels as given.
    """
    if not config.data.corrections:
        return sources, None
    with naming("corrections"):
        corrections = read_corrections(config.data.corrections)
        whole = reviewed(corrections, sources)
        train, test = corrections.apply(sources.train, whole), sources.test
        if sources.whole is not None:
            # What is known to be true needs no correction.
            test = with_true_labels(corrections.apply(test, whole))
    return sources._replace(train=train, test=test), corrections.counts


def reviewed(corrections: Corrections, sources: Sources) -> Source:
    """Returns the source that was reviewed: all that was audited, or the train part."""
    is_of_train = corrections.dataset_hash == dataset_hash(
        sources.train.labels, sources.train.ids
    )
    return sources.train if is_of_train else sources.audited


def as_trained_on(config, sources: Sources) -> Sources:
    """Returns the sources that are trained and tested on.

    Where the config says so, a part of the training examples, with the labels as they
    are, takes the place of the test data. An oracle is left without the wrong labels.
    """
    if config.data.validation_share:
        sources = _tested_on_validation(config, sources)
    if sources.unlabeled is not None:
        _check_takes_unlabeled(config)
    if "oracle" in method_of(config).words:
        sources = sources._replace(train=without_wrong_labels(sources.train))
    return sources


def _check_takes_unlabeled(config):
    """Raises if a method, or how batches are drawn, needs a label of every example."""
    method = method_of(config)
    takes = getattr(method.row.makes, "takes_unlabeled", False)
    if not (takes and "ncr" in method.words) or method.needs("one_hot"):
        raise ValueError(
            "`config.method` must be one that trains on examples without a label: ncr "
            f"or ncr+elr, without mixup or label_smoothing. Received: "
            f"{config.method!r}, and config.data.unlabeled_folder="
            f"{config.data.unlabeled_folder!r}. Leave one of them out."
        )
    if config.data.balanced:
        raise ValueError(
            "`config.data.balanced` must be False with config.data.unlabeled_folder: "
            "examples without a label are of no class. Received: True."
        )


def _tested_on_validation(config, sources):
    """Returns the sources with noisy examples held out of training as test data."""
    share, train = config.data.validation_share, sources.train
    if not 0 < share < 1:
        raise ValueError(
            "`config.data.validation_share` must be at least 0 and below 1. "
            f"Received: {share}."
        )
    # Drawn by the noisy labels: no true label plays a part.
    kept, held_out = split_indices(train.labels, train.num_classes, share)
    return Sources(
        train.subset(kept),
        train.subset(held_out, "validation"),
        unlabeled=sources.unlabeled,
    )


def verify(config, source: Source, model) -> None:
    """Tells a model which labels are known to be right or wrong, if it has to know."""
    if not method_of(config).needs("verification"):
        return
    is_right, labels = np.full((2, source.num_examples), -1)
    share = config.cleannet.verified_share
    if share:
        rows = _drawn_to_verify(source, share, config.noise.seed)
        is_right[rows] = ~source.is_noisy[rows]
    if config.data.corrections:
        reviewed_labels = read_corrections(config.data.corrections)
        found = {
            name: (given, action == "keep")
            for name, given, action in zip(
                reviewed_labels.ids,
                reviewed_labels.given_classes,
                reviewed_labels.actions,
                strict=True,
            )
        }
        for row, name in enumerate(map(str, source.ids.tolist())):
            if name in found:
                given, is_right[row] = found[name]
                labels[row] = source.class_names.index(given)
    if np.all(is_right < 0):
        raise ValueError(
            f"`config.method`={config.method!r} needs verification labels: of some "
            "examples, whether the label that was given is right. Received: none. "
            "Review some labels on the page of keras-ncr audit and name its file, "
            "config.data.corrections; or, where true labels are known, look up those "
            "of a share of the examples, config.cleannet.verified_share=0.1. Without "
            "any, take the method ncr+elr."
        )
    model.verify(is_right, labels)


def grade(config, source: Source, model) -> None:
    """Tells a model the scores of the examples, where the config names a table."""
    word = method_of(config).model
    path = config.get(word, {}).get("scores", "")
    if not path:
        return
    key = f"config.{word}.scores"
    try:
        table, is_text, *_ = read_table(path)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"`{key}`: {error}") from error
    missing = {"id", "label_quality"} - {*table}
    if missing:
        raise ValueError(
            f"`{key}` must be the table of an audit, with the columns id and "
            f"label_quality. Received: {path!r}, without {', '.join(sorted(missing))}."
        )
    names = table["id"].astype(str)
    names = map(from_cell, names) if is_text else names
    known = dict(zip(names, table["label_quality"].astype(float), strict=True))
    ids = source.ids.astype(str).tolist()
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise ValueError(
            f"`{key}` must have a score of each example that is trained on. Received: "
            f"{path!r}, without {len(unknown):,} of {source.num_examples:,}: "
            f"{first_few(unknown)}. Audit a run on the same data."
        )
    model.grade([known[name] for name in ids])


def _drawn_to_verify(source, share, seed):
    """Returns the numbers of a share of the examples, drawn class by class."""
    if source.clean_labels is None:
        raise ValueError(
            "`config.cleannet.verified_share` must be 0 where true labels are not "
            f"known. Received: {share}, and {source.name!r}. Review some labels and "
            "name the file, config.data.corrections."
        )
    if not 0 < share < 1:
        raise ValueError(
            "`config.cleannet.verified_share` must be at least 0 and below 1. "
            f"Received: {share}."
        )
    _, rows = split_indices(source.labels, source.num_classes, share, seed)
    return rows


def without_wrong_labels(source: Source) -> Source:
    """Returns the examples with right labels: what the oracle of Table 1 trains on."""
    if source.is_noisy is None:
        raise ValueError(
            f"An oracle needs to know which labels of {source.name!r} are wrong, and "
            "nothing is known of them. Received: 'oracle' in `config.method`. Leave it "
            "out, or name the feature that knows (`config.data.clean_label_key` or "
            "`config.data.is_clean_key`)."
        )
    right = np.flatnonzero(~source.is_noisy)
    if not len(right):
        raise ValueError(
            "An oracle has nothing to train on: all labels of "
            f"{source.name!r} are wrong. Received: rate {source.realized_rate}."
        )
    return source.subset(right)


# Data sets with a map of look-alikes in `noise.asymmetric`.
LOOK_ALIKES = ("cifar10", "cifar100", "digits", "fashion_mnist")


def _symmetric_noise(config, source):
    """Returns noise that draws labels anew from all, or all other, classes."""
    return _noise_of(
        config,
        noise.symmetric(
            source.num_classes,
            config.noise.rate,
            include_true=config.noise.include_true,
        ),
    )


def _asymmetric_noise(config, source):
    """Returns noise that turns labels into the look-alike class."""
    key = "noise.look_alikes" if config.noise.look_alikes else "data.name"
    # Without a version ("cifar10:3.*.*").
    name = (config.noise.look_alikes or config.data.name).partition(":")[0]
    if name not in LOOK_ALIKES:
        raise ValueError(
            f"`config.noise.kind` can be 'asymmetric' for {', '.join(LOOK_ALIKES)}, "
            "whose look-alike classes are known. Received: "
            f"config.{key}={name!r}. 'pair_flip' goes from each class to the next; "
            "`config.noise.look_alikes` says whose classes other data have."
        )
    return _noise_of(config, noise.asymmetric(name, config.noise.rate))


def _asymmetric_blocks_noise(config, source):
    """Returns noise that turns labels into the next of five classes in a row."""
    name = config.data.name.partition(":")[0]
    if name != "cifar100":
        raise ValueError(
            "`config.noise.kind` can be 'asymmetric_blocks' for cifar100 alone, where "
            f"ELR's code has it. Received: config.data.name={name!r}. 'pair_flip' goes "
            "from each class to the next."
        )
    return _noise_of(config, noise.asymmetric(f"{name}_blocks", config.noise.rate))


def _pair_flip_noise(config, source):
    """Returns noise that turns labels into the next class."""
    return _noise_of(config, noise.pair_flip(source.num_classes, config.noise.rate))


def _noise_of(config, matrix):
    """Returns the noise of a transition matrix."""
    return noise.LabelNoise(matrix, config.noise.seed, config.noise.exact)


def _instance_noise(config, source):
    """Returns noise that turns labels into a class that depends on the image."""
    return noise.InstanceDependentNoise(
        config.noise.rate, config.noise.seed, source.num_classes
    )


# From the kind of noise to a function `(config, source) -> noise`.
NOISES = {
    "none": None,
    "symmetric": _symmetric_noise,
    "asymmetric": _asymmetric_noise,
    "asymmetric_blocks": _asymmetric_blocks_noise,
    "pair_flip": _pair_flip_noise,
    "instance": _instance_noise,
}
