"""Tests of the command sweep.py, of the search behind it, and of its picture."""

import functools
import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest

from keras_ncr.cli import sweep
from keras_ncr.experiments.comparison.search import parse_tries
from keras_ncr.experiments.config import default_config
from keras_ncr.plots import sweep_figure

REPOSITORY = pathlib.Path(__file__).parents[2]
CONFIG = str(REPOSITORY / "tests" / "plain_config.py")


@pytest.fixture
def command(run_command, plan):
    """Runs the command in an empty folder; returns what it prints."""
    return functools.partial(
        run_command, sweep, f"--config={CONFIG}:ncr", "--workdir=runs"
    )


def calls(folder):
    """Returns the words of each call of training so far, by its name."""
    path = folder / "calls.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return {entry["name"]: entry["words"] for entry in entries}


def accuracies(**means):
    """Returns a plan: the accuracies of the runs of three trials, by their mean."""
    return {
        name: {"accuracies": [mean - 0.01, mean, mean + 0.01]}
        for name, mean in means.items()
    }


WEIGHT, NEIGHBORS = "ncr.consistency_weight", "ncr.num_neighbors"
# The default config has weight 0.9 and 10 neighbors.
TRIES = (f"--try={WEIGHT}=0.5,0.9", f"--try={NEIGHBORS}=5,10,50")
PLAN = accuracies(
    **{
        f"as_configured/{WEIGHT}=0.5": 0.7,
        "as_configured/as_configured": 0.6,
        f"as_configured/{WEIGHT}=0.5,{NEIGHBORS}=5": 0.8,
        f"as_configured/{WEIGHT}=0.5,{NEIGHBORS}=50": 0.75,
    }
)


# The command


def test_each_setting_keeps_the_best_of_those_before(command, plan, tmp_path):
    plan(PLAN)
    printed = command(*TRIES)
    # 10 neighbors is what the best of the first stage had: it serves again.
    assert list(calls(tmp_path)) == list(PLAN)
    assert printed.endswith(
        f"\nChosen: --config.{WEIGHT}=0.5 --config.{NEIGHBORS}=5\n"
        "All that was tried: runs\n"
    )
    assert f"{WEIGHT}\n  0.5        symmetric 40 %: 70.0 ± 1.0 %  < chosen\n" in printed
    content = json.loads((tmp_path / "runs" / "sweep.json").read_text())
    assert content["chosen"] == {WEIGHT: 0.5, NEIGHBORS: 5}
    first, second = content["stages"]
    assert (first["key"], first["chosen"]) == (WEIGHT, 0.5)
    assert [entry["value"] for entry in second["tried"]] == [5, 10, 50]
    assert [entry["mean"] for entry in second["tried"]] == pytest.approx(
        [0.8, 0.7, 0.75]
    )
    assert [entry["sd"] for entry in second["tried"]] == pytest.approx([0.01] * 3)
    assert (tmp_path / "runs" / "picture.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", ["sweep.json", "picture.png"])
def test_files_of_the_users_are_not_replaced(command, tmp_path, name):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / name).write_text("mine")
    with pytest.raises(SystemExit, match=f"not hold files of yours.*{name}"):
        command(*TRIES)
    assert (tmp_path / "runs" / name).read_text() == "mine"
    assert not (tmp_path / "calls.jsonl").exists()


def test_runs_hold_out_examples_and_never_see_the_test_set(command, plan, tmp_path):
    plan(PLAN)
    command(*TRIES, "--validation=0.2", "--config.epochs=5", "--trials=3")
    for words in calls(tmp_path).values():
        assert words[:4] == [
            f"--config={CONFIG}:ncr",
            "--config.epochs=5",
            "--config.data.validation_share=0.2",
            "--config.trials=3",
        ]
    name = f"{WEIGHT}=0.5,{NEIGHBORS}=50"
    assert calls(tmp_path)[f"as_configured/{name}"][4:] == [
        f"--config.{WEIGHT}=0.5",
        f"--config.{NEIGHBORS}=50",
        f"--workdir=runs/as_configured/{name}",
    ]


def test_a_tenth_is_held_out_by_default(command, tmp_path):
    command(f"--try={WEIGHT}=0.9")
    (words,) = calls(tmp_path).values()
    assert words[1] == "--config.data.validation_share=0.1"


def test_same_command_goes_on_and_more_can_be_tried(command, plan, tmp_path):
    plan(PLAN)
    command(TRIES[0])
    command(*TRIES)
    lines = (tmp_path / "calls.jsonl").read_text().splitlines()
    assert len(lines) == len(PLAN)


def test_best_is_that_of_the_mean_over_noises(command, plan, tmp_path):
    plan(
        accuracies(
            **{
                f"symmetric-0.2/{WEIGHT}=0.5": 0.9,  # The best of one noise.
                f"symmetric-0.4/{WEIGHT}=0.5": 0.5,
                "symmetric-0.2/as_configured": 0.8,
                "symmetric-0.4/as_configured": 0.7,
            }
        )
    )
    printed = command(TRIES[0], "--noises=symmetric:0.2,symmetric:0.4")
    assert f"Chosen: --config.{WEIGHT}=0.9\n" in printed
    (stage,) = json.loads((tmp_path / "runs" / "sweep.json").read_text())["stages"]
    assert [entry["mean"] for entry in stage["tried"]] == pytest.approx([0.7, 0.75])
    # Of trials with the same seed, the mean over noises is taken first.
    assert [entry["sd"] for entry in stage["tried"]] == pytest.approx([0.01, 0.01])
    words = calls(tmp_path)[f"symmetric-0.2/{WEIGHT}=0.5"]
    assert words[0] == f"--config={CONFIG}:ncr,noise=symmetric,rate=0.2"


def test_setting_that_failed_in_a_trial_is_not_chosen(command, plan, tmp_path):
    plan(
        {
            **PLAN,
            f"as_configured/{WEIGHT}=0.5": {"accuracies": [0.9, "The loss: nan.", 0.9]},
        }
    )
    printed = command(TRIES[0])
    assert f"Chosen: --config.{WEIGHT}=0.9\n" in printed
    assert "  0.5        failed, The loss: nan.\n" in printed
    (stage,) = json.loads((tmp_path / "runs" / "sweep.json").read_text())["stages"]
    assert stage["tried"][0]["failed"] == ["The loss: nan."]
    assert stage["tried"][0]["mean"] is None


def test_where_all_values_fail_nothing_is_chosen(command, plan):
    plan({"as_configured/as_configured": {"accuracies": ["The loss: nan."] * 3}})
    with pytest.raises(
        SystemExit, match=f"Of `{WEIGHT}` at least one .*The loss: nan."
    ):
        command(f"--try={WEIGHT}=0.9")


def test_nothing_is_chosen_while_a_run_is_missing(command, plan, tmp_path):
    plan({**PLAN, f"as_configured/{WEIGHT}=0.5": {"error": "Error: no memory."}})
    with pytest.raises(SystemExit, match="must be finished .*Error: no memory."):
        command(*TRIES)
    assert not (tmp_path / "runs" / "sweep.json").exists()
    plan(PLAN)
    assert "Chosen: " in command(*TRIES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "`--try` must name a setting and the values to try"),
        (["--try=ncr.num_neighbor=1"], "Did you mean 'num_neighbors'?"),
        (["--try=ncrs.num_neighbors=1"], "`--try=ncrs.num_neighbors` must be .*'ncr'?"),
        (["--try=epochs.x=1"], "`--try=epochs.x` must be one of"),
        (["--try=ncr=1"], "`--try` must name one setting of a group: ncr.KEY"),
        ([f"--try={NEIGHBORS}=1,0.5"], f"`{NEIGHBORS}` .* type int. Received: '0.5'"),
        ([f"--try={NEIGHBORS}"], f"`{NEIGHBORS}` .* type int. Received: ''"),
        ([TRIES[0], TRIES[0]], f"must name a key once. Received: '{WEIGHT}' twice"),
        ([TRIES[0], f"--config.{WEIGHT}=0.1"], f"`{WEIGHT}` must not be set .* --try"),
        (["--try=trials=1,2"], "`trials` must not be set .*--try"),
        (
            ["--try=noise.rate=0.1", "--noises=symmetric:0.2"],
            "`noise.rate` must not be",
        ),
        (["--try=method=ncr,nrc"], "Did you mean 'ncr'?"),
        ([TRIES[0], "--validation=0"], "`--validation` must be above 0 and below 1"),
        (
            [TRIES[0], "--config.data.validation_share=0.3"],
            "`data.validation_share` must not be set in --config beside --validation",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_runs(
    command, tmp_path, words, message
):
    with pytest.raises(SystemExit, match=message) as error:
        command(*words)
    assert str(error.value).startswith("Error: ")
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json"}


def test_noise_argument_is_refused_beside_noises(run_command, plan):
    with pytest.raises(SystemExit, match="`rate` must not be set .*--noises"):
        run_command(
            sweep,
            f"--config={CONFIG}:ncr,rate=0.2",
            "--workdir=runs",
            "--noises=symmetric:0.2",
            TRIES[0],
        )


def test_values_have_the_types_of_the_config():
    words = ["ncr.temperature=1,2.5,1.0", "augment.flip=true,False", "method=ncr,elr"]
    assert parse_tries(words, default_config()) == {
        "ncr.temperature": (1.0, 2.5),
        "augment.flip": (True, False),
        "method": ("ncr", "elr"),
    }


@pytest.fixture
def tune():
    path = REPOSITORY / "benchmarks" / "tune.py"
    spec = importlib.util.spec_from_file_location("tune", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("config", "expected"),
    [("c.py", "c.py:gce"), ("c.py:FOLDER", "c.py:FOLDER,method=gce")],
)
def test_tuning_names_the_method_beside_arguments(
    config, expected, tune, tmp_path, monkeypatch
):
    def run(words, check):
        assert f"--config={expected}" in words
        stages = {"stages": [{"key": "gce.q", "chosen": 0.9}]}
        (tmp_path / "gce" / "sweep.json").write_text(json.dumps(stages))

    (tmp_path / "gce").mkdir()
    monkeypatch.setattr(tune.subprocess, "run", run)
    words = f"tune --config={config} --workdir={tmp_path} --out={tmp_path}/o.json"
    monkeypatch.setattr(sys, "argv", [*words.split(), "--methods=gce"])
    tune.main()
    assert json.loads((tmp_path / "o.json").read_text()) == {"gce": {"gce.q": 0.9}}


def test_tuning_again_goes_on_after_the_methods_that_are_done(
    tune, tmp_path, monkeypatch
):
    swept = []

    def sweep_of(method, arguments, overrides):
        swept.append(method)
        return {"gce.q": 0.9}

    monkeypatch.setattr(tune, "sweep", sweep_of)
    out = tmp_path / "tuned.json"
    for methods in ("gce", "gce,elr"):
        words = f"tune --config=c.py --workdir=w --out={out} --methods={methods}"
        monkeypatch.setattr(sys, "argv", words.split())
        tune.main()
    assert swept == ["gce", "elr"]
    assert json.loads(out.read_text()) == dict.fromkeys(["gce", "elr"], {"gce.q": 0.9})


# The picture


def test_each_setting_has_a_panel_with_a_line_for_each_noise_and_their_mean():
    tried = {
        1: {"20 %": [0.8, 0.9], "40 %": [0.7]},
        10: {"20 %": [0.9, 0.9], "40 %": [0.8]},
        50: {"20 %": [], "40 %": [0.6]},
    }
    figure = sweep_figure({"k": (10, tried), "e": (1, {1: tried[1]})}, title="digits")
    assert figure.get_suptitle() == "digits"
    first, second = figure.axes
    assert [axes.get_xlabel() for axes in (first, second)] == ["k", "e"]
    assert [text.get_text() for text in first.get_xticklabels()] == ["1", "10", "50"]
    drawn = {
        container.get_label(): container[0].get_ydata(orig=False)
        for container in first.containers
    }
    np.testing.assert_allclose(drawn["20 %"], [85, 90, np.nan])
    np.testing.assert_allclose(drawn["40 %"], [70, 80, 60])
    (mean,) = [line for line in first.lines if line.get_label() == "mean"]
    np.testing.assert_allclose(mean.get_ydata(), [77.5, 85, np.nan])
    # A line is where the choice is.
    assert any(list(line.get_xdata()) == [1, 1] for line in first.lines)


def test_one_noise_has_no_mean_beside_it():
    (axes,) = sweep_figure({"k": (1, {1: {"20 %": [0.8]}})}).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["20 %"]


# For real


@pytest.mark.slow
def test_command_trains_and_chooses(run_command, tmp_path):
    printed = run_command(
        sweep,
        f"--config={CONFIG}:ncr",
        f"--try={WEIGHT}=0.0,0.9",
        "--trials=1",
        "--processes=2",
        "--config.epochs=30",
        f"--workdir={tmp_path / 'runs'}",
    )
    assert f"Chosen: --config.{WEIGHT}=0.9\n" in printed
    (stage,) = json.loads((tmp_path / "runs" / "sweep.json").read_text())["stages"]
    # Held-out labels are as wrong as the others: 64 % of them can be given back.
    assert stage["tried"][1]["mean"] == pytest.approx(0.64, abs=0.06)
