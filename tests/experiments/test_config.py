"""Tests of config.py: defaults, string arguments, names."""

import json

import pytest

from keras_ncr.experiments.config import (
    choose,
    default_config,
    stem_for,
    string_arguments,
)

DEFAULTS = {"method": "ncr", "rate": 0.4, "classes": 10}


def test_default_config_holds_plain_values_alone():
    settings = default_config().to_dict()
    assert json.loads(json.dumps(settings)) == settings


def test_default_config_refuses_keys_that_do_not_exist():
    config = default_config()
    with pytest.raises((AttributeError, KeyError), match="num_neighbors"):
        config.ncr.num_neighbor = 5


def test_default_config_is_the_callers_own():
    default_config().ncr.num_neighbors = 5
    assert default_config().ncr.num_neighbors == 10


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (None, DEFAULTS),
        ("", DEFAULTS),
        ("standard", {**DEFAULTS, "method": "standard"}),
        ("rate=0.2", {**DEFAULTS, "rate": 0.2}),
        ("standard,rate=0", {**DEFAULTS, "method": "standard", "rate": 0.0}),
        (
            "classes=100,method=standard,rate=1e-1",
            {"method": "standard", "rate": 0.1, "classes": 100},
        ),
    ],
)
def test_string_arguments_are_read(argument, expected):
    values = string_arguments(argument, **DEFAULTS)
    assert values == expected
    assert [type(value) for value in values.values()] == [str, float, int]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("metod=ncr", "Received: 'metod'. Did you mean 'method'?"),
        ("ncr,rat=0.2", "Received: 'rat'. Did you mean 'rate'?"),
        ("ncr,zzz=0.2", r"\['method', 'rate', 'classes'\]. Received: 'zzz'.$"),
        ("ncr,standard", "must read key=value.*Received: 'standard'"),
        ("ncr,", "must read key=value.*Received: ''"),
        ("=0.2", "Received: ''"),
        ("rate=half", "`rate` of the config must be of type float. Received: 'half'"),
        ("classes=10.0", "`classes` of the config must be of type int"),
    ],
)
def test_wrong_string_arguments_are_refused(argument, message):
    with pytest.raises(ValueError, match=message):
        string_arguments(argument, **DEFAULTS)


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ("my pictures", "my pictures"),
        ("runs/lr=0.1/pictures", "runs/lr=0.1/pictures"),
        ("path=runs/lr=0.1/pictures,size=3", "runs/lr=0.1/pictures"),
        ("C:\\pictures", "C:\\pictures"),
    ],
)
def test_paths_may_hold_what_arguments_are_made_of(argument, path):
    assert string_arguments(argument, path="", size=0)["path"] == path


def test_stem_suits_the_images():
    assert stem_for("resnet50", 64) == "imagenet"
    assert stem_for("resnet50", 63) == stem_for("resnet50", 0) == "cifar"
    assert stem_for("preact_resnet18", 224) == stem_for("ResNet50", 224) == "cifar"


def test_choose_names_what_there_is():
    known = {"ncr": 1, "standard": 2}
    assert choose("standard", known, "config.method") == 2
    with pytest.raises(ValueError) as error:
        choose("standart", known, "config.method")
    assert str(error.value) == (
        "`config.method` must be one of ['ncr', 'standard']. Received: 'standart'. "
        "Did you mean 'standard'?"
    )


def test_choose_suggests_nothing_where_nothing_is_near():
    with pytest.raises(ValueError, match="Received: 'x'.$"):
        choose("x", {"ncr": 1}, "config.method")
