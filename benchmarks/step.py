"""What consistency adds to the training step of a plain Keras classifier.

    python benchmarks/step.py
    python benchmarks/step.py --nets=mlp --jit --parts --seconds=30

Two models with the same net, one plain and one `NCRModel`, take turns at an epoch of
`fit` on the same data, in one process, each first in every other turn. Timed is from
the begin of the first step to the end of the last. What else the machine does falls on
both turns of a pair: printed is the median of the pairs' ratios, with the quartiles, of
the time and of the cores' time, which other programs move less.

`step_profile.py` says where in a step the time goes.
"""

import argparse
import os
import platform
import time

import keras
import numpy as np
import tensorflow as tf

import keras_ncr

# Network, shape of the images, steps in an epoch. The mlp is the worst case: nearly as
# cheap as the loss. Of ResNet-18 a step takes seconds, as it does in real training.
NETS = {
    "small_cnn": (keras_ncr.backbones.small_cnn, (28, 28, 1), 20),
    "mlp": (keras_ncr.backbones.mlp, (28, 28, 1), 100),
    "resnet18": (keras_ncr.backbones.resnet18, (32, 32, 3), 1),
}


class Clock(keras.callbacks.Callback):
    """Times the steps of an epoch, and what `fit` does before the first."""

    def __init__(self):
        super().__init__()
        self.first, self.created = None, self.now()

    def now(self):
        return np.array([time.perf_counter(), time.process_time()])

    def on_train_batch_begin(self, batch, logs=None):
        self.first = self.now() if self.first is None else self.first

    def on_train_batch_end(self, batch, logs=None):
        self.num_steps, self.last = batch + 1, self.now()

    def milliseconds_per_step(self):
        """Returns the time and the cores' time."""
        return 1000 * (self.last - self.first) / self.num_steps

    def milliseconds_before(self):
        return 1000 * (self.first - self.created)[0]


class NoLoss(keras.layers.Layer):
    """Stands in for a consistency loss, and costs nothing."""

    def call(self, features, logits):
        return 0.0 * logits[:, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seconds", type=float, default=60, help="for each net")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--jit", action="store_true", help="also compiled by XLA")
    parser.add_argument(
        "--parts", action="store_true", help="also NCR without its loss, and in warm-up"
    )
    arguments = parser.parse_args()
    print(
        f"TensorFlow {tf.__version__}, {os.cpu_count()} CPUs ({platform.machine()}), "
        f"load {os.getloadavg()[0]:.1f} before, batch {arguments.batch}\n\n"
        "| net | model | ms | ratio (quartiles) | cores' ms | ratio (quartiles) "
        "| before fit's first step, ms | n |\n" + "| --- " * 8 + "|"
    )
    for name in arguments.nets:
        backbone, shape, steps = NETS[name]
        models = compiled_models(backbone, shape, arguments.jit, arguments.parts)
        data = batches(shape, steps, arguments.batch)
        print_table(name, turns(models, data, arguments.seconds))


def compiled_models(backbone, shape, jit=False, parts=False):
    """Returns the models that are compared by name, the plain one first."""
    models = {
        "plain": plain_model(backbone(shape)),
        "NCR": keras_ncr.NCRModel(backbone(shape), 10),
    }
    if parts:
        models["NCR, no loss"] = keras_ncr.NCRModel(backbone(shape), 10, NoLoss())
        models["NCR, warm-up"] = keras_ncr.NCRModel(
            backbone(shape), 10, warmup_epochs=1
        )
    if jit:
        models["plain, XLA"] = plain_model(backbone(shape))
        models["NCR, XLA"] = keras_ncr.NCRModel(backbone(shape), 10)
    for name, model in models.items():
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile="XLA" in name,
        )
    return models


def plain_model(backbone):
    """Returns the Functional classifier that NCRModel stands beside."""
    logits = keras.layers.Dense(10, dtype="float32")(backbone.output)
    return keras.Model(backbone.input, logits)


def batches(shape, steps, batch):
    """Returns an epoch of random images, held in memory."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch * steps, *shape)).astype("uint8")
    labels = rng.integers(0, 10, batch * steps)
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    return data.batch(batch, drop_remainder=True).cache().prefetch(2)


def turns(models, data, seconds):
    """Returns the clocks of each model, after turns of an epoch each."""
    clocks = {name: [] for name in models}
    for model in models.values():
        model.fit(data, verbose=0, shuffle=False)
    end = time.perf_counter() + seconds
    order = list(models)
    while time.perf_counter() < end or len(clocks[order[0]]) < 6:
        for name in order:
            clock = Clock()
            models[name].fit(data, verbose=0, shuffle=False, callbacks=[clock])
            clocks[name].append(clock)
        order.reverse()
    return clocks


def print_table(net, clocks):
    """Prints a line for each model: medians, and ratios to the plain one."""
    times = {
        name: np.array([clock.milliseconds_per_step() for clock in own])
        for name, own in clocks.items()
    }
    for name, own in times.items():
        cells = []
        for column in (0, 1):
            ratios = (own / times["plain"])[:, column]
            low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
            cells.append(f"{np.median(own[:, column]):.1f}")
            cells.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
        before = np.median([clock.milliseconds_before() for clock in clocks[name]])
        print(f"| {net} | {name} | {' | '.join(cells)} | {before:.0f} | {len(own)} |")


if __name__ == "__main__":
    main()
