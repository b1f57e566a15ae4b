"""What tests of commands that start trainings share."""

import json
import pathlib
import sys

import pytest

from keras_ncr.experiments.comparison import jobs

REPOSITORY = pathlib.Path(__file__).parents[2]


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Lets a small script stand in for training; returns what sets its plan."""

    def write(plan):
        (tmp_path / "plan.json").write_text(json.dumps(plan))

    write({})
    script = REPOSITORY / "tests" / "fake_train.py"
    # Without site-packages, which it does not need, Python starts faster.
    train = (sys.executable, "-S", str(script), str(tmp_path))
    monkeypatch.setattr(jobs, "TRAIN", train)
    monkeypatch.setattr(jobs, "_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.chdir(tmp_path)
    return write
