"""The table of methods: what each word of `config.method` brings. All else reads it."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import keras
import ml_collections
from ml_collections import FieldReference

from keras_ncr import losses, models
from keras_ncr.backbones import HeteroscedasticClassifier
from keras_ncr.checks import check_known
from keras_ncr.features.label_propagation import propagate_labels
from keras_ncr.losses import NeighborConsistencyLoss
from keras_ncr.models.auto_weight import AUTO
from keras_ncr.models.co_divide import CoDivide
from keras_ncr.pipelines import mixing


class Word(NamedTuple):
    """A row of the table: a new method is a class and a row, a new fact a field.

    The keys of the config section follow: they are the class's arguments and defaults.
    """

    kind: str  # "model", "loss" or "addition".
    makes: Callable | None = None  # Takes the settings of the word's config section.
    # Settings that `makes` has not, has without default, or has another default for.
    settings: dict = {}
    # Of "index" (the batch says which examples it holds), "views" (two changed views of
    # each example), "one_hot" (labels as rows of class weights), "unmixed" (no mixup or
    # second view: each row is one example, or a view that the model asks for), and
    # "verification" (of some examples, whether the label is right).
    needs: tuple = ()
    loss: str = "any"  # Of a model: "any", "cross_entropy", or "own" (compiles none).
    num_networks: int = 1
    own_classifier: bool = False  # Of a model: whether no other head fits it.
    mixes: bool = False  # Whether inputs are mixed with each other.
    joins_ncr: bool = False  # Whether NCR's term can be part of the objective.
    # Makes the callback that sees all training examples between two epochs.
    between_epochs: Callable | None = None


def label_smoothing(weight: float = 0.5) -> keras.losses.Loss:
    """Returns the loss of the paper's eq. 6, with the weight of NCR's released code."""
    return keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=weight
    )


# What the run gives to a class, or what needs something that no config can give.
_GIVEN = {
    *("num_examples", "seed", "classifier", "consistency_loss", "consistency_weight"),
    *("num_views", "consistency_term_weight", "from_logits", "dtype"),
}


def _defaults(makes):
    """Returns the arguments of a class or function that are settings; 0 for None."""
    parameters = inspect.signature(makes).parameters if makes else {}
    return {
        name: 0 if parameter.default is None else parameter.default
        for name, parameter in parameters.items()
        if parameter.default is not parameter.empty and name not in _GIVEN
    }


def _default_weight(model):
    """Returns the alpha of a class."""
    return inspect.signature(model).parameters["consistency_weight"].default


# NCR's term beside ELR's, as `ELRModel` has it: its own alpha, and the squared
# temperature. NCR's alpha would leave cross-entropy too little, and training fails.
_BESIDE_ELR = {
    "consistency_weight": _default_weight(models.ELRModel),
    "similarity_power": 6.0,
    "temperature_squared": True,
}

# Two strongly changed views, and the image as it is.
_OF_MOIT = {"views": "rand_augment_and_plain"}
_WITH_MOIT = {
    "needs": ("index", "views", "unmixed"),
    "loss": "own",
    "mixes": True,
    "joins_ncr": True,
    "between_epochs": models.CleanSetDetection,
}

TABLE = {
    "standard": Word("model"),
    "ncr": Word(
        "model",
        models.NCRModel,
        {
            "consistency_weight": _default_weight(models.NCRModel),
            **_defaults(NeighborConsistencyLoss),
        },
    ),
    "elr": Word(
        "model",
        models.ELRModel,
        _BESIDE_ELR,
        needs=("index", "unmixed"),
        joins_ncr=True,
    ),
    "elr_plus": Word(
        "model",
        models.ELRPlusModel,
        {"consistency_weight": 0.3, "temperature_squared": True},
        needs=("index", "unmixed"),
        loss="cross_entropy",
        num_networks=2,
        mixes=True,
        joins_ncr=True,
    ),
    "gjs": Word(
        "model",
        models.GJSModel,
        {"views": "rand_augment"},  # One of VIEWS in experiments/batches.py.
        needs=("views", "unmixed"),
        loss="own",
        joins_ncr=True,
    ),
    "co_teaching": Word(
        "model",
        models.CoTeachingModel,
        {"forget_rate": 0.0},  # Not told, which is refused.
        num_networks=2,
    ),
    "sop": Word(
        "model", models.SOPModel, needs=("index", "unmixed"), loss="own", joins_ncr=True
    ),
    # SOP with both terms of its released config, and a view for the first of these.
    "sop_plus": Word(
        "model",
        models.SOPModel,
        {
            "consistency_term_weight": 0.9,
            "balance_weight": 0.1,
            "views": "auto_augment",
        },
        needs=("index", "views", "unmixed"),
        loss="own",
        joins_ncr=True,
    ),
    "mile": Word(
        "model", models.MILeModel, loss="own", own_classifier=True, joins_ncr=True
    ),
    "curriculum": Word(
        "model",
        models.CurriculumModel,
        # The table of an audit, such as `audit/labels.parquet` of another run, whose
        # `label_quality` takes the place of densities.
        {"scores": ""},
        needs=("index", "unmixed"),
        joins_ncr=True,
        between_epochs=models.DensityCurriculum,
    ),
    "sgn": Word(
        "model", models.SGNModel, loss="own", own_classifier=True, joins_ncr=True
    ),
    "ssr": Word(
        "model",
        models.SSRModel,
        {"views": "rand_augment"},
        needs=("index", "views", "unmixed"),
        loss="own",
        mixes=True,
        joins_ncr=True,
        between_epochs=models.SampleSelection,
    ),
    "l_dmi": Word("model", models.LDMIModel),
    "mlnt": Word("model", models.MLNTModel, needs=("unmixed",), joins_ncr=True),
    "mopro": Word(
        "model",
        models.MoProModel,
        {"views": "auto_augment"},  # A weakly and a strongly changed one.
        needs=("views", "unmixed"),
        loss="own",
        joins_ncr=True,
    ),
    "cleannet": Word(
        "model",
        models.CleanNetModel,
        # The share of the examples whose true labels are looked up, where they are
        # known. Corrections are verification labels too.
        {"verified_share": 0.0},
        needs=("index", "unmixed", "verification"),
        joins_ncr=True,
        between_epochs=models.LabelVerification,
    ),
    "moit": Word("model", models.MOITModel, _OF_MOIT, **_WITH_MOIT),
    # Of 250 epochs 130 are the first stage, and 70 of MOIT+ follow.
    "moit_plus": Word(
        "model",
        models.MOITModel,
        {**_OF_MOIT, "first_stage_share": 0.41, "last_stage_share": 0.22},
        **_WITH_MOIT,
    ),
    "divide_mix": Word(
        "model",
        models.DivideMixModel,
        {"views": "plain"},
        needs=("index", "views", "unmixed"),
        loss="cross_entropy",
        num_networks=2,
        between_epochs=CoDivide,
    ),
    "longremix": Word(
        "model",
        models.LongReMixModel,
        {**_defaults(models.DivideMixModel), "views": "plain"},
        needs=("index", "views", "unmixed"),
        loss="cross_entropy",
        num_networks=2,
        between_epochs=CoDivide,
    ),
    "label_smoothing": Word("loss", label_smoothing, needs=("one_hot",)),
    "soft_bootstrap": Word("loss", losses.SoftBootstrap),
    "hard_bootstrap": Word("loss", losses.HardBootstrap),
    "gce": Word("loss", losses.GeneralizedCrossEntropy),
    "sce": Word("loss", losses.SymmetricCrossEntropy),
    "js": Word("loss", losses.JensenShannon, needs=("unmixed",)),
    "mixup": Word("addition", mixing.mixup, needs=("one_hot",), mixes=True),
    # With the pixels by which an image moves.
    "second_view": Word("addition", mixing.color_jitter, {"shift": 0}),
    "oracle": Word("addition"),
    "label_propagation": Word("addition", propagate_labels),
    # A head: with every model.
    "heteroscedastic": Word("addition", HeteroscedasticClassifier),
}

# The rows of the paper's tables, and the peers that users expect beside them.
METHOD_ROWS = (
    *("standard", "label_smoothing", "soft_bootstrap", "hard_bootstrap", "gce", "sce"),
    *("mixup", "label_smoothing+mixup", "soft_bootstrap+mixup", "label_propagation"),
    "heteroscedastic",
    *("js", "gjs", "co_teaching", "elr", "elr_plus", "sop", "divide_mix", "l_dmi"),
    *("sgn", "ssr", "mlnt", "mopro", "moit", "moit_plus"),
    *("longremix", "mile", "curriculum", "cleannet"),
    *("ncr", "ncr+mixup", "ncr+mixup+second_view", "ncr+elr", "ncr+elr_plus"),
    *("oracle", "oracle+mixup"),
)


def method_sections() -> ml_collections.ConfigDict:
    """Returns the config section, with its defaults, of each word that has one."""
    sections = {
        word: {**_defaults(row.makes), **row.settings} for word, row in TABLE.items()
    }
    for settings in sections.values():
        # Numbers, or "auto".
        for key in {"consistency_weight", "reject_outliers"} & settings.keys():
            settings[key] = FieldReference(settings[key], field_type=object)
    return ml_collections.ConfigDict(
        {word: settings for word, settings in sections.items() if settings}
    )


class Method(NamedTuple):
    """What `config.method` stands for."""

    words: tuple
    model: str  # A model of the table; of NCR joined with another it is the other.
    loss: str  # A loss of the table, or "cross_entropy".

    @property
    def row(self) -> Word:
        """The model's row of the table."""
        return TABLE[self.model]

    @property
    def has_mean_predictions(self) -> bool:
        """Whether a row of a batch is one example, which one network predicts."""
        is_plain = self.row.makes is None or self.row.num_networks > 1
        is_changed = {"mixup", "second_view"} & {*self.words} or self.needs("views")
        return not is_plain and not is_changed

    def needs(self, what: str) -> bool:
        """Returns whether a word needs something, one of `Word.needs`."""
        return any(what in TABLE[word].needs for word in self.words)


def method_of(config) -> Method:
    """Returns the `Method` that a config names, or raises if that makes no sense."""
    # `config.method` is one word or several: `"ncr"`, `"soft_bootstrap+mixup"`.
    words = tuple(config.method.split("+"))
    for word in words:
        check_known(word, TABLE, "config.method")
    found = {kind: _of_kind(kind, words) for kind in ("model", "loss")}
    joined = [model for model in found["model"] if model != "ncr"]
    model = [*joined, *found["model"], "standard"][0]
    unmixed = [word for word in words if "unmixed" in TABLE[word].needs]
    mixing_words = {"mixup", "second_view"} & set(words)
    trained = [*_of_kind("model"), *_of_kind("loss")]
    for is_wrong, expected in (
        (len(set(words)) < len(words), "no word twice"),
        (len(found["loss"]) > 1, f"one loss at most, of {_of_kind('loss')}"),
        (len(joined) > 1, "one model at most, or ncr joined with another"),
        (
            "ncr" in words and model != "ncr" and not TABLE[model].joins_ncr,
            f"ncr joined with one of {[w for w in TABLE if TABLE[w].joins_ncr]}, or "
            "ncr alone",
        ),
        (
            found["loss"] and TABLE[model].loss != "any",
            f"no other loss with {model}, which has its own; it goes with "
            f"{[w for w in _of_kind('model') if TABLE[w].loss == 'any']}",
        ),
        (
            "heteroscedastic" in words and TABLE[model].own_classifier,
            f"no heteroscedastic with {model}, which has a classifier of its own; all "
            "other models take it",
        ),
        (
            mixing_words and unmixed,
            f"no {' or '.join(sorted(mixing_words))} with {' and '.join(unmixed)}, "
            "which is defined for one row of each example or makes its own; rows are "
            f"mixed for {[w for w in trained if 'unmixed' not in TABLE[w].needs]}",
        ),
    ):
        if is_wrong:
            raise ValueError(
                f"`config.method` must have {expected}. Received: {config.method!r}. "
                f"Models: {', '.join(_of_kind('model'))}. "
                f"Losses: {', '.join(_of_kind('loss'))}. "
                f"Additions: {', '.join(_of_kind('addition'))}."
            )
    return Method(words, model, [*found["loss"], "cross_entropy"][0])


def carried(config) -> tuple:
    """Returns what training batches carry beside labels: the numbers, if needed."""
    method = method_of(config)
    ncr = consistency_settings(config)
    has_own = ncr["consistency_weight"] == AUTO or bool(ncr["reject_outliers"])
    is_needed = method.needs("index") or ("ncr" in method.words and has_own)
    return ("index",) if is_needed else ()


def _of_kind(kind, words=TABLE):
    """Returns those of the words that are of a kind."""
    return [word for word in words if TABLE[word].kind == kind]


def consistency_settings(config) -> dict:
    """Returns the settings of NCR: `config.ncr`, as a joined model changes it."""
    model = method_of(config).model
    section = config.get(model, {})
    changed = TABLE[model].settings.keys() & config.ncr.keys()
    return {**config.ncr, **{key: section[key] for key in changed}}
