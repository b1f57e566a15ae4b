"""What `import keras_ncr` adds to `import keras`.

    python benchmarks/startup.py

Fresh processes in turn: one imports Keras, with TensorFlow below it, the next one Keras
and then this package. Printed are the medians and their difference, what the second
import takes in the same process (steadier where other programs run), which other
libraries come with it, and the modules that take longest (`-X importtime`, in which
each counts without those it imports).
"""

import argparse
import os
import platform
import re
import subprocess
import sys

import numpy as np

IMPORTS = {"keras": "", "keras, keras_ncr": "import keras_ncr"}
PROGRAM = """
import sys, time
now = lambda: (time.perf_counter(), time.process_time())
start = now()
import keras
middle, before = now(), set(sys.modules)
{}
end = now()
added = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*(b - a for first in (start, middle) for a, b in zip(first, end)))
print(*sorted(added - sys.stdlib_module_names))
"""
# Of a report of -X importtime: microseconds of the module alone, and its name.
LINE = re.compile(r"import time: +(\d+) \| +\d+ \| +(keras_ncr\S*)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="processes of each")
    repeats = parser.parse_args().repeats
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs")
    seconds, added = {name: [] for name in IMPORTS}, set()
    for _ in range(1 + repeats):
        for name, statement in IMPORTS.items():
            times, libraries = run(PROGRAM.format(statement)).stdout.splitlines()
            seconds[name].append([float(time) for time in times.split()])
            added.update(libraries.split())
    # The first of each may find nothing in the file cache, nor any compiled module.
    medians = {name: np.median(own[1:], axis=0) for name, own in seconds.items()}
    keras_alone, both = medians.values()
    rows = {
        "keras": keras_alone[:2],
        "keras, keras_ncr": both[:2],
        "difference": (both - keras_alone)[:2],
        "keras_ncr, after keras in the same process": both[2:],
    }
    print(f"\nn = {repeats}\n\n| import | s | cores' s |\n| --- | --- | --- |")
    for name, (seconds, cores_seconds) in rows.items():
        print(f"| {name} | {seconds:.2f} | {cores_seconds:.2f} |")
    print(f"\nother libraries that come with it: {added - {'keras_ncr'} or 'none'}\n")
    print_dearest(10)


def run(program, *options):
    """Returns what a fresh process says."""
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        check=True,
        capture_output=True,
        text=True,
    )


def print_dearest(number):
    """Prints the modules of the package that take longest to import."""
    report = run("import keras, keras_ncr", "-X", "importtime").stderr
    modules = sorted((int(time), name) for time, name in LINE.findall(report))
    print(f"| of {len(modules)} modules | ms |\n| --- | --- |")
    for microseconds, name in modules[: -1 - number : -1]:
        print(f"| {name} | {microseconds / 1000:.1f} |")
    print(f"| all | {sum(time for time, _ in modules) / 1000:.1f} |")


if __name__ == "__main__":
    main()
