"""Where the time of a training step goes, by TensorFlow's profiler.

    python benchmarks/step_profile.py --net=mlp --model=NCR
    python benchmarks/step_profile.py --net=small_cnn --model=plain --top=20

The models are those of `step.py`. Of each operation that a step runs, printed is the
median time of its runs times how often a step has it: the median is what other programs
on the machine move least. Operations on two cores overlap, and profiling itself slows a
step, so that the sum is not the step's time. Nor does the name of an operation in a
gradient always say of what: what stands in the loss's own gradient has no prefix.
"""

import argparse
import collections
import os
import pathlib
import platform
import re
import tempfile

import numpy as np
import step
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

# To which part of a step an operation belongs: the first that is found in its name.
PARTS = {
    "optimizer": r"/sgd",
    "consistency loss": r"/neighbor_consistency_loss",
    "backbone and classifier": r"/(mlp|small_cnn|resnet18|functional|ncr_model)",
    "input pipeline": r"^(Iterator|Parallel|boolean_mask|Assert)",
    "metrics, compiled loss, custom gradients": "",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--net", choices=step.NETS, default="mlp")
    parser.add_argument("--model", default="NCR", help="as a line of `step.py`")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--top", type=int, default=10, help="operations to print")
    arguments = parser.parse_args()
    backbone, shape, steps = step.NETS[arguments.net]
    models = step.compiled_models(backbone, shape, jit=True, parts=True)
    data = step.batches(shape, steps, arguments.batch)
    times = operations(models[arguments.model], data, steps)
    print(
        f"TensorFlow {tf.__version__}, {os.cpu_count()} CPUs ({platform.machine()}), "
        f"{arguments.net}, {arguments.model}, batch {arguments.batch}, {steps} steps"
    )
    print_table("part of a step", parts(times).items())
    print_table("operation", times.most_common(arguments.top))


def operations(model, data, steps):
    """Returns a counter: milliseconds in a step of each operation."""
    model.fit(data, verbose=0, shuffle=False)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            model.fit(data, verbose=0, shuffle=False)
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    durations = collections.defaultdict(list)
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            name = plane.event_metadata[event.metadata_id].name
            # Operations have a type behind their name; the rest is the runtime's own.
            if re.search(r"\w:_?[A-Z]\w+$", name):
                durations[name].append(event.duration_ps / 1e9)
    return collections.Counter(
        {name: np.median(own) * len(own) / steps for name, own in durations.items()}
    )


def parts(times):
    """Returns the sums of the operations of each part of a step, and of all."""
    sums = dict.fromkeys(PARTS, 0.0)
    for name, milliseconds in times.items():
        part = next(part for part, mark in PARTS.items() if re.search(mark, name))
        sums[part] += milliseconds
    return {**sums, f"all {len(times)} operations": sum(times.values())}


def print_table(title, rows):
    print(f"\n| {title} | ms |\n| --- | --- |")
    for name, milliseconds in rows:
        print(
            f"| {name.removeprefix('StatefulPartitionedCall/')} | {milliseconds:.3f} |"
        )


if __name__ == "__main__":
    main()
