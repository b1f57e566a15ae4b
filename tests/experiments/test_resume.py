"""Tests of whole runs in processes that die: what they end with is as if they had not.

All are slow: each process takes ten seconds, most of them to import TensorFlow.
"""

import json
import signal
import time

import pytest
from finished_run import outcome
from python_process import REPOSITORY, start_python

DYING_RUN = str(REPOSITORY / "tests" / "dying_run.py")
# Three steps in each of three epochs, with all that must survive: two kinds of warm-up,
# momentum, augmentation of images and of batches, and a checkpoint after every step.
SETTINGS = {
    "epochs": 3,
    "batch_size": 512,
    "seed": 3,
    "model.backbone": "mlp",
    "ncr.warmup_epochs": 1,
    "optimizer.warmup_epochs": 1.5,
    "augment.padding": 1,
    "checkpoint_seconds": 0.0,
}


def run(folder, settings, death=()):
    """Trains in a process that dies, and returns how it ended and what it said."""
    arguments = str(folder), json.dumps(settings), json.dumps(death)
    process = start_python(DYING_RUN, *arguments)
    _, error = process.communicate(timeout=600)
    return process.returncode, error


def checkpoints(folder):
    """Returns the names of the files in the first trial's folder of checkpoints."""
    return sorted(path.name for path in (folder / "trial-0" / "checkpoint").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings", "deaths"),
    [
        (
            "ncr+mixup",
            {},
            [
                ["step", 0, 2],
                ["half_a_checkpoint", 2],
                ["checkpoint_moved", 2],
                ["validation", 1],
                ["step", 2, 3],
                ["after_fit"],
            ],
        ),
        ("ncr", {"ncr.queue_size": 700}, [["step", 1, 2]]),
        ("ncr+elr", {}, [["step", 1, 2], ["validation", 2]]),
        ("ncr+elr", {"ncr.reject_outliers": "auto"}, [["step", 1, 2], ["step", 2, 2]]),
        ("elr_plus", {}, [["step", 1, 3]]),
        ("sop", {}, [["checkpoint_moved", 5]]),
        ("ssr", {"ssr.feature_consistency_weight": 1.0}, [["step", 1, 2]]),
        ("sgn", {"sgn.average_decay": 0.9}, [["step", 1, 2]]),
        ("l_dmi", {}, [["step", 2, 2]]),
        (
            "cleannet",
            {"cleannet.verified_share": 0.1, "cleannet.num_steps": 20},
            [["step", 2, 1]],
        ),
        ("mlnt", {"mlnt.num_label_sets": 2}, [["step", 2, 2]]),
        (
            "moit_plus",
            {"moit_plus.views": "jittered", "moit_plus.last_stage_share": 0.5},
            [["step", 1, 2], ["step", 2, 2]],
        ),
        (
            "mopro",
            {
                **{"mopro.views": "jittered", "mopro.queue_size": 700},
                "mopro.last_stage_share": 0.4,
            },
            [["step", 1, 2], ["step", 2, 2]],
        ),
        (
            "longremix",
            {"longremix.warmup_epochs": 0, "longremix.views": "jittered"},
            [["step", 1, 2], ["step", 2, 2]],
        ),
        ("curriculum", {"curriculum.first_stage_share": 0.3}, [["step", 1, 2]]),
        ("mile", {"mile.teacher_steps": 2, "mile.student_steps": 3}, [["step", 1, 2]]),
        ("heteroscedastic", {"heteroscedastic.num_samples": 50}, [["step", 1, 2]]),
        (
            "divide_mix",
            {"divide_mix.warmup_epochs": 1, "divide_mix.averaged_epochs": 2},
            [["step", 1, 2], ["half_a_checkpoint", 2]],
        ),
        (
            "co_teaching",
            {"co_teaching.forget_rate": 0.4, "co_teaching.ramp_epochs": 2},
            [["step", 1, 3], ["validation", 1]],
        ),
    ],
)
def test_run_that_is_killed_anywhere_ends_as_if_it_had_not_been(
    tmp_path, method, settings, deaths
):
    settings = {**SETTINGS, **settings, "method": method}
    code, error = run(tmp_path / "whole", settings)
    assert code == 0, error
    folder = tmp_path / "killed"
    for death in deaths:
        code, error = run(folder, settings, death)
        assert code == -signal.SIGKILL, error
        assert not (folder / "trial-0" / "result.json").exists()
    code, error = run(folder, settings)
    assert code == 0, error
    assert outcome(folder) == outcome(tmp_path / "whole")
    assert not (folder / "trial-0" / "checkpoint").exists()
    assert not (folder / "running.lock").exists()


@pytest.mark.slow
def test_run_twice_is_the_same(tmp_path):
    # By the command, as users run it, one of them with deterministic operations.
    for option in ("", "no"):
        words = [f"--config.{key}={value}" for key, value in SETTINGS.items()]
        for name in ("first", "second"):
            process = start_python(
                *("-m", "keras_ncr", "train", "--config=configs/digits.py:ncr+mixup"),
                f"--workdir={tmp_path / (option + name)}",
                f"--{option}deterministic",
                *words,
            )
            _, error = process.communicate(timeout=600)
            assert process.returncode == 0, error
        first, second = (
            outcome(tmp_path / (option + name)) for name in ("first", "second")
        )
        assert first == second


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signal_saves_and_says_where(tmp_path, name, code):
    settings = {**SETTINGS, "epochs": 200, "checkpoint_seconds": 1e9}
    words = [f"--config.{key}={value}" for key, value in settings.items()]
    command = (
        *("-m", "keras_ncr", "train", "--config=configs/digits.py:ncr"),
        *(f"--workdir={tmp_path}", *words),
    )
    # Tests that a shell runs in its background ignore SIGINT, and so would the run.
    number = getattr(signal, name)
    own = signal.signal(number, signal.default_int_handler)
    process = start_python(*command)
    signal.signal(number, own)
    while not list(tmp_path.glob("trial-0/checkpoint/epoch-000002-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    # Of the same folder, in the meantime.
    second = start_python(*command)
    _, error = second.communicate(timeout=600)
    if process.poll() is None:
        assert f"in use by another run (process {process.pid} on " in error
        assert second.returncode == 1
    process.send_signal(number)
    _, error = process.communicate(timeout=600)
    assert process.returncode == code, error
    last = error.strip().splitlines()[-1]
    assert last.startswith(f"Ended by {name}. Saved at epoch ")
    assert last.endswith(". The same command goes on from what was saved.")
    assert "Traceback" not in error
    epoch, step = (int(word.strip(".,")) for word in last.split() if word[0].isdigit())
    newest = (epoch, 0) if step == 3 else (epoch - 1, step)
    files = {"epoch-{:06d}-step-{:06d}.npz".format(*newest)}
    if step == 3:  # Before or after the validation.
        files.add(f"epoch-{epoch - 1:06d}-step-000003.npz")
    assert checkpoints(tmp_path)[-1] in files


@pytest.mark.slow
@pytest.mark.parametrize("size", [60_000, 600_000])
def test_full_disk_ends_a_run_in_one_line_and_leaves_what_was_there(tmp_path, size):
    # The smaller size ends the first checkpoint; the larger one a file after it.
    code, error = run(tmp_path / "whole", SETTINGS)
    assert code == 0, error
    folder = tmp_path / "full"
    code, error = run(folder, SETTINGS, ["step", 1, 1])
    assert code == -signal.SIGKILL
    before = {
        path: path.read_bytes() for path in folder.rglob("*.npz") if path.is_file()
    }
    code, error = run(folder, SETTINGS, ["disk_full", size])
    assert code == 1
    last = error.strip().splitlines()[-1]
    assert last.startswith(f"Error: {folder}/")
    assert "could not be written: File too large. What was saved before is wh" in last
    assert not list(folder.rglob(".writing-*"))
    assert (
        before.items()
        >= {
            path: path.read_bytes() for path in folder.rglob("*.npz") if path in before
        }.items()
    )
    code, error = run(folder, SETTINGS)
    assert code == 0, error
    assert outcome(folder) == outcome(tmp_path / "whole")
