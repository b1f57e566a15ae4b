"""The words of `config.method`: what a row of the paper's tables is made of."""

from typing import NamedTuple

from keras_ncr.checks import check_known

# What trains: a model of the package, or a plain Keras classifier.
MODELS = (
    *("standard", "ncr", "elr", "elr_plus", "gjs", "co_teaching", "sop"),
    "divide_mix",
)
# The classification loss, where it is not cross-entropy.
LOSSES = ("label_smoothing", "soft_bootstrap", "hard_bootstrap", "gce", "sce", "js")
# What is done to the batches, to the data, or with the features afterward.
ADDITIONS = ("mixup", "second_view", "oracle", "label_propagation")

# Models that NCR's term can be joined with.
_JOINED_WITH_NCR = ("elr", "elr_plus", "gjs", "sop")
# Models that bring their own classification loss.
_OWN_LOSS = ("elr_plus", "gjs", "sop", "divide_mix")
# Models that remember something about each example: there must be one row of each in a
# batch, as it is. The last three mix or make views themselves.
_BY_EXAMPLE = ("elr", "sop", "elr_plus", "gjs", "divide_mix")
# Models that remember something about each example, by its index.
_WITH_INDEX = ("elr", "elr_plus", "sop", "divide_mix")
# Models whose batches hold two changed views of each example.
_WITH_VIEWS = ("gjs", "divide_mix")


class Method(NamedTuple):
    """What `config.method` stands for."""

    model: str  # One of MODELS; that of NCR joined with another is the other.
    loss: str  # One of LOSSES, or "cross_entropy".
    has_consistency: bool  # Whether NCR's term is part of the objective.
    is_mixed: bool  # Whether the pipeline mixes the batches.
    has_second_view: bool  # Whether the pipeline adds a changed view of each image.
    is_oracle: bool  # Whether wrong labels are left out.
    is_propagated: bool  # Whether labels are propagated over the features at the end.

    @property
    def is_one_hot(self):
        """Whether labels come as rows of class weights."""
        return self.is_mixed or self.loss == "label_smoothing"

    @property
    def needs_index(self):
        """Whether the model has to be told which examples a batch holds."""
        return self.model in _WITH_INDEX

    @property
    def needs_views(self):
        """Whether the model has to be given two changed views of each example."""
        return self.model in _WITH_VIEWS


def method_of(config):
    """Returns the `Method` that a config names, or raises for one that makes no sense.

    `config.method` is one word or several, joined by a plus sign: `"ncr"`,
    `"soft_bootstrap+mixup"`, `"ncr+elr"`.
    """
    words = config.method.split("+")
    for word in words:
        check_known(word, (*MODELS, *LOSSES, *ADDITIONS), "config.method")
    _refuse(len(set(words)) < len(words), config, "no word twice")
    models = [word for word in words if word in MODELS]
    losses = [word for word in words if word in LOSSES]
    joined = [model for model in models if model != "ncr"]
    has_consistency = "ncr" in models
    _refuse(len(losses) > 1, config, f"one loss at most, of {list(LOSSES)}")
    _refuse(len(joined) > 1, config, "one model at most, or ncr joined with another")
    model = joined[0] if joined else "ncr" if has_consistency else "standard"
    if has_consistency and joined:
        _refuse(
            model not in _JOINED_WITH_NCR,
            config,
            f"ncr joined with one of {list(_JOINED_WITH_NCR)}, or ncr alone",
        )
    _refuse(
        bool(losses) and model in _OWN_LOSS,
        config,
        f"no other loss with {model}, which has its own",
    )
    for addition in ("mixup", "second_view"):
        _refuse(
            addition in words and (model in _BY_EXAMPLE or losses == ["js"]),
            config,
            f"no {addition} with {model if model in _BY_EXAMPLE else 'js'}, which is "
            "defined for one row of each example or makes its own",
        )
    return Method(
        model,
        losses[0] if losses else "cross_entropy",
        has_consistency,
        is_mixed="mixup" in words,
        has_second_view="second_view" in words,
        is_oracle="oracle" in words,
        is_propagated="label_propagation" in words,
    )


def _refuse(is_wrong, config, expected):
    """Raises for a combination that is not built or has no meaning."""
    if is_wrong:
        raise ValueError(
            f"`config.method` must have {expected}. Received: {config.method!r}. "
            f"Models: {', '.join(MODELS)}. Losses: {', '.join(LOSSES)}. "
            f"Additions: {', '.join(ADDITIONS)}."
        )
