r"""Your own table of numbers and words, an example in each row: CSV, Parquet.

    age,town,label
    31,Bonn,adult
    7,Prague,child

Every column but that of the label is an input: of numbers if all its cells are, else of
words. Labels are names, or class numbers from 0. Which columns are inputs, if not all:
`--config.data.columns=age,town`. Others: `--config.data.label_key=NAME`; ids:
`--config.data.id_key=NAME`; true labels: `--config.data.clean_label_key=NAME`. A fifth
is held out for testing; a table with labels that you have checked is better:
`--config.data.test_path=FILE`. Paths of pictures, which the review page then shows:
`--config.data.picture_key=NAME`. The saved model takes a dict of raw columns.

Reference: https://arxiv.org/abs/2202.02200 for the training: Table 4 with fewer epochs,
alpha 0.9 and k 10 (of its Table 5, for 20 % noise) after a third of them.
Arguments: path, method (standard, ncr, elr, ...; none that mixes), backbone
(column_mlp), epochs. Commands:

    keras-ncr train --config=configs/tabular.py:rows.csv --workdir=runs/rows
    keras-ncr train --config=configs/tabular.py:rows.csv,method=standard \
        --workdir=runs/rows-standard
    keras-ncr audit --workdir=runs/rows --review=runs/rows-review

Hardware, time, result: they depend on your data; digits: docs/results.md.
"""

from keras_ncr.experiments.config import own_data, string_arguments


def get_config(argument=None):
    arguments = string_arguments(
        argument, path="", method="ncr", backbone="column_mlp", epochs=50
    )
    return own_data("tabular", arguments)
