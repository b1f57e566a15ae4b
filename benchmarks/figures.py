r"""Draws the paper's Figure 3 or 4 from finished runs whose wrong labels are known.

    python benchmarks/figures.py --figure=3 --out=figure3.png \
        "40 %:standard=runs/figure3-blue/40/standard" \
        "40 %:ncr=runs/figure3-blue/40/ncr"

Each word is SETTING:METHOD=WORKDIR. Figure 3: the confidence in the annotated label of
each training example. Figure 4: the cosine similarities of pairs of training examples.
Of a run with several trials both show the first.

Reference: https://arxiv.org/abs/2202.02200, Figures 3 and 4.
"""

import argparse
import pathlib

import keras
import numpy as np

from keras_ncr import features, plots
from keras_ncr.experiments import workdir
from keras_ncr.experiments.batches import evaluation_batches
from keras_ncr.experiments.data import load_sources
from keras_ncr.experiments.labels import with_noise


def main():
    """Draws one of the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--figure", choices=DRAWINGS, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("runs", nargs="+", metavar="SETTING:METHOD=WORKDIR")
    arguments = parser.parse_args()
    settings = {}
    for word in arguments.runs:
        setting, _, rest = word.partition(":")
        method, _, folder = rest.partition("=")
        if not folder:
            parser.error(f"runs must be SETTING:METHOD=WORKDIR. Received: {word!r}")
        settings.setdefault(setting, {})[method] = folder
    DRAWINGS[arguments.figure](settings).savefig(arguments.out, dpi=120)
    print(arguments.out)


def confidences(settings):
    """Returns Figure 3: a column for each setting, a row for each method."""
    return plots.confidence_figure(
        {
            setting: (
                {method: confidence(folder) for method, folder in runs.items()},
                source_of(next(iter(runs.values()))).is_noisy,
            )
            for setting, runs in settings.items()
        }
    )


def similarities(settings):
    """Returns Figure 4: a panel for each method of each setting, on the same pairs."""
    (runs, *others) = settings.values()
    if others:
        raise SystemExit(f"Figure 4 takes one setting. Received: {list(settings)}.")
    source = source_of(next(iter(runs.values())))
    return plots.similarity_figure(
        {method: features_of(folder, source) for method, folder in runs.items()},
        source.clean_labels,
        source.labels,
    )


DRAWINGS = {"3": confidences, "4": similarities}


def source_of(folder):
    """Returns the training examples of a run, with its noise."""
    config = workdir.read_config(folder)
    return with_noise(config, load_sources(config.data)).train


def confidence(folder):
    """Returns the last model's confidence in the annotated labels, by index."""
    return np.load(workdir.trial_folder(folder, 0) / "confidence.npy")


def features_of(folder, source):
    """Returns the features that the run's network makes of the examples, by index."""
    config = workdir.read_config(folder)
    model = keras.models.load_model(workdir.trial_folder(folder, 0) / "model.keras")
    return features.features_of(model, evaluation_batches(config, source))


if __name__ == "__main__":
    main()
