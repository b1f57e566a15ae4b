"""Tests of settings that cannot take effect: refused, or said in the first lines."""

import pytest
from settings import config_of
from sources import random_source

from keras_ncr.cli import compare, inspect, sweep
from keras_ncr.experiments.config_checks import check_config
from keras_ncr.experiments.effects import notes, unused_settings

DIGITS = "--config=configs/digits.py"


@pytest.mark.parametrize("method", ["ncr", "ncr+elr", "ncr+mixup", "divide_mix"])
@pytest.mark.parametrize("epochs", [30, 50, 51])
def test_part_of_the_method_that_never_comes_in_is_refused(method, epochs):
    section = "divide_mix" if method == "divide_mix" else "ncr"
    config = config_of(method=method, epochs=epochs)
    config[section].warmup_epochs = 50
    if epochs > 50:
        check_config(config)
        return
    message = (
        rf"`config.{section}.warmup_epochs` must be below config.epochs={epochs}, "
    )
    with pytest.raises(ValueError, match=f"{message}.*never comes in. Received: 50"):
        check_config(config)


def test_warmup_that_leaves_nothing_of_a_stage_is_refused():
    settings = {"method": "longremix", "longremix__warmup_epochs": 10}
    check_config(config_of(epochs=22, **settings))
    with pytest.raises(ValueError, match="shorter stage, 10 of config.epochs=21, or"):
        check_config(config_of(epochs=21, **settings))


def test_warmup_of_what_the_method_has_not_is_of_no_account():
    check_config(config_of(method="standard", epochs=1, ncr__warmup_epochs=50))


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"ncr__num_neighbors": 8, "batch_size": 8}, "more than the 7 other examples"),
        ({"ncr__num_neighbors": 60}, "more than the 59 other examples"),
        ({"ncr__consistency_weight": 0.0}, "training without it"),
        ({"ncr__queue_size": 9999, "epochs": 2}, "queue_size=9,999 is never filled"),
        (
            {"method": "co_teaching", "epochs": 8},
            "co_teaching.ramp_epochs=10 is longer than the run of 8",
        ),
        (
            {"method": "divide_mix", "epochs": 25},
            "divide_mix.ramp_epochs=16 is longer than the run of 25",
        ),
        (
            {"method": "elr_plus", "elr_plus__ramp_steps": 999, "epochs": 3},
            "elr_plus.ramp_steps=999 is longer than the run of 3 steps",
        ),
        (
            {"method": "elr_plus", "elr_plus__average_ramp_steps": 999, "epochs": 3},
            "elr_plus.average_ramp_steps=999 is longer than the run of 3 steps",
        ),
        (
            {"method": "mile", "epochs": 3},
            "mile.teacher_steps=2,000 is not less than the run's 3 steps",
        ),
        (
            {"method": "mopro", "mopro__last_stage_share": 0.3, "epochs": 3},
            "last_stage_share=0.3 of 3 epochs is less than one: there is no last stage",
        ),
        ({"noise__rate": 0.0}, "rate 0: no label is redrawn"),
        ({"top_5": True}, "100 % of 4 classes"),
    ],
)
def test_setting_that_takes_effect_in_part_is_noted(settings, note):
    (found,) = notes(config_of(**settings), random_source(60, num_classes=4))
    assert note in found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_size": 11},
        {"batch_size": 4, "ncr__queue_size": 30},
        {"ncr__num_neighbors": 0, "batch_size": 8},
        {"method": "standard", "ncr__num_neighbors": 999},
        {"method": "co_teaching", "epochs": 9},
        {"method": "divide_mix", "epochs": 26},
        {"noise__kind": "none", "noise__rate": 0.0},
    ],
)
def test_settings_that_take_effect_are_not_noted(settings):
    assert notes(config_of(**settings), random_source(60)) == []


@pytest.mark.parametrize(
    ("settings", "key", "reason"),
    [
        ({}, "gce.q", "method=ncr"),
        ({"method": "standard"}, "ncr.num_neighbors", "method=standard"),
        ({"method": "ncr+elr"}, "ncr.consistency_weight", "method=ncr[+]elr"),
        ({"method": "elr"}, "elr.consistency_weight", "method=elr"),
        ({}, "second_view.hue", "method=ncr"),
        ({"method": "gjs"}, "second_view.hue", "gjs.views=rand_augment"),
        ({"noise__kind": "none"}, "noise.rate", "noise.kind=none"),
        ({"noise__kind": "pair_flip"}, "noise.include_true", "noise.kind=pair_flip"),
        ({"noise__kind": "instance"}, "noise.exact", "noise.kind=instance"),
        ({}, "model.stem", "model.backbone=small_cnn"),
        ({}, "augment.min_area", "augment.crop=padded"),
        ({"optimizer__momentum": 0.0}, "optimizer.nesterov", "optimizer.momentum=0"),
        (
            {"optimizer__weight_decay": 0.0},
            "optimizer.decay_kernels_only",
            "optimizer.weight_decay=0",
        ),
        (
            {"data__name": "folder", "data__test_path": "t"},
            "data.hold_out",
            "data.test_path=t",
        ),
        (
            {"method": "curriculum", "curriculum__scores": "a.csv"},
            "curriculum.first_stage_share",
            "curriculum.scores=a.csv",
        ),
    ],
)
def test_setting_without_effect_is_named_with_what_leaves_it_without(
    settings, key, reason
):
    (sentence,) = unused_settings(config_of(**settings), ["epochs", key])
    assert sentence == (
        f"--config.{key} has no effect with --config.{reason.replace('[+]', '+')}."
    )


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "ncr.num_neighbors"),
        ({"method": "ncr+elr"}, "elr.consistency_weight"),
        ({"method": "ncr+elr"}, "ncr.num_neighbors"),
        ({"method": "gjs", "gjs__views": "jittered"}, "second_view.hue"),
        ({"method": "gjs"}, "gjs.views"),
        ({"method": "ncr+gjs"}, "gjs.views"),
        ({"method": "ncr+mixup"}, "mixup.alpha"),
        ({"noise__kind": "none"}, "noise.kind"),
        ({}, "noise.include_true"),
        ({"data__name": "folder"}, "data.hold_out"),
    ],
)
def test_setting_with_an_effect_is_not_named(settings, key):
    assert unused_settings(config_of(**settings), [key]) == []


def test_command_says_what_has_no_effect_in_its_first_line(run_command, tmp_path):
    words = ["--config.gce.q=0.5", "--config.batch_size=4"]  # Few to draw.
    output = run_command(inspect, DIGITS, *words, f"--workdir={tmp_path / 'look'}")
    first = output.splitlines()[0]
    assert first == ("Note: --config.gce.q has no effect with --config.method=ncr.")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (compare, ["--methods=standard,ncr", "--config.gce.q=0.5"]),
        (sweep, ["--try=gce.q=0.5,0.6"]),
    ],
)
def test_comparison_of_what_has_no_effect_is_refused(
    run_command, tmp_path, module, words
):
    with pytest.raises(
        SystemExit, match="--config.gce.q has no effect .* Leave it out"
    ):
        run_command(module, DIGITS, *words, f"--workdir={tmp_path / 'runs'}")
