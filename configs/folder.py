r"""Your own pictures in a folder of class folders, some of them in the wrong one.

    pictures/cat/1.jpg, pictures/cat/2.png, pictures/dog/3.jpg, ...

JPEG, PNG, GIF, WebP and BMP (of 24 bits) of any size and mode. A fifth of them is held
out for testing, and its labels are as noisy as the rest. Better is a test folder with
labels that you have checked: `--config.data.test_path=FOLDER`, or `train` and `test`
side by side in the folder that is named. Files are only read. Pictures of which nobody
said what they are, in a folder beside the classes, are learned from by their neighbors:
`--config.data.unlabeled_folder=unlabelled` (methods ncr and ncr+elr).

Reference: https://arxiv.org/abs/2202.02200 for the training: Table 4 with fewer epochs,
alpha 0.9 and k 10 (of its Table 5, for 20 % noise) after a third of them.
Arguments: path, method (standard, ncr, mixup, ...), size (pixels), backbone (of
keras_ncr.backbones or keras.applications), epochs. Commands:

    keras-ncr train --config=configs/folder.py:pictures \
        --workdir=runs/pictures
    keras-ncr train --workdir=runs/pictures-224 \
        --config=configs/folder.py:pictures,size=224,backbone=MobileNetV2
    keras-ncr train --config=configs/folder.py:pictures,method=standard \
        --workdir=runs/pictures-standard

With weights from ImageNet, where Keras can download them: `backbone=MobileNetV2`,
`--config.model.weights=imagenet --config.optimizer.learning_rate=0.01`.

Hardware, time, result: they depend on your pictures; no public data were run yet.
"""

from keras_ncr.experiments.config import own_pictures, string_arguments


def get_config(argument=None):
    arguments = string_arguments(
        argument, path="", method="ncr", size=128, backbone="resnet18", epochs=50
    )
    return own_pictures("folder", arguments)
