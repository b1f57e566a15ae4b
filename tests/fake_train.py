"""Stands in for `keras-ncr train` in tests of the commands that run it many times.

python fake_train.py NOTES [--config=...] --workdir=FOLDER

Writes down how it was called in NOTES/calls.jsonl, and does what NOTES/plan.json has
for the name of the run, which is that of its folder and of the one around it.
"""

import importlib.util
import json
import os
import pathlib
import signal
import sys
import time

# The lock of a training, without TensorFlow.
file = pathlib.Path(__file__).parents[1] / "keras_ncr" / "experiments" / "run_lock.py"
spec = importlib.util.spec_from_file_location("run_lock", file)
run_lock = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run_lock)

notes = pathlib.Path(sys.argv[1])
options = dict(word.split("=", 1) for word in sys.argv[2:])
folder = pathlib.Path(options["--workdir"])
name = f"{folder.parent.name}/{folder.name}"
call = {
    "name": name,
    "words": sys.argv[2:],
    "threads": os.environ["TF_NUM_INTRAOP_THREADS"],
    "pid": os.getpid(),
}
with open(notes / "calls.jsonl", "a") as file:
    file.write(json.dumps(call) + "\n")
plan = json.loads((notes / "plan.json").read_text()).get(name, {})
print(f"Trains {name}")
if "error" in plan:
    raise SystemExit(plan["error"])
if plan.get("is_killed"):
    os.kill(os.getpid(), signal.SIGKILL)
# Two runs that wait for each other can only end if they run at the same time.
(notes / f"met-{folder.name}").touch()
while plan.get("waits_for") and not (notes / f"met-{plan['waits_for']}").exists():
    time.sleep(0.02)
accuracies = plan.get("accuracies", [0.5] * int(options.get("--config.trials", 3)))
trials = [
    # A word in place of a number is why the trial failed.
    {"trial": trial, "failed": accuracy}
    if isinstance(accuracy, str)
    else {
        "trial": trial,
        "last_test_accuracy": accuracy,
        "best_test_accuracy": accuracy + 0.01,
        "memorization_rate": plan.get("memorized", 0.25),
        "seconds": 1.5,
        "cpu_seconds": 90.0,
        **plan.get("more", {}),
    }
    for trial, accuracy in enumerate(accuracies)
]
folder.mkdir(parents=True, exist_ok=True)
try:
    with run_lock.held(folder):
        pass
except ValueError as error:
    raise SystemExit(f"Error: {error}") from error
results = {"data": "digits", "noise": {"realized_rate": 0.36}, "trials": trials}
(folder / "results.json").write_text(json.dumps(results))
