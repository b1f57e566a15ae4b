"""What the tests of models share: models of every kind, short runs, wrong labels."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from batches import central_differences

from keras_ncr.models import (
    CleanNetModel,
    CoTeachingModel,
    CurriculumModel,
    DivideMixModel,
    ELRModel,
    ELRPlusModel,
    GJSModel,
    LDMIModel,
    LongReMixModel,
    MILeModel,
    MLNTModel,
    MOITModel,
    MoProModel,
    NCRModel,
    NetworkPair,
    SGNModel,
    SOPModel,
    SSRModel,
)
from keras_ncr.pipelines import mixing

# Rows 2i and 2i + 1 have one label: they can be two views of one example.
X = np.random.default_rng(0).normal(size=(24, 5)).astype("float32")
Y = np.repeat(np.random.default_rng(1).integers(0, 3, 12), 2)
WEIGHTS = np.repeat(np.linspace(0.5, 2.0, 12), 2).astype("float32")
# Every other label is verified, and is right or wrong in turn.
VERIFIED = np.where(np.arange(24) % 4 < 2, np.arange(24) % 2, -1)

SINGLE = {
    "ncr": (NCRModel, {"consistency_weight": 0.5}),
    "elr": (ELRModel, {}),
    "gjs": (GJSModel, {"consistency_weight": 0.5}),
    # Small gradients: half precision skips steps whose scaled ones overflow.
    "l_dmi": (LDMIModel, {"first_stage_share": 0.0, "second_stage_weight": 0.01}),
    "cleannet": (
        CleanNetModel,
        # So few steps raise the weights above 0 where wrong labels hardly count.
        {
            "first_stage_share": 0.0,
            "num_references": 2,
            "num_steps": 10,
            "wrong_weight": 0.01,
        },
    ),
    "mlnt": (
        MLNTModel,
        {"first_stage_share": 0.0, "num_label_sets": 1, "ramp_steps": 0},
    ),
    "moit": (
        MOITModel,
        {
            **{"first_stage_share": 0.0, "num_neighbors": 4, "projection_dim": 4},
            **{"epochs_before_memory": 0, "temperature": 1.0},
        },
    ),
    "mopro": (
        MoProModel,
        {
            **{"first_stage_share": 0.0, "queue_size": 18, "num_views": 1},
            **{"projection_dim": 4, "projection_units": 8, "average_decay": 0.5},
            # Larger gradients would overflow in half precision.
            **{"prototype_momentum": 0.5, "temperature": 1.0, "instance_weight": 0.1},
        },
    ),
    "curriculum": (CurriculumModel, {"first_stage_share": 0.0}),
    "mile": (MILeModel, {"teacher_steps": 1, "student_steps": 1}),
    "sgn": (SGNModel, {"correction_decay": 0.5, "smoothing": 0.3}),
    "ssr": (SSRModel, {"num_neighbors": 4, "vote_threshold": 0.4}),
    "sop": (SOPModel, {"num_views": 2, "consistency_term_weight": 0.9}),
}
PAIRS = {
    "pair": (NetworkPair, {"consistency_weight": 0.5}),
    "co_teaching": (CoTeachingModel, {"forget_rate": 0.4, "ramp_epochs": 3}),
    # Keras does not save where random numbers stand: nothing is mixed.
    "elr_plus": (ELRPlusModel, {"mixup_alpha": 0}),
    "divide_mix": (DivideMixModel, {"warmup_epochs": 1}),
    "longremix": (LongReMixModel, {"warmup_epochs": 1}),
}
MODELS = [*SINGLE, *PAIRS]
WITH_BUILT_IN_LOSS = ["gjs", "mile", "moit", "mopro", "sgn", "ssr", "sop"]
WITH_OWN_CLASSIFIER = ["mile", "sgn"]
WITH_WHOLE_SET = ["cleannet", "moit", "ssr", "curriculum", "divide_mix", "longremix"]
WITH_VIEWS = ["gjs", "sop"]
WITH_MEMORY = [
    *("elr", "moit", "ssr", "curriculum", "sop"),
    *("elr_plus", "divide_mix", "longremix"),
]


def few(*names, of=MODELS):
    """Returns models as parameters, of which all but a few are slow to try."""
    return [pytest.param(n, marks=[] if n in names else pytest.mark.slow) for n in of]


def cross_entropy(**kwargs):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, **kwargs)


def dense(units, seed, **kwargs):
    initializer = keras.initializers.GlorotUniform(seed)
    return keras.layers.Dense(units, kernel_initializer=initializer, **kwargs)


def head(seed):
    # Logits are never of half precision.
    return dense(3, seed + 10, dtype=keras.config.floatx())


class AddLoss(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(0.01 * keras.ops.mean(inputs**2))
        return inputs


def rich_backbone(seed=3):
    """A backbone with everything that has a part in a training step."""
    # Keras itself cannot add a float16 loss to its own float32 one.
    dtype = keras.config.floatx()
    regularizers = {
        "kernel_regularizer": "l2",
        "activity_regularizer": keras.regularizers.L1(1e-3),
    }
    return keras.Sequential(
        [
            dense(16, seed, activation="relu", dtype=dtype, **regularizers),
            AddLoss(dtype=dtype),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Dropout(0.3, seed=seed),
            dense(8, seed, activation="relu"),
        ]
    )


def new_model(name, kernel_regularizer=None, **arguments):
    """Returns a model of a kind, not compiled, with the same weights every time."""

    def backbone(seed):
        return dense(8, seed, activation="relu", kernel_regularizer=kernel_regularizer)

    keras.utils.set_random_seed(0)  # For classifiers that models have themselves.
    if name in SINGLE:
        cls, own = SINGLE[name]
        networks, classifier = backbone(1), head(1)
    else:
        cls, own = PAIRS[name]
        networks = [backbone(1), backbone(2)]
        classifier = [head(1), head(2)]
    if name not in WITH_OWN_CLASSIFIER:
        own = {"classifier": classifier, **own}
    model = cls(networks, num_classes=3, **own | arguments)
    if name == "cleannet":
        model.verify(VERIFIED)
    return model


def compiled(name, arguments=None, **settings):
    """Returns a compiled model of a kind, with the same weights every time."""
    model = new_model(name, **arguments or {})
    if name not in WITH_BUILT_IN_LOSS:
        settings.setdefault("loss", cross_entropy())
    settings.setdefault("run_eagerly", True)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, metrics=["accuracy"], **settings)
    return model


def fit(model, x=X, y=Y, **kwargs):
    """Returns the history of two steps, in the order of the rows."""
    settings = {"batch_size": 12, "shuffle": False, "verbose": 0}
    return model.fit(x, y, **settings | kwargs).history


def view_batches(*augments):
    """Returns batches of two views of each row of X, as a pipeline makes them."""
    augment = mixing.in_sequence(mixing.second_view(lambda x, seed: x + 1), *augments)
    targets = {"label": np.eye(3, dtype="float32")[Y], "index": np.arange(24)}
    batches = tf.data.Dataset.from_tensor_slices((X, targets)).batch(8)
    return batches.map(lambda x, y: augment(x, y, [0, 7]))


@functools.cache
def plain_run(name):
    """Returns a model after an epoch on the plainest arrays, and its history."""
    model = compiled(name)
    return model, fit(model, validation_data=(X, Y))


def plain_history(name):
    """Returns what an epoch of a kind reports on the plainest arrays."""
    return plain_run(name)[1]


def assert_close(ours, theirs, tolerance=1e-5):
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def assert_same_history(ours, theirs, tolerance=1e-5):
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(
            values, theirs[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


def assert_same_variables(ours, theirs, tolerance=1e-5):
    assert len(ours) == len(theirs) > 0
    for one, two in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            one.numpy(),
            two.numpy(),
            rtol=tolerance,
            atol=tolerance,
            err_msg=getattr(one, "path", ""),
        )


# The gradient of a scalar function of float64 values.
numeric_gradient = functools.partial(central_differences, step=1e-6)


# Tasks with wrong labels, for what methods are to learn


def blobs(num_examples, seed, rate=0.4):
    """Four Gaussian blobs; returns inputs, clean labels and labels partly wrong."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).normal(size=(4, 8), scale=1.5)
    clean = rng.integers(0, 4, num_examples)
    x = (centers[clean] + rng.normal(size=(num_examples, 8))).astype("float32")
    is_wrong = rng.random(num_examples) < rate
    noisy = np.where(is_wrong, (clean + rng.integers(1, 4, num_examples)) % 4, clean)
    return x, clean, noisy


def beside_cross_entropy(cls, epochs, **arguments):
    """Returns the accuracies of plain cross-entropy and of a model, and the model.

    Both are a wide layer, and train on blobs of which 40 % have a wrong label.
    """
    x, _, noisy = blobs(400, seed=0)
    x_test, labels, _ = blobs(2000, seed=5)
    with_built_in_loss = [SINGLE[name][0] for name in WITH_BUILT_IN_LOSS]
    accuracies = []
    for kind, settings in ((NCRModel, {"consistency_weight": 0.0}), (cls, arguments)):
        keras.utils.set_random_seed(0)
        model = kind(keras.layers.Dense(256, activation="relu"), 4, **settings)
        loss = {} if kind in with_built_in_loss else {"loss": cross_entropy()}
        model.compile(keras.optimizers.Adam(0.01), metrics=["accuracy"], **loss)
        model.fit(x, noisy, batch_size=100, epochs=epochs, verbose=0)
        accuracies.append(model.evaluate(x_test, labels, verbose=0)[1])
    return *accuracies, model


def learned(cls, x, y, shuffle=False, **arguments):
    """Returns the accuracies of plain cross-entropy and of a model, and the model.

    Both are two layers, trained on x and y, blobs with wrong labels; the model's loss
    is built in.
    """
    test_x, test_y, _ = blobs(512, seed=1)
    accuracies, plain = [], {"consistency_weight": 0.0}
    for kind, loss, own in ((NCRModel, cross_entropy(), plain), (cls, None, arguments)):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
        model = kind(keras.Sequential(layers), 4, **own)
        model.compile(keras.optimizers.Adam(1e-2), loss)
        fit(model, x, y, batch_size=64, epochs=40, shuffle=shuffle)
        logits = model.predict(test_x, verbose=0)
        accuracies.append(np.mean(logits.argmax(1) == test_y))
    return *accuracies, model


def linear_pair(cls, *arguments, run_eagerly=True, backbones=None, **kwargs):
    """Returns a compiled pair of linear networks with the same weights every time."""
    model = cls(
        backbones or [dense(6, 1), dense(6, 2)],
        3,
        *arguments,
        classifier=[dense(3, 3, dtype="float32"), dense(3, 4, dtype="float32")],
        **kwargs,
    )
    optimizer = keras.optimizers.SGD(0.1)
    model.compile(
        optimizer, cross_entropy(), metrics=["accuracy"], run_eagerly=run_eagerly
    )
    return model


def accuracy_of_a_pair(cls, optimizer, *arguments, **options):
    """Returns the accuracy of two wide networks after 60 epochs on wrong labels.

    The data are blobs of three classes, of which 40 % of the labels are redrawn.
    """
    random = np.random.default_rng(5)
    centers = random.normal(size=(3, 10)) * 1.2
    labels = random.integers(0, 3, 600)
    inputs = (centers[labels] + random.normal(size=(600, 10))).astype("float32")
    annotated = labels[:300].copy()
    redrawn = random.random(300) < 0.4
    annotated[redrawn] = (annotated[redrawn] + random.integers(1, 3, 300)[redrawn]) % 3
    keras.utils.set_random_seed(2)
    backbones = [
        keras.layers.Dense(
            256, activation="relu", kernel_initializer=keras.initializers.HeNormal(seed)
        )
        for seed in (1, 2)
    ]
    model = cls(backbones, 3, *arguments, **options)
    model.compile(optimizer, cross_entropy(), metrics=["accuracy"])
    model.fit(inputs[:300], annotated, batch_size=100, epochs=60, verbose=0)
    return model.evaluate(inputs[300:], labels[300:], verbose=0)[1]
