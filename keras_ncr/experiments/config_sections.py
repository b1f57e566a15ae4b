"""The settings of a config that fill a section each: the data, the other methods."""

import ml_collections


def peer_settings():
    """Returns what the other methods go by, each as its own class or function has it.

    Where nothing is said, the value is the default there, where its source is named.
    """
    peers = ml_collections.ConfigDict()
    peers.label_smoothing = {"weight": 0.5}  # Tuned, in the released code of NCR.
    peers.soft_bootstrap = {"weight": 0.05, "temperature": 1.0, "stop_gradient": False}
    peers.hard_bootstrap = {"weight": 0.2}
    peers.gce = {"q": 0.7}
    peers.sce = {
        "cross_entropy_weight": 0.1,
        "reverse_weight": 1.0,
        "log_zero": -4.0,
    }
    peers.js = {"label_weight": 0.5}
    peers.mixup = {"alpha": 0.5}
    # Strengths of the change of color, and pixels by which an image moves.
    peers.second_view = {
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
        "shift": 0,
    }
    # Joined with ELR, NCR's own alpha would leave cross-entropy too little: training
    # fails. 0.6 weighs as much as 0.3 with the square of the temperature, in ELRModel.
    peers.elr = {"weight": 3.0, "momentum": 0.7, "consistency_weight": 0.6}
    peers.elr_plus = {
        "weight": 3.0,
        "momentum": 0.7,
        "consistency_weight": 0.6,
        "average_decay": 0.997,
        "mixup_alpha": 1.0,
        "ramp_steps": 0,
    }
    peers.gjs = {"label_weight": 0.3}  # Theirs for 20 % symmetric noise on CIFAR.
    # The share of wrong labels must be told. 0: not told.
    peers.co_teaching = {"forget_rate": 0.0, "ramp_epochs": 10}
    peers.sop = {"u_learning_rate": 1.0, "v_learning_rate": 10.0}
    peers.divide_mix = {
        "warmup_epochs": 10,
        "penalize_confidence": False,
        "threshold": 0.5,
        "sharpening_temperature": 0.5,
        "mixup_alpha": 4.0,
        "unlabeled_weight": 25.0,
        "ramp_epochs": 16,
        "averaged_epochs": 1,
    }
    # Without balance it is the paper's eq. 2 as printed.
    peers.label_propagation = {
        "num_neighbors": 50,
        "alpha": 0.99,
        "balance_classes": True,
    }
    return peers


def data_settings():
    """Returns the settings of the data and of how images are read."""
    data = ml_collections.ConfigDict()
    # One of DATA in experiments/data.py, or any name that tfds.load knows.
    data.name = "digits"
    data.dir = ""  # Folder of TensorFlow Datasets. Empty: its own default.
    data.train_split = "train"
    data.test_split = "test"  # Measured after every epoch.
    data.final_splits = ""  # More test splits, measured at the end: "a,b".
    # Share of the training examples that is held out, with the labels as they are, to
    # be tested on instead of the test split, which is then not looked at.
    data.validation_share = 0.0
    data.corrections = ""  # A file of reviewed labels, as the review page exports it.
    data.limit = 0  # Training examples, a fixed random subset. 0: all.
    # Names of features, or columns. Empty: as the data set itself has it.
    data.image_key = ""  # Of a table: the column of the files.
    data.label_key = ""
    data.clean_label_key = ""  # The true label.
    data.is_clean_key = ""  # Whether the label is right.
    # The user's own data.
    data.path = ""  # A folder of class folders, or a table of files and labels.
    data.test_path = ""  # Empty: part of the training data is held out.
    data.hold_out = 0.2  # The share of it.
    data.check_images = True  # Whether every image is decoded once at the start.
    # What is done about examples that cannot be read or have no label: "raise" or
    # "skip", which counts and reports them.
    data.on_error = "raise"
    # How images are read.
    data.image_size = 0  # Side of the squares that training sees. 0: as stored.
    data.short_side = 0  # What the shorter side is brought to, before a crop.
    data.cache = True  # Whether images, or their files, are held in memory.
    data.shuffle_buffer = 0  # Of streams that are not. 0: all examples.
    data.balanced = False  # With steps_per_epoch: classes drawn equally often.
    return data
