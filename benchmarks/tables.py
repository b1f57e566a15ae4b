r"""Writes two tables with right labels: texts, and rows of numbers.

    python benchmarks/tables.py --out=runs/tables
    keras-ncr compare --config=tabular:runs/tables/rows.csv --workdir=runs/rows \
        --config.noise.kind=symmetric --config.noise.rate=0.4 --trials=1 \
        --methods=standard,gce,elr,ncr,ncr+elr

`texts.csv`: docstrings of installed packages, by their package; `rows.csv`:
scikit-learn's digits, 64 columns.
"""

import argparse
import pathlib

import numpy as np
import pandas as pd
from audit_data import docstring_texts

from keras_ncr import datasets


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=3000, help="of the texts")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a folder")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, (frame, labels) in {
        "texts": texts(arguments.examples),
        "rows": rows(),
    }.items():
        path = arguments.out / f"{name}.csv"
        frame.assign(label=labels).to_csv(path, index=False)
        print(f"{path}: {len(frame):,} examples, {len(set(labels))} classes")


def texts(num_examples):
    """Returns docstrings, and the numbers of their packages."""
    found, labels = docstring_texts(num_examples)
    return pd.DataFrame({"text": found}), labels


def rows():
    """Returns digits as 64 columns, and what they show."""
    parts = datasets.digits()
    pixels = np.concatenate([part.images.reshape(-1, 64) for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    return pd.DataFrame(pixels, columns=[f"pixel {n}" for n in range(64)]), labels


if __name__ == "__main__":
    main()
