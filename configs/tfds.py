r"""Any image classification data set of TensorFlow Datasets, by its name.

Its labels are taken as they are, or changed on purpose (`noise=symmetric,rate=0.4`).
Splits other than `train` and `test`: `--config.data.train_split=train[:90%]` and
`--config.data.test_split=train[90%:]`. Feature of the label:
`--config.data.label_key=NAME`. Photographs gain from `--config.augment.flip=True`.

Reference: https://arxiv.org/abs/2202.02200 for the training: Table 4 with fewer epochs.
Arguments: name, method (standard, ncr, mixup, ...), noise, rate, size (pixels; 0 where
all images have the same), backbone (of keras_ncr.backbones or keras.applications),
epochs. Commands:

    keras-ncr train --config=configs/tfds.py:svhn_cropped --workdir=runs/svhn
    keras-ncr train --config=configs/tfds.py:stl10,noise=symmetric,rate=0.2 \
        --workdir=runs/stl10
    keras-ncr train --workdir=runs/flowers \
        --config=configs/tfds.py:oxford_flowers102,size=128

Hardware, time, result: they depend on the data set; nothing was run to the end yet.
"""

from keras_ncr.experiments.config import (
    paper_config,
    set_noise,
    stem_for,
    string_arguments,
)


def get_config(argument=None):
    arguments = string_arguments(
        argument,
        name="mnist",
        method="ncr",
        noise="none",
        rate=0.4,
        size=0,
        backbone="resnet18",
        epochs=50,
    )
    config = paper_config()
    set_noise(config, arguments)
    config.trials = 1
    config.epochs = arguments["epochs"]
    config.data.name = arguments["name"]
    config.data.image_size = arguments["size"]
    config.model.backbone = arguments["backbone"]
    config.model.stem = stem_for(arguments["backbone"], arguments["size"])
    config.optimizer.warmup_epochs = min(5.0, arguments["epochs"] / 10)
    config.ncr.warmup_epochs = arguments["epochs"] // 3  # As for one's own pictures.
    config.augment.flip = False  # Letters and digits must not be mirrored.
    config.augment.crop = "resized" if arguments["size"] else "padded"
    config.augment.padding = 0 if arguments["size"] else 4
    return config
