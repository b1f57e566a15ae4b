r"""Your own features: one .npz file of numbers that some network made of the examples.

    np.savez("features.npz", features=features, labels=labels)

Features have shape (n, dim); labels are names, or class numbers from 0. Also read, if
they are in the file: `ids`, `class_names` and `clean_labels` (the true ones, or -1).
Audio, video and all else can be brought here. A fifth is held out for testing; a file
with labels that you have checked is better: `--config.data.test_path=FILE`.

Reference: https://arxiv.org/abs/2202.02200 for the training: Table 4 with fewer epochs,
alpha 0.9 and k 10 (of its Table 5, for 20 % noise) after a third of them.
Arguments: path, method (standard, ncr, mixup, ...), backbone (mlp), epochs. Commands:

    keras-ncr train --config=configs/features.py:features.npz --workdir=runs/features
    keras-ncr train --config=configs/features.py:features.npz,method=standard \
        --workdir=runs/features-standard
    keras-ncr audit --workdir=runs/features --review=runs/features-review

Hardware, time, result: they depend on your data; no public data were run yet.
"""

from keras_ncr.experiments.config import own_data, string_arguments


def get_config(argument=None):
    arguments = string_arguments(
        argument, path="", method="ncr", backbone="mlp", epochs=50
    )
    return own_data("features", arguments)
