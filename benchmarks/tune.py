r"""Chooses each method's settings for a data set: four values of one key for each.

    python benchmarks/tune.py --config=configs/digits.py --workdir=runs/tune-digits \
        --out=configs/tuned/digits.json --validation=0.2 --trials=3 --processes=2

For each method one `keras-ncr sweep`, under symmetric noise of 40 %: the value is kept
that is right most often on training examples held out with their noisy labels. What has
nothing to choose is left as it is. The file written is read by the config, whose rows
then are `docs/results.md`. Words beginning with `--config.` hold for all runs. The same
command again goes on with the methods that the file does not have yet; to tune one
anew, remove it there and its folder from the workdir.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from keras_ncr.files import write_json

_SHARES = "0.1,0.3,0.6,0.9"
_CONSISTENCY = "0.7,0.9,0.95,0.98"
_EARLY_LEARNING = "1.0,3.0,5.0,8.0"
# The values of one key for each method: the same number of runs for all.
TRIES = {
    "label_smoothing": ("label_smoothing.weight", _SHARES),
    "soft_bootstrap": ("soft_bootstrap.weight", _SHARES),
    "hard_bootstrap": ("hard_bootstrap.weight", _SHARES),
    "gce": ("gce.q", "0.5,0.7,0.9,0.95"),
    "sce": ("sce.cross_entropy_weight", "0.01,0.03,0.1,0.3"),
    "mixup": ("mixup.alpha", "0.5,1.0,4.0,8.0"),
    "label_smoothing+mixup": ("label_smoothing.weight", _SHARES),
    "soft_bootstrap+mixup": ("soft_bootstrap.weight", _SHARES),
    "js": ("js.label_weight", _SHARES),
    "gjs": ("gjs.label_weight", _SHARES),
    "co_teaching": ("co_teaching.ramp_epochs", "3,5,10,20"),
    "elr": ("elr.elr_weight", _EARLY_LEARNING),
    "elr_plus": ("elr_plus.elr_weight", _EARLY_LEARNING),
    "sop": ("sop.u_learning_rate", "1.0,10.0,30.0,100.0"),
    "sgn": ("sgn.correction_decay", "0.9,0.98,0.995,0.999"),
    "label_propagation": ("label_propagation.similarity_power", "1.0,3.0,6.0,9.0"),
    "divide_mix": ("divide_mix.unlabeled_weight", "0.0,25.0,50.0,100.0"),
    "ncr": ("ncr.consistency_weight", _CONSISTENCY),
    "ncr+mixup": ("ncr.consistency_weight", _CONSISTENCY),
    "ncr+mixup+second_view": ("ncr.consistency_weight", _CONSISTENCY),
    # Of the two terms the weight of ELR's is tuned: alpha sets itself.
    "ncr+elr": ("elr.elr_weight", _EARLY_LEARNING),
    "ncr+elr_plus": ("elr_plus.elr_weight", _EARLY_LEARNING),
}


def main():
    """Runs the sweeps, and writes what each chose."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", required=True, help="a file, or FILE:ARGUMENTS")
    parser.add_argument("--workdir", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--methods", default=",".join(TRIES), help="those to tune")
    parser.add_argument("--validation", default="0.1")
    parser.add_argument("--trials", default="1")
    parser.add_argument("--processes", default="1")
    arguments, overrides = parser.parse_known_args()
    methods = arguments.methods.split(",")
    if unknown := [method for method in methods if method not in TRIES]:
        parser.error(f"--methods has {unknown}, of which nothing is to be tuned")
    chosen = {}
    if arguments.out.exists():
        chosen = json.loads(arguments.out.read_text())
    for method in methods:
        # A config that reads what was chosen has another setting to start from.
        if method in chosen:
            print(f"{method}: {chosen[method]}, chosen before")
            continue
        chosen[method] = sweep(method, arguments, overrides)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        rows = {name: chosen[name] for name in TRIES if name in chosen}
        write_json(arguments.out, rows)


def sweep(method, arguments, overrides):
    """Returns the settings that the sweep of a method chose, by dotted keys."""
    key, values = TRIES[method]
    folder = arguments.workdir / method
    separator = ",method=" if ":" in arguments.config else ":"
    words = [
        f"--config={arguments.config}{separator}{method}",
        f"--workdir={folder}",
        f"--try={key}={values}",
        "--noises=symmetric:0.4",
        f"--validation={arguments.validation}",
        f"--trials={arguments.trials}",
        f"--processes={arguments.processes}",
        *overrides,
    ]
    subprocess.run([sys.executable, "-m", "keras_ncr", "sweep", *words], check=True)
    stages = json.loads((folder / "sweep.json").read_text())["stages"]
    return {stage["key"]: stage["chosen"] for stage in stages}


if __name__ == "__main__":
    main()
