"""Accuracy against the batch size, with more classes than small batches have examples.

    python benchmarks/batch_size.py --out=benchmarks/results/batch_size.csv

The question of the paper's Table 6, at a size that runs on two CPU cores: 100 classes,
the numbers 00 to 99 as two of scikit-learn's digits side by side, 10,000 for training,
of which 39.6 % have a wrong label (symmetric, rate 0.4), and 2,000 for testing. The
learning rate grows with the batch, all else stays the same. The smallest batch is also
trained with queues of past examples (`queue_size` of the loss), which are neighbors
too. Printed is the test accuracy of the last epoch; a line that the file has already is
not run again.

    python benchmarks/batch_size.py --out=FILE --batches 32     # the queue alone
"""

import argparse
import pathlib
import time

import keras
import numpy as np
import pandas as pd

import keras_ncr

BATCH_SIZES = (32, 64, 128, 256, 512, 1024)
METHODS = {"cross-entropy": 0.0, "NCR": 0.9}  # The consistency weight.
# With 224 a batch of 32 has the neighbors of a batch of 256, with 992 those of 1,024.
QUEUE_SIZES = {32: (0, 224, 992)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a CSV file")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="*", default=BATCH_SIZES)
    arguments = parser.parse_args()
    keys = ["method", "queue_size", "batch_size", "seed", "epochs"]
    lines = pd.DataFrame(columns=[*keys, "accuracy", "seconds"])
    if arguments.out.exists():
        lines = pd.read_csv(arguments.out)
    train, test = two_digit_numbers()
    for seed in range(arguments.seeds):
        for method, queue_size, batch_size in runs(arguments.batches):
            line = [method, queue_size, batch_size, seed, arguments.epochs]
            if (lines[keys] == line).all(axis=1).any():
                continue
            start = time.time()
            model = trained_model(
                train, METHODS[method], queue_size, batch_size, arguments.epochs, seed
            )
            scores = model.evaluate(
                test.images, test.labels, verbose=0, return_dict=True
            )
            result, seconds = scores["accuracy"], round(time.time() - start, 1)
            lines.loc[len(lines)] = [*line, round(result, 4), seconds]
            print(*line, f"{100 * result:.1f} %, {seconds} s", flush=True)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            lines.to_csv(arguments.out, index=False)
    lines["accuracy"] = 100 * lines["accuracy"].astype(float)
    table = lines.pivot_table(
        "accuracy", "batch_size", ["method", "queue_size"], ["mean", "std", "count"]
    )
    print(table.round(1).to_string())


def runs(batch_sizes):
    """Yields what is trained for each seed: method, size of the queue, batch size."""
    for batch_size in batch_sizes:
        yield "cross-entropy", 0, batch_size
        for queue_size in QUEUE_SIZES.get(batch_size, (0,)):
            yield "NCR", queue_size, batch_size


def two_digit_numbers():
    """Returns `Source`s of numbers, each of two digits that are nowhere else."""
    generator = np.random.default_rng(0)

    def numbers(source, num_per_class):
        labels = np.repeat(np.arange(100), num_per_class)
        examples = [np.flatnonzero(source.labels == digit) for digit in range(10)]
        tens, ones = (
            source.images[[generator.choice(examples[digit]) for digit in digits]]
            for digits in (labels // 10, labels % 10)
        )
        images = np.concatenate([tens, ones], axis=2)
        return keras_ncr.datasets.from_arrays(images, labels, num_classes=100)

    train, test = keras_ncr.datasets.digits()
    return numbers(train, 100), numbers(test, 20)


def trained_model(
    train,
    consistency_weight,
    queue_size,
    batch_size,
    epochs,
    seed,
    model_class=keras_ncr.NCRModel,
):
    """Returns a model that has been trained on noisy labels."""
    keras.utils.set_random_seed(seed)
    matrix = keras_ncr.noise.symmetric(100, 0.4, include_true=True)
    noisy_labels = keras_ncr.noise.LabelNoise(matrix, seed=0).corrupt(train.labels)
    model = model_class(
        keras_ncr.backbones.mlp(train.image_shape),
        num_classes=100,
        consistency_loss=keras_ncr.NeighborConsistencyLoss(
            similarity_power=3.0, queue_size=queue_size
        ),
        consistency_weight=consistency_weight,
    )
    num_steps = epochs * keras_ncr.pipelines.steps_per_epoch(10_000, batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(0.1 * batch_size / 256, num_steps)
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        train.images, noisy_labels, batch_size=batch_size, epochs=epochs, verbose=0
    )
    return model


if __name__ == "__main__":
    main()
