r"""Your own pictures as a table of files and labels: CSV, Parquet.

    path,label
    photos/1.jpg,cat
    photos/2.png,dog

Paths are relative to the table. Labels are names, or class numbers from 0. Another name
of the label's column: `--config.data.label_key=NAME`; a column with the true labels,
which shows what the network learns by heart: `--config.data.clean_label_key=NAME`. A
fifth is held out for testing; a table with labels that you have checked is better:
`--config.data.test_path=FILE`.

Reference: https://arxiv.org/abs/2202.02200 for the training: Table 4 with fewer epochs,
alpha 0.9 and k 10 (of its Table 5, for 20 % noise) after a third of them.
Arguments: path, method (standard, ncr, mixup, ...), size (pixels), backbone (of
keras_ncr.backbones or keras.applications), epochs. Commands:

    keras-ncr train --config=configs/table.py:labels.csv --workdir=runs/table
    keras-ncr train --workdir=runs/table-64 \
        --config=configs/table.py:labels.parquet,method=standard,size=64

Hardware, time, result: they depend on your pictures; no public data were run yet.
"""

from keras_ncr.experiments.config import own_pictures, string_arguments


def get_config(argument=None):
    arguments = string_arguments(
        argument, path="", method="ncr", size=128, backbone="resnet18", epochs=50
    )
    return own_pictures("table", arguments)
