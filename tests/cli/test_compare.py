"""Tests of the command compare.py, and of how it runs, reads and draws."""

import csv
import functools
import json
import os
import pathlib
import re
import signal
import threading
import time

import numpy as np
import pytest

from keras_ncr.cli import compare
from keras_ncr.cli.config_flag import config_path
from keras_ncr.experiments import run_lock, workdir
from keras_ncr.experiments.comparison import jobs
from keras_ncr.experiments.comparison.outcome import outcome_of
from keras_ncr.experiments.comparison.plan import Noise, Plan, parse_noises
from keras_ncr.experiments.methods import METHOD_ROWS
from keras_ncr.plots import comparison_figure

REPOSITORY = pathlib.Path(__file__).parents[2]
DIGITS = str(REPOSITORY / "configs" / "digits.py")


@pytest.fixture
def command(run_command, plan):
    """Runs the command in an empty folder; returns what it prints."""
    return functools.partial(
        run_command, compare, f"--config={DIGITS}", "--workdir=runs"
    )


def calls(folder):
    """Returns how training was called so far."""
    path = folder / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(folder):
    """Returns the names of the runs so far."""
    return [call["name"] for call in calls(folder)]


def jobs_of(methods, trials=3, workdir="runs"):
    """Returns jobs without the command."""
    plan = Plan(
        DIGITS,
        "",
        {"trials": trials},
        (Noise("symmetric", 0.4),),
        pathlib.Path(workdir),
    )
    return [plan.job(plan.noises[0], name, name) for name in methods]


# The command


def test_table_has_methods_by_noises(command, plan, tmp_path):
    plan(
        {
            "symmetric-0.4/standard": {"accuracies": [0.6, 0.7, 0.8]},
            "symmetric-0.4/ncr": {"accuracies": [0.9, 0.91, 0.92]},
            "pair_flip-0.2/standard": {"accuracies": [0.95, 0.95, 0.95]},
        }
    )
    printed = command("--methods=standard,ncr", "--noises=symmetric:0.4,pair_flip:0.2")
    text = (tmp_path / "runs" / "table.md").read_text()
    assert (
        text
        == """\
digits: test accuracy (%) in the last epoch, mean ± standard deviation of 3 trials. \
The best of each column is bold.

| method | symmetric 40 % (36 % wrong) | pair_flip 20 % (36 % wrong) | \
CPU minutes a trial |
| --- | ---: | ---: | ---: |
| standard | 70.0 ± 10.0 | **95.0 ± 0.0** | 1.5 |
| ncr | **91.0 ± 1.0** | 50.0 ± 0.0 | 1.5 |

In the best epoch, which only the test images can tell:

| method | symmetric 40 % (36 % wrong) | pair_flip 20 % (36 % wrong) |
| --- | ---: | ---: |
| standard | 71.0 | **96.0** |
| ncr | **92.0** | 51.0 |
"""
    )
    assert text in printed
    with open(tmp_path / "runs" / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["noise"], row["rate"]) for row in rows] == [
        ("standard", "symmetric", "0.4"),
        ("standard", "pair_flip", "0.2"),
        ("ncr", "symmetric", "0.4"),
        ("ncr", "pair_flip", "0.2"),
    ]
    first = {key: float(value) for key, value in rows[0].items() if value[:1].isdigit()}
    assert first == pytest.approx(
        {
            "rate": 0.4,
            "realized_rate": 0.36,
            "trials": 3,
            "failed": 0,
            "last_mean": 0.7,
            "last_sd": 0.1,
            "best_mean": 0.71,
            "best_sd": 0.1,
            "memorized": 0.25,
            "seconds": 4.5,
            "cpu_seconds": 90.0,
        }
    )
    assert (tmp_path / "runs" / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_runs_come_column_by_column_and_get_all_settings(command, tmp_path):
    printed = command(
        "--methods=standard,ncr+mixup",
        "--noises=symmetric:0.4,none",
        "--config.epochs=5",
        "--config.augment.flip=True",
        "--trials=2",
        "--processes=1",
    )
    assert names(tmp_path) == [
        "symmetric-0.4/standard",
        "symmetric-0.4/ncr+mixup",
        "none/standard",
        "none/ncr+mixup",
    ]
    assert calls(tmp_path)[1]["words"] == [
        f"--config={DIGITS}:method=ncr+mixup,noise=symmetric,rate=0.4",
        "--config.epochs=5",
        "--config.augment.flip=True",
        "--config.trials=2",
        "--workdir=runs/symmetric-0.4/ncr+mixup",
    ]
    assert (
        calls(tmp_path)[2]["words"][0]
        == f"--config={DIGITS}:method=standard,noise=none"
    )
    assert {call["threads"] for call in calls(tmp_path)} == {str(os.cpu_count())}
    log = tmp_path / "runs" / "none" / "ncr+mixup.log"
    assert log.read_text() == "Trains none/ncr+mixup\n"
    lines = re.sub(r"\d+ (s|min)\b", "TIME", printed).splitlines()
    assert lines[:2] == [
        "4 runs, 0 of them finished before",
        "[1 of 4] symmetric-0.4/standard: 50.0 ± 0.0 %, took TIME; about TIME left",
    ]
    assert lines[4] == "[4 of 4] none/ncr+mixup: 50.0 ± 0.0 %, took TIME"


def test_config_that_the_package_has_is_passed_on_by_its_path(
    run_command, plan, tmp_path
):
    # In this folder are no configs.
    run_command(compare, "--config=digits", "--workdir=runs", "--methods=standard")
    (call,) = calls(tmp_path)
    assert f"--config={config_path('digits')}:method=standard" in call["words"]


def test_what_is_finished_is_not_run_again(command, tmp_path):
    command("--methods=standard")
    command("--methods=standard,ncr")
    assert names(tmp_path) == ["as_configured/standard", "as_configured/ncr"]
    # More trials are more to do.
    printed = command("--methods=standard,ncr", "--trials=4")
    assert names(tmp_path)[2:] == ["as_configured/standard", "as_configured/ncr"]
    assert "deviation of 4 trials" in printed


def test_arguments_of_the_config_and_its_own_noise_are_kept(
    run_command, plan, tmp_path
):
    text = run_command(
        compare,
        f"--config={DIGITS}:rate=0.2",
        "--workdir=runs",
        "--methods=ncr",
        "--config.noise.kind=pair_flip",
    )
    assert calls(tmp_path)[0]["words"][:2] == [
        f"--config={DIGITS}:rate=0.2,method=ncr",
        "--config.noise.kind=pair_flip",
    ]
    assert "| method | pair_flip 20 % (36 % wrong) |" in text


def test_run_that_fails_is_reported_and_others_go_on(command, plan, tmp_path):
    plan({"as_configured/standard": {"error": "First.\nError: no memory.\n\n"}})
    with pytest.raises(SystemExit, match="^Error: some runs failed"):
        command("--methods=standard,ncr")
    text = (tmp_path / "runs" / "table.md").read_text()
    assert "| standard | failed |  |\n| ncr | **50.0 ± 0.0** | 1.5 |" in text
    assert "What went wrong:\n\n- as_configured/standard: Error: no memory.\n" in text
    with open(tmp_path / "runs" / "table.csv", newline="") as file:
        assert next(csv.DictReader(file))["failure"] == "Error: no memory."
    # It stays known, and the same command tries again.
    assert "| standard | failed |" in command("--methods=standard", "--report_only")
    plan({})
    assert "failed" not in command("--methods=standard,ncr")
    assert names(tmp_path)[2:] == ["as_configured/standard"]


def test_trials_that_failed_are_noted(command, plan):
    reason = "The loss became nan in epoch 3, step 1."
    plan(
        {
            "as_configured/standard": {"accuracies": [0.5, reason, 0.6]},
            "as_configured/ncr": {"accuracies": [0.5]},
        }
    )
    with pytest.raises(SystemExit, match="some runs failed"):  # The second has 1 of 3.
        command("--methods=standard,ncr")
    text = pathlib.Path("runs/table.md").read_text()
    assert "| standard | **55.0 ± 7.1** (1 of 3 failed) |" in text
    assert "| ncr | 50.0 (1 of 3 run, then failed) |" in text
    assert f"- as_configured/standard: {reason}\n" in text


def test_run_all_of_whose_trials_failed_counts_as_failed(command, plan, capsys):
    plan({"as_configured/standard": {"accuracies": ["nan"] * 3}})
    with pytest.raises(SystemExit, match="some runs failed"):
        command("--methods=standard")
    assert "standard: no accuracy (3 of 3 failed), took" in capsys.readouterr().out
    text = pathlib.Path("runs/table.md").read_text()
    assert "| standard | (3 of 3 failed) |" in text
    assert text.count("- as_configured/standard: nan\n") == 1


def test_report_only_runs_nothing(command, tmp_path):
    text = command("--methods=standard,ncr", "--report_only")
    assert "| standard | not run |\n| ncr | not run |" in text
    assert not (tmp_path / "calls.jsonl").exists()
    folder = tmp_path / "runs" / "as_configured" / "ncr"
    folder.mkdir(parents=True)
    trial = {"last_test_accuracy": 0.5, "best_test_accuracy": 0.5}
    (folder / "results.json").write_text(json.dumps({"trials": [trial]}))
    text = command("--methods=standard,ncr", "--report_only")
    assert "| ncr | **50.0** (1 of 3 run) |" in text


def test_label_propagation_is_shown_by_what_it_propagates(command, plan):
    more = {"propagated_test_accuracy": 0.875}
    plan({"as_configured/label_propagation": {"accuracies": [0.5] * 3, "more": more}})
    text = command("--methods=label_propagation")
    assert "| label_propagation | **87.5 ± 0.0** |" in text
    assert text.count("| label_propagation |  |\n") == 1  # It has no best epoch.


def test_oracle_does_not_compete(command, plan):
    plan({"as_configured/oracle": {"accuracies": [0.9] * 3}})
    text = command("--methods=standard,oracle")
    assert "bold, but for an oracle, which is told what is wrong.\n" in text
    assert (
        "| standard | **50.0 ± 0.0** | 1.5 |\n| oracle | 90.0 ± 0.0 | 1.5 |\n" in text
    )
    assert "| oracle | 90.0 ± 0.0 | 1.5 |\n" in command("--methods=oracle")


def test_one_trial_has_no_deviation(command):
    text = command("--methods=standard", "--trials=1")
    assert "digits: test accuracy (%) in the last epoch, one trial. The best" in text
    assert "| standard | **50.0** |" in text


def test_all_methods_are_the_rows_of_the_tables(command, tmp_path):
    text = command("--methods=all", "--report_only")
    for method in METHOD_ROWS:
        assert text.count(f"\n| {method} |") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "`--methods` must name some of standard, .* or be all. Received: 'none'"),
        (["--methods=ncr,"], "`--methods` must name some of .* Received: 'ncr,'"),
        (["--methods=ncr,nrc"], "`config.method` must be one of .*Did you mean 'ncr'?"),
        (["--methods=ncr", "--config.method=elr"], "`method` must not be set .*both"),
        (
            ["--methods=ncr", "--noises=symmetric:x"],
            "KIND:RATE.* Received: 'symmetric:x'",
        ),
        (["--methods=ncr", "--noises=symmetric:2"], "`rate of symmetric .*from 0 to 1"),
        (["--methods=ncr", "--noises=symetric:0.2"], "Did you mean 'symmetric'?"),
        (
            ["--methods=ncr", "--noises=none", "--config.noise.rate=0.1"],
            "`noise.rate` must not be set in --config beside --noises",
        ),
        (
            ["--methods=ncr", "--trials=1", "--config.trials=2"],
            "`trials` must not be set in --config beside --trials",
        ),
        (["--methods=ncr", "--processes=0"], "flag --processes=0"),
        (["--methods=ncr", "--config.epochs=0"], "`config.epochs` must be"),
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


@pytest.mark.parametrize("argument", ["ncr", "ncr,rate=0.2", "method=ncr"])
def test_method_in_the_config_argument_is_refused(run_command, plan, argument):
    with pytest.raises(SystemExit, match="method"):
        run_command(
            compare, f"--config={DIGITS}:{argument}", "--workdir=runs", "--methods=ncr"
        )


def test_folder_is_needed(run_command):
    with pytest.raises(SystemExit, match="^Error: `--workdir` must name a folder"):
        run_command(compare, f"--config={DIGITS}", "--methods=ncr")


# Noises


@pytest.mark.parametrize(
    ("word", "noise", "folder", "title"),
    [
        ("symmetric:0.2", Noise("symmetric", 0.2), "symmetric-0.2", "symmetric 20 %"),
        ("instance:.4", Noise("instance", 0.4), "instance-0.4", "instance 40 %"),
        ("none", Noise("none"), "none", "labels as they are"),
        ("40", Noise(rate=40.0), "40", "40"),
    ],
)
def test_noise_is_read_from_a_word(word, noise, folder, title):
    assert parse_noises([word]) == (noise,)
    assert (noise.folder, noise.title) == (folder, title)


def test_noises_are_taken_once_and_by_default_from_the_config():
    words = ["symmetric:0.2", "none", "symmetric:0.20"]
    assert parse_noises(words) == (Noise("symmetric", 0.2), Noise("none"))
    assert parse_noises([]) == (Noise(),)


@pytest.mark.parametrize(
    "word", ["", ":", ":0.2", "a:b:c", "symmetric:", "0.2.3", "-1"]
)
def test_word_that_is_no_noise_is_refused(word):
    with pytest.raises(ValueError, match="`--noises` must hold KIND:RATE"):
        parse_noises([word])


# Running


def test_two_run_at_a_time_and_share_the_cores(plan, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    plan(
        {
            "symmetric-0.4/ncr": {"waits_for": "elr"},
            "symmetric-0.4/elr": {"waits_for": "ncr"},
        }
    )
    jobs.run_jobs(jobs_of(["ncr", "elr", "standard"]), 2)
    assert sorted(names(tmp_path)[:2]) == ["symmetric-0.4/elr", "symmetric-0.4/ncr"]
    assert names(tmp_path)[2] == "symmetric-0.4/standard"
    assert {call["threads"] for call in calls(tmp_path)} == {"4"}


def test_threads_that_the_user_set_are_kept(plan, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    jobs.run_jobs(jobs_of(["ncr"]), 1)
    assert calls(tmp_path)[0]["threads"] == "3"


def test_run_that_was_killed_is_reported(plan, capsys):
    plan({"symmetric-0.4/ncr": {"is_killed": True}})
    jobs.run_jobs(jobs_of(["ncr"]), 1)
    expected = "ended by SIGKILL, log: runs/symmetric-0.4/ncr.log"
    assert f"symmetric-0.4/ncr: failed, {expected}, took" in capsys.readouterr().out
    failed = pathlib.Path("runs/symmetric-0.4/ncr.failed")
    assert failed.read_text() == f"{expected}\n"


def test_training_that_outlived_its_command_keeps_its_folder(plan, capsys):
    (job,) = jobs_of(["ncr"])
    job.folder.mkdir(parents=True)
    with run_lock.held(job.folder):
        jobs.run_jobs([job], 1)
    in_use = f"`workdir` {job.folder} is in use by another run (process {os.getpid()}"
    assert f"failed, Error: {in_use}" in capsys.readouterr().out
    # The other one has finished it: nothing has failed.
    assert outcome_of(job).has_failed
    trial = {"last_test_accuracy": 0.5, "best_test_accuracy": 0.5}
    results = job.folder / "results.json"
    results.write_text(json.dumps({"trials": [trial] * 3}))
    assert not outcome_of(job).has_failed
    results.unlink()
    jobs.run_jobs([job], 1)
    assert outcome_of(job).is_finished


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def number(request):
    """A signal, with the effect that it has where no shell has taken it away."""
    is_interrupt = request.param == signal.SIGINT
    default = signal.default_int_handler if is_interrupt else signal.SIG_DFL
    previous = signal.signal(request.param, default)
    yield request.param
    signal.signal(request.param, previous)


def test_interruption_ends_all_runs_and_says_how_to_go_on(
    command, plan, tmp_path, number, capsys
):
    plan({f"as_configured/{name}": {"waits_for": "none"} for name in ("ncr", "elr")})

    def interrupt():
        path = tmp_path / "calls.jsonl"
        while not path.exists() or path.read_text().count("\n") < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit, match="Interrupted. The same command goes on"):
        command("--methods=ncr,elr", "--processes=2")
    thread.join()
    assert signal.getsignal(number) is handler
    assert not any(is_alive(call["pid"]) for call in calls(tmp_path))
    # An interruption is no failure.
    assert not list(tmp_path.glob("runs/as_configured/*.failed"))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"trials": [{}]}', '{"trials": 1}']
)
def test_damaged_results_are_named_and_the_run_is_not_finished(
    command, tmp_path, content
):
    arguments = ("--methods=standard", "--noises=symmetric:0.4")
    command(*arguments)
    (job,) = jobs_of(["standard"])
    path = job.folder / "results.json"
    path.write_text(content)
    assert not outcome_of(job).is_finished
    assert f"{path} is damaged: " in command(*arguments, "--report_only")
    command(*arguments)
    assert outcome_of(job).is_finished


@pytest.mark.parametrize("name", ["standard.log", "standard.failed", "standard"])
def test_links_in_the_workdir_are_refused(command, tmp_path, name):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "runs" / "symmetric-0.4").mkdir(parents=True)
    (tmp_path / "runs" / "symmetric-0.4" / name).symlink_to(tmp_path / "mine")
    with pytest.raises(SystemExit, match="`workdir` must hold no links"):
        command("--methods=standard")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["table.md", "table.csv", "picture.png"])
def test_files_of_the_users_are_not_replaced(command, tmp_path, name):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / name).write_text("mine")
    with pytest.raises(SystemExit, match=f"not hold files of yours.*{name}"):
        command("--methods=standard", "--report_only")
    assert (tmp_path / "runs" / name).read_text() == "mine"
    (tmp_path / "runs" / name).unlink()
    for _ in range(2):  # Its own files are replaced.
        command("--methods=standard", "--report_only")


def test_clock_that_is_set_back_makes_no_time_negative(plan, capsys, monkeypatch):
    later = iter(range(10_000, 0, -100))
    monkeypatch.setattr(time, "time", lambda: next(later))
    jobs.run_jobs(jobs_of(["standard"]), 1)
    assert "took -" not in capsys.readouterr().out


def test_run_of_another_config_is_refused_before_any_is_run(plan, capsys):
    (other,) = jobs_of(["ncr"])
    with other.config.unlocked():
        other.config.epochs = 7
    workdir.claim(other.folder, other.config)
    with pytest.raises(
        ValueError, match=r"another config: epochs \(7 there, 50 here\)"
    ):
        jobs.run_jobs(jobs_of(["standard", "ncr"]), 1)
    assert not pathlib.Path("calls.jsonl").exists()


# The picture


def test_each_noise_has_a_panel_with_both_epochs_of_every_method():
    figure = comparison_figure(
        {
            "standard": {"20 %": ([0.5, 0.7], [0.7, 0.9]), "40 %": ([0.4], [0.6])},
            "ncr": {"20 %": ([0.8, 0.8], [0.9, 0.9]), "40 %": ([], [])},
        },
        title="digits",
    )
    assert figure.get_suptitle() == "digits"
    first, second = figure.axes
    assert [axes.get_title() for axes in (first, second)] == ["20 %", "40 %"]
    assert [text.get_text() for text in first.get_yticklabels()] == ["standard", "ncr"]
    drawn = [
        (axes.containers[0][0].get_xdata(orig=False), axes.lines[0].get_xdata())
        for axes in (first, second)
    ]
    np.testing.assert_allclose(drawn[0], [[60, 80], [80, 90]])
    np.testing.assert_allclose(drawn[1], [[40, np.nan], [60, np.nan]])
    (bars,) = first.containers[0][2]
    deviation = 100 * np.std([0.5, 0.7], ddof=1)
    np.testing.assert_allclose(
        bars.get_segments()[0][:, 0], [60 - deviation, 60 + deviation]
    )
    assert first.lines[0].get_markerfacecolor() == "none"
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["best epoch", "last epoch"]


# For real


@pytest.mark.slow
def test_command_trains_and_compares(run_command, tmp_path):
    words = [
        f"--config={DIGITS}",
        "--methods=standard,ncr",
        "--noises=symmetric:0.4",
        "--trials=1",
        "--processes=2",
        "--config.epochs=30",
        f"--workdir={tmp_path / 'runs'}",
    ]
    run_command(compare, *words)
    with open(tmp_path / "runs" / "table.csv", newline="") as file:
        standard, ncr = csv.DictReader(file)
    assert float(ncr["last_mean"]) > float(standard["last_mean"]) + 0.1
    assert float(standard["realized_rate"]) == pytest.approx(0.36, abs=0.001)
    # The runs are those of the command: it finds nothing left to do.
    assert "2 runs, 2 of them finished before\n" in run_command(compare, *words)


@pytest.mark.parametrize("kind", ["features", "text", "tabular"])
def test_plan_is_run_on_data_of_any_kind(run_command, plan, tmp_path, kind):
    printed = run_command(
        compare,
        f"--config={REPOSITORY / 'configs' / kind}.py:my data",
        "--methods=standard,ncr",
        "--trials=3",
        "--workdir=runs",
    )
    assert "| ncr | **50.0 ± 0.0** |" in printed
    ran = [" ".join(call["words"]) for call in calls(tmp_path)]
    assert len(ran) == 2 and all("my data" in words for words in ran)
