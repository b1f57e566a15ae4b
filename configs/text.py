r"""Your own texts, as a table with a column of texts and one of labels: CSV, Parquet.

    text,label
    "Well made, well played.",good
    "A waste of time.",bad

Labels are names, or class numbers from 0. Other names of the columns:
`--config.data.text_key=NAME`, `--config.data.label_key=NAME`; a column of ids:
`--config.data.id_key=NAME`; one of true labels: `--config.data.clean_label_key=NAME`. A
fifth is held out for testing; a table with labels that you have checked is better:
`--config.data.test_path=FILE`. Paths of pictures, which the review page then shows:
`--config.data.picture_key=NAME`. The saved model takes raw texts.

Reference: https://arxiv.org/abs/2202.02200 for the training: Table 4 with fewer epochs,
alpha 0.9 and k 10 (of its Table 5, for 20 % noise) after a third of them.
Arguments: path, method (standard, ncr, elr, ...; none that mixes), backbone
(bag_of_words, or hub:PRESET, a text encoder of KerasHub, which is not trained), epochs.
Commands:

    keras-ncr train --config=configs/text.py:texts.csv --workdir=runs/text
    keras-ncr train --config=configs/text.py:texts.csv,method=standard \
        --workdir=runs/text-standard
    keras-ncr audit --workdir=runs/text --review=runs/text-review

Hardware, time, result: they depend on your data; docstrings: docs/results.md.
"""

from keras_ncr.experiments.config import own_data, string_arguments


def get_config(argument=None):
    arguments = string_arguments(
        argument, path="", method="ncr", backbone="bag_of_words", epochs=50
    )
    return own_data("text", arguments)
