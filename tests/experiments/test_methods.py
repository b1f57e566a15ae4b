"""The words of `config.method`: what they stand for, and what makes no sense."""

import functools
import inspect
import pathlib
import re

import keras
import numpy as np
import pytest
from model_harness import few

import keras_ncr
from keras_ncr.datasets import from_arrays
from keras_ncr.experiments import run
from keras_ncr.experiments.batches import num_views, training_batches
from keras_ncr.experiments.config import default_config, set_noise
from keras_ncr.experiments.config_checks import check_config
from keras_ncr.experiments.data import Sources
from keras_ncr.experiments.methods import METHOD_ROWS, TABLE
from keras_ncr.experiments.model import BACKBONES, compiled_model


def config_of(method, **settings):
    config = default_config()
    config.method, config.model.backbone = method, "mlp"
    config.co_teaching.forget_rate = 0.4
    config.divide_mix.warmup_epochs = config.longremix.warmup_epochs = 0
    config.cleannet.verified_share, config.cleannet.num_steps = 0.5, 2
    config.batch_size = 16
    config.epochs = 2
    config.update_from_flattened_dict(settings)
    return config


def small_source(num_examples=40):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (num_examples, 6, 6, 1), "uint8")
    return from_arrays(images, np.arange(num_examples) % 4, num_classes=4)


CLASSES = {
    "standard": "Functional",
    "label_smoothing": "Functional",
    "ncr": "NCRModel",
    "ncr+mixup": "NCRModel",
    "heteroscedastic": "Functional",
    "ncr+heteroscedastic": "NCRModel",
    "heteroscedastic+elr_plus": "ELRPlusModel",
    "ncr+soft_bootstrap": "NCRModel",
    "elr": "ELRModel",
    "ncr+elr": "ELRModel",
    "elr_plus": "ELRPlusModel",
    "ncr+elr_plus": "ELRPlusModel",
    "gjs": "GJSModel",
    "ncr+gjs": "GJSModel",
    "sop": "SOPModel",
    "sop_plus": "SOPModel",
    "co_teaching": "CoTeachingModel",
    "co_teaching+gce": "CoTeachingModel",
    "divide_mix": "DivideMixModel",
    "l_dmi": "LDMIModel",
    "mlnt": "MLNTModel",
    "mopro": "MoProModel",
    "moit": "MOITModel",
    "ncr+moit_plus": "MOITModel",
    "ncr+mopro": "MoProModel",
    "mile": "MILeModel",
    "curriculum": "CurriculumModel",
    "longremix": "LongReMixModel",
    "cleannet": "CleanNetModel",
    "sgn": "SGNModel",
    "ssr": "SSRModel",
    "ncr+ssr": "SSRModel",
    "ncr+sgn+mixup": "SGNModel",
}


@pytest.mark.parametrize("method", CLASSES)
def test_method_makes_its_model(method):
    model = compiled_model(config_of(method), small_source())
    assert type(model).__name__ == CLASSES[method]


@pytest.mark.parametrize("method", ["standard", "elr", "elr_plus", "gjs", "sop"])
def test_consistency_is_there_only_where_it_is_named(method):
    source = small_source()
    config = config_of(method)
    config.ncr.consistency_weight, config.ncr.warmup_epochs = 0.4, 3
    alone = compiled_model(config, source)
    assert getattr(alone, "consistency_weight", 0) == 0
    if method != "standard":
        config.method = f"ncr+{method}"
        config.elr.consistency_weight = config.elr_plus.consistency_weight = 0.2
        joined = compiled_model(config, source)
        expected = 0.2 if method.startswith("elr") else 0.4
        assert (joined.consistency_weight, joined.warmup_epochs) == (expected, 3)


@pytest.mark.parametrize(
    ("method", "loss"),
    [
        ("standard", "SparseCategoricalCrossentropy"),
        ("ncr", "SparseCategoricalCrossentropy"),
        ("mixup", "CategoricalCrossentropy"),
        ("label_smoothing", "CategoricalCrossentropy"),
        ("ncr+label_smoothing", "CategoricalCrossentropy"),
        ("soft_bootstrap", "SoftBootstrap"),
        ("ncr+hard_bootstrap+mixup", "HardBootstrap"),
        ("gce", "GeneralizedCrossEntropy"),
        ("sce+mixup", "SymmetricCrossEntropy"),
        ("js", "JensenShannon"),
    ],
)
def test_method_has_its_loss(method, loss):
    model = compiled_model(config_of(method), small_source())
    assert type(model.loss).__name__ == loss


@pytest.mark.parametrize(
    ("method", "key", "value", "where"),
    [
        ("label_smoothing", "label_smoothing.weight", 0.3, "loss.label_smoothing"),
        ("soft_bootstrap", "soft_bootstrap.weight", 0.3, "loss.weight"),
        ("hard_bootstrap", "hard_bootstrap.weight", 0.3, "loss.weight"),
        ("gce", "gce.q", 0.3, "loss.q"),
        ("sce", "sce.reverse_weight", 0.3, "loss.reverse_weight"),
        ("js", "js.label_weight", 0.3, "loss.label_weight"),
        ("elr", "elr.elr_weight", 5.0, "elr_weight"),
        ("elr_plus", "elr_plus.average_decay", 0.9, "average_decay"),
        ("gjs", "gjs.label_weight", 0.4, "label_weight"),
        ("sop", "sop.u_learning_rate", 0.3, "u_learning_rate"),
        ("co_teaching", "co_teaching.ramp_epochs", 7, "ramp_epochs"),
        ("divide_mix", "divide_mix.unlabeled_weight", 7.0, "unlabeled_weight"),
        ("longremix", "longremix.confident_epochs", 3, "confident_epochs"),
        ("longremix", "longremix.unlabeled_weight", 7.0, "unlabeled_weight"),
        ("curriculum", "curriculum.noisy_weight", 0.3, "noisy_weight"),
        ("mile", "mile.teacher_steps", 30, "teacher_steps"),
        ("sgn", "sgn.smoothing", 0.1, "smoothing"),
        ("ssr", "ssr.relabel_threshold", 0.8, "relabel_threshold"),
        ("moit", "moit.bootstrap_weight", 0.3, "bootstrap_weight"),
        ("moit_plus", "moit_plus.last_stage_share", 0.3, "last_stage_share"),
        ("mopro", "mopro.logit_share", 0.3, "logit_share"),
        ("l_dmi", "l_dmi.first_stage_share", 0.3, "first_stage_share"),
        ("mlnt", "mlnt.second_order", False, "second_order"),
        ("cleannet", "cleannet.margin", 0.2, "margin"),
        ("ncr", "ncr.num_neighbors", 3, "consistency_loss.num_neighbors"),
        ("ncr+heteroscedastic", "heteroscedastic.rank", 3, "classifier.rank"),
    ],
)
def test_settings_reach_the_model(method, key, value, where):
    model = compiled_model(config_of(method, **{key: value}), small_source())
    for name in where.split("."):
        model = getattr(model, name)
    assert model == value


TESTS = pathlib.Path(__file__).parents[1]


def test_page_on_fidelity_has_every_method_and_network_and_names_tests_that_exist():
    page = (TESTS.parent / "docs" / "fidelity.md").read_text(encoding="utf-8")
    missing = [name for name in [*TABLE, *BACKBONES] if f"`{name}`" not in page]
    assert not missing
    file, found = None, 0
    for path, name in re.findall(r"`([\w/]+\.py)?(?:::(test_\w+))?`", page):
        file = TESTS / path if path else file
        if name:
            assert f"def {name}(" in file.read_text(encoding="utf-8"), name
            found += 1
    assert found > 25


# One set of defaults: a class, its config section, and what is built from it.


@pytest.mark.parametrize("word", [word for word, row in TABLE.items() if row.makes])
def test_section_has_the_defaults_of_the_class(word):
    row, section = TABLE[word], default_config()[word].to_dict()
    parameters = inspect.signature(row.makes).parameters
    shared = section.keys() & parameters.keys() - row.settings.keys()
    assert section.keys() == shared | row.settings.keys()
    assert {key: section[key] for key in shared} == {
        key: parameters[key].default for key in shared
    }


@pytest.mark.parametrize("method", ["ncr", "ncr+elr"])
def test_default_consistency_is_that_of_the_class(method):
    backbone = keras.Sequential([keras.layers.Dense(4)])
    cls = keras_ncr.NCRModel if method == "ncr" else keras_ncr.ELRModel
    by_hand, built = cls(backbone, 4), compiled_model(config_of(method), small_source())
    assert built.consistency_weight == by_hand.consistency_weight
    assert built.warmup_epochs == by_hand.warmup_epochs
    configs = [model.consistency_loss.get_config() for model in (built, by_hand)]
    assert configs[0] | {"name": ""} == configs[1] | {"name": ""}


@functools.cache
def first_batch(method, **settings):
    source = small_source()
    batches = training_batches(config_of(method, **settings), source, 0)
    images, targets = next(iter(batches))
    return images.numpy(), targets


def test_batches_are_what_the_method_needs():
    images, labels = first_batch("standard")
    assert images.shape == (16, 6, 6, 1) and labels.shape == (16,)
    images, labels = first_batch("label_smoothing")
    assert labels.shape == (16, 4) and np.all(np.max(labels, axis=1) == 1)
    images, labels = first_batch("ncr+mixup")
    assert images.dtype == "float32" and np.any(np.max(labels, axis=1) < 1)
    images, targets = first_batch("ncr+elr")
    assert sorted(targets) == ["index", "label"]


@pytest.mark.parametrize("method", ["ncr", "ncr+elr"])
def test_weight_that_sets_itself_gets_the_numbers_of_examples(method):
    config, source = config_of(method), small_source()
    for section in (config.ncr, config.elr):
        section.consistency_weight = "auto"
    model = compiled_model(config, source)
    assert model.consistency_weight == "auto" and model.num_examples == 40
    _, targets = next(iter(training_batches(config, source, 0)))
    assert set(targets) == {"label", "index"}


def test_weight_that_sets_itself_is_refused_for_mixed_rows():
    config = config_of("ncr+mixup")
    config.ncr.consistency_weight = "auto"
    with pytest.raises(ValueError, match="cannot see.*'ncr.mixup'.*such as 0.3"):
        compiled_model(config, small_source())


@pytest.mark.parametrize("method", ["ncr+mixup", "ncr+second_view"])
def test_outliers_are_not_rejected_where_a_row_is_no_example(method):
    config = config_of(method)
    config.ncr.reject_outliers = "auto"
    with pytest.raises(ValueError, match="`config.ncr.reject_outliers` must be 0.*row"):
        compiled_model(config, small_source(40))


def test_second_view_keeps_the_first_and_views_change_both():
    originals, _ = first_batch("ncr")
    images, labels = first_batch("ncr+second_view")
    assert np.array_equal(images[::2], originals) and len(labels) == 32
    assert not np.array_equal(images[1::2], originals)
    images, labels = first_batch("gjs", **{"gjs.views": "jittered"})
    assert len(images) == 32 and not np.array_equal(images[::2], originals)
    assert np.array_equal(labels[::2], labels[1::2])


@pytest.mark.parametrize("method", ["divide_mix", "gjs", "sop_plus"])
def test_views_are_those_of_the_authors(method):
    """Two crops; RandAugment on both; a crop alone, and AutoAugment with cutout."""
    crop = {"augment.padding": 2, "augment.flip": True}
    originals, _ = first_batch("standard")
    cropped, _ = first_batch("standard", **crop)
    images, targets = first_batch(method, **crop)
    first, second = images[::2], images[1::2]
    assert images.shape == (32, 6, 6, 1) and images.dtype == np.uint8
    assert not np.array_equal(first, second)
    labels = targets["label"] if isinstance(targets, dict) else targets
    assert np.array_equal(labels[::2], labels[1::2])
    is_blank = [
        np.any(np.mean(view == 128, axis=(1, 2, 3)) > 0.1) for view in (first, second)
    ]
    assert is_blank == {"divide_mix": [0, 0], "gjs": [1, 1], "sop_plus": [0, 1]}[method]
    assert not np.array_equal(cropped, originals)


@pytest.mark.slow
def test_views_are_a_function_of_seed_epoch_and_example():
    once, again = first_batch("sop_plus")[0], first_batch.__wrapped__("sop_plus")[0]
    np.testing.assert_array_equal(once, again)


def test_views_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match="`config.gjs.views` must be one of"):
        first_batch("gjs", **{"gjs.views": "plane"})


@pytest.mark.parametrize(
    "word", few("ssr", of=[w for w in TABLE if "views" in TABLE[w].needs])
)
def test_methods_with_views_say_which(word):
    config, source = config_of(word), small_source()
    images, _ = first_batch(word)
    has_plain = word in ("moit", "moit_plus")  # Beside two that are changed.
    assert num_views(config) == 2 + has_plain
    assert len(images) == 16 * num_views(config)
    assert compiled_model(config, source).num_views == num_views(config)


def test_the_last_view_of_moit_is_as_in_evaluation():
    originals, _ = first_batch("standard")
    crop = {"augment.padding": 2, "augment.flip": True}
    images, targets = first_batch("moit", **crop)
    np.testing.assert_array_equal(images[2::3], originals)
    assert not np.array_equal(images[::3], images[1::3])
    assert np.array_equal(targets["label"][::3], targets["label"][2::3])


def test_sop_plus_has_both_terms():
    model = compiled_model(config_of("sop_plus"), small_source())
    assert (model.num_views, model.consistency_term_weight) == (2, 0.9)
    assert model.balance_weight == 0.1


# Rows of which other files have a test, or that differ from others by a loss.
LIKE_OTHERS = {
    *("heteroscedastic", "l_dmi", "sgn", "ssr", "mlnt", "mopro"),
    *("longremix", "mile", "curriculum", "cleannet"),
    *("moit", "moit_plus"),
    *("hard_bootstrap", "sce", "js", "label_smoothing+mixup", "soft_bootstrap+mixup"),
    *("oracle+mixup", "ncr+mixup+second_view", "ncr+elr_plus", "soft_bootstrap"),
    *("label_smoothing", "gce", "mixup", "elr", "elr_plus", "gjs", "sop", "divide_mix"),
    *("standard", "co_teaching", "ncr", "ncr+mixup", "ncr+elr"),
}


@pytest.mark.usefixtures("eager_functions")
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(row, marks=[pytest.mark.slow] if row in LIKE_OTHERS else [])
        for row in METHOD_ROWS
    ],
)
def test_row_trains_and_is_evaluated(method, tmp_path, monkeypatch):
    source, test = small_source(40), small_source(20)
    sources = Sources(source, test)
    monkeypatch.setattr(run, "load_sources", lambda data, verbose: sources)
    config = config_of(method, **{"optimizer.learning_rate": 0.01})
    config.label_propagation.num_neighbors = 5
    results = run.train(config, tmp_path, verbose=0)
    assert results["method"] == method and results["num_failed"] == 0
    assert 0 <= results["last_test_accuracy"]["mean"] <= 1
    assert ("propagated_test_accuracy" in results) == (method == "label_propagation")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("nrc+mixup", "'nrc'. Did you mean 'ncr'"),
        ("gce+sce", "one loss at most"),
        ("elr+sop", "one model at most, or ncr joined with another"),
        ("ncr+co_teaching", r"ncr joined with one of \['elr', 'elr_plus', 'gjs'"),
        ("heteroscedastic+sgn", "no heteroscedastic with sgn.*all other models take"),
        ("gjs+gce", r"no other loss with gjs.*goes with \['standard', 'ncr', 'elr', "),
        ("elr+mixup", r"no mixup with elr.*mixed for \['standard', 'ncr', 'co_teach"),
        ("gjs+second_view", "no second_view with gjs"),
        ("js+mixup", "no mixup with js"),
        ("ncr+ncr", "no word twice"),
        ("", "Received: ''"),
    ],
)
def test_method_that_makes_no_sense_is_refused(method, message):
    with pytest.raises(ValueError, match=message):
        check_config(config_of(method))


def test_refusal_lists_what_there_is():
    with pytest.raises(
        ValueError, match="Models: standard.*Losses: .*Additions: mixup"
    ):
        check_config(config_of("elr+mixup"))


@pytest.mark.parametrize("method", ["heteroscedastic", "mile", "sgn"])
def test_a_second_classifier_is_refused(method):
    config = config_of(method, **{"model.classifier": "cosine"})
    with pytest.raises(ValueError, match="`config.model.classifier` has no effect"):
        compiled_model(config, small_source())


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_co_teaching_without_a_rate_is_refused(rate):
    config = config_of("co_teaching")
    # A rate of which no label is to be redrawn says nothing.
    noise = "none" if rate else "symmetric"
    set_noise(config, {"method": "co_teaching", "noise": noise, "rate": rate})
    with pytest.raises(ValueError, match="forget_rate` must be the share of wrong"):
        compiled_model(config, small_source())
