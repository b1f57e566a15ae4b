r"""Mini-ImageNet with controlled noise: red (images from the web) and blue (labels).

100 classes, 50,000 (red) or 60,000 (blue) training images, 5,000 for validation, the
same and clean for all. Of a red set `rate` percent are images that a search engine gave
for the class; of a blue set as many labels are drawn anew. Rates: 0, 5, 10, 15, 20, 30,
40, 50, 60, 80. The data set knows which labels are in doubt (`is_clean`).

TensorFlow Datasets keeps the images at 84 x 84 pixels. The literature trains at three
sizes, and its figures do not compare: 224 as in the paper and its released code,
ResNet-18 with the ImageNet stem and Inception crops; 84 as in MOIT, ResNet-18 with a
3x3 stem; 32 as in FaMUS and most later work, pre-activation ResNet-18 and crops padded
by 4.

alpha, k and e are the paper's for 0, 20, 40 and 80 % (Table 5); other rates take those
of the nearest, the lower of two. The paper used the same for red and blue. The released
code has others, for a loss of another form: alpha 0.3, e 10, k 10 / 10 / 100 / 5.

Reference: https://arxiv.org/abs/2202.02200, Tables 1, 4 and 5; data:
https://arxiv.org/abs/1911.09781 (Jiang et al., 2020), as `controlled_noisy_web_labels`
of TensorFlow Datasets, which says what to download.
The paper's accuracy at 224 pixels,
last epoch, five trials, at 0 / 20 / 40 / 80 %: red 72.1 / 69.0 / 64.6 / 51.2, standard
70.9 / 66.9 / 63.0 / 49.3; blue 73.4 / 67.8 / 60.6 / 11.5, standard 72.7 / 63.4 / 55.9 /
13.4.
Arguments: method (standard, ncr, mixup, ...), color (red, blue), rate, size (224, 84,
32). Commands:

    keras-ncr train --config=configs/mini_imagenet.py --workdir=runs/red40
    keras-ncr train --workdir=runs/blue80 \
        --config=configs/mini_imagenet.py:standard,color=blue,rate=80,size=32
    keras-ncr train --config=configs/mini_imagenet.py:oracle+mixup,rate=20 \
        --workdir=runs/red20-oracle

Hardware, time, result: not run yet.
"""

from keras_ncr.checks import check_known
from keras_ncr.experiments.config import choose, paper_config, string_arguments

# rate: (alpha, k, e)
TABLE_5 = {0: (0.9, 50, 50), 20: (0.9, 10, 50), 40: (0.7, 5, 50), 80: (0.9, 100, 50)}
RATES = (0, 5, 10, 15, 20, 30, 40, 50, 60, 80)
# size: (network, stem, crop)
SIZES = {
    224: ("resnet18", "imagenet", "resized"),
    84: ("resnet18", "cifar", "resized"),
    32: ("preact_resnet18", "cifar", "padded"),
}


def get_config(argument=None):
    arguments = string_arguments(argument, method="ncr", color="red", rate=40, size=224)
    color = check_known(arguments["color"], ("red", "blue"), "color")
    rate = check_known(arguments["rate"], RATES, "rate")
    backbone, stem, crop = choose(arguments["size"], SIZES, "size")
    config = paper_config()
    config.method = arguments["method"]
    config.data.name = f"controlled_noisy_web_labels/mini_imagenet_{color}"
    config.data.train_split = f"train_{rate:02d}"
    config.data.test_split = "validation"
    config.data.is_clean_key = "is_clean"
    config.data.image_size = arguments["size"]
    # The released code cuts the middle out of a slightly larger image.
    config.data.short_side = 256 if arguments["size"] == 224 else 0
    config.model.backbone = backbone
    config.model.stem = stem
    config.augment.crop = crop
    config.augment.padding = 4 if crop == "padded" else 0
    ncr = config.ncr
    ncr.consistency_weight, ncr.num_neighbors, ncr.warmup_epochs = TABLE_5[
        min(TABLE_5, key=lambda known: (abs(known - rate), known))
    ]
    return config
