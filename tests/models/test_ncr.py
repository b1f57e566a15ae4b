"""NCRModel: eq. 4, Keras' own step where alpha is 0, a Keras classifier's manners."""

import functools
import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import cross_entropy, few, rich_backbone

import keras_ncr
from keras_ncr import NCRModel

# 70 examples leave a ragged last batch of 6 behind one of 64.
X = np.random.default_rng(0).normal(size=(70, 5)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 70)
WEIGHTS = np.linspace(0.1, 2.0, 70).astype("float32")


def small_backbone():
    return keras.Sequential([keras.layers.Dense(8, activation="relu")])


class Inherited(NCRModel):
    """What NCRModel would be without a training step of its own."""

    def train_step(self, data):
        return keras.Model.train_step(self, data)


def make(
    cls=NCRModel, backbone=small_backbone, optimizer=None, compiled=None, **kwargs
):
    """Returns a compiled model with the same initial weights every time.

    Initializers draw their seed when a layer is constructed, so it takes a function.
    """
    keras.utils.set_random_seed(1)
    model = cls(backbone(), 3, **kwargs)
    settings = {"loss": cross_entropy(), "metrics": ["accuracy"], "run_eagerly": True}
    model.compile(optimizer or keras.optimizers.SGD(0.1), **settings | (compiled or {}))
    return model


def fit(model, x=X, y=Y, **kwargs):
    return model.fit(
        x, y, **{"batch_size": 64, "shuffle": False, "verbose": 0} | kwargs
    ).history


@functools.cache
def plain_history():
    """What one epoch of the plainest model on the plainest arrays reports."""
    return fit(make())


def dataset(y=Y, x=X, batch_size=64):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)


def assert_same_state(model, other):
    pairs = [(model.weights, other.weights)]
    pairs += [(model.optimizer.variables, other.optimizer.variables)]
    for ours, theirs in pairs:
        assert len(ours) == len(theirs) > 0
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one.numpy(), two.numpy(), err_msg=one.path)


# alpha = 0 is Keras' own step


EAGER = {"run_eagerly": True}
GRAPH = {"run_eagerly": False}


def assert_inherited(
    backbone=rich_backbone, compiled=None, fitted=None, optimized=None, **arguments
):
    """Asserts that two epochs are those of Keras' step, and returns the model."""
    models, histories = [], []
    for cls in (NCRModel, Inherited):
        optimizer = keras.optimizers.SGD(0.1, momentum=0.9, **optimized or {})
        models.append(make(cls, backbone, optimizer, compiled, **arguments))
        histories.append(fit(models[-1], epochs=2, **fitted or {}))
    assert_same_state(*models)
    for name in ("loss", "accuracy"):
        assert histories[0][name] == histories[1][name]
    return models[0]


@pytest.mark.parametrize(
    "optimized, compiled, fitted",
    [
        (
            {"gradient_accumulation_steps": 2, "use_ema": True},
            EAGER,
            {"class_weight": {0: 0.5, 1: 1.0, 2: 3.0}},
        ),
        ({"clipnorm": 0.1}, EAGER | {"loss_weights": 0.3}, {"sample_weight": WEIGHTS}),
        ({}, GRAPH | {"steps_per_execution": 3}, {}),
        pytest.param(
            {},
            GRAPH | {"jit_compile": True},
            {"batch_size": 35},  # One shape of batch, since XLA compiles each anew.
            marks=pytest.mark.slow,
        ),
    ],
    ids="class_weight sample_weight steps xla".split(),
)
def test_alpha_zero_is_the_inherited_step(optimized, compiled, fitted):
    # XLA takes seconds to compile what is Keras' own in the richer one.
    backbone = small_backbone if compiled.get("jit_compile") else rich_backbone
    assert_inherited(backbone, compiled, fitted, optimized, consistency_weight=0)


@pytest.mark.slow
def test_alpha_zero_is_the_inherited_step_in_mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    model = assert_inherited(consistency_weight=0)
    assert model.optimizer.name == "loss_scale_optimizer"


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy, compiled, fitted",
    [
        ("float32", GRAPH, {}),
        ("mixed_float16", GRAPH, {}),
        ("float32", GRAPH | {"jit_compile": True}, {"batch_size": 35}),
    ],
)
def test_alpha_zero_is_the_inherited_step_of_a_rich_network(policy, compiled, fitted):
    keras.config.set_dtype_policy(policy)
    assert_inherited(rich_backbone, compiled, fitted, consistency_weight=0)


@pytest.mark.slow
def test_warmup_epochs_are_the_inherited_step():
    assert_inherited(warmup_epochs=2)


# Eq. 4 by hand


def by_hand(model, x, y, weights, alpha):
    """Returns the parts of eq. 4 and its gradients, written as the paper has it."""
    kernel, bias, head, head_bias = model.trainable_variables
    with tf.GradientTape() as tape:
        features = tf.nn.relu(x @ kernel.value + bias.value)
        logits = features @ head.value + head_bias.value
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        classification = tf.reduce_sum(weights * each) / len(x)
        consistency = tf.reduce_mean(
            keras_ncr.losses.neighbor_consistency(features, logits)
        )
        regularization = 0.01 * tf.reduce_sum(kernel.value**2)
        loss = (1 - alpha) * classification + alpha * consistency + regularization
    gradients = tape.gradient(loss, model.trainable_variables)
    return loss, classification, consistency, gradients


@pytest.mark.parametrize("alpha", [0.25, 0.9, 1.0])
def test_a_step_follows_eq_4(alpha):
    def backbone():
        return keras.layers.Dense(8, activation="relu", kernel_regularizer="l2")

    model = make(backbone=backbone, consistency_weight=alpha)
    model(X)
    before = [weight.numpy() for weight in model.trainable_variables]
    loss, classification, consistency, gradients = by_hand(model, X, Y, WEIGHTS, alpha)
    history = fit(model, batch_size=70, sample_weight=WEIGHTS)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
    close(history["loss"], [loss])
    close(history["classification_loss"], [classification])
    close(history["neighbor_consistency_loss"], [consistency])
    assert consistency > 0
    for weight, old, gradient in zip(
        model.trainable_variables, before, gradients, strict=True
    ):
        close(weight.numpy(), old - 0.1 * gradient.numpy(), atol=1e-6)


def test_alpha_leaves_additional_losses_alone():
    history = fit(make(backbone=rich_backbone, consistency_weight=0.5), batch_size=70)
    model = make(backbone=rich_backbone, consistency_weight=0.5)
    model(X, training=True)
    additional = float(sum(tf.reduce_sum(loss) for loss in model.losses))
    half = 0.5 * (
        history["classification_loss"][0] + history["neighbor_consistency_loss"][0]
    )
    assert additional > 0.05
    np.testing.assert_allclose(history["loss"][0], half + additional, rtol=1e-5)


def test_epoch_losses_are_means_over_examples():
    model = make(optimizer=keras.optimizers.SGD(0.0))
    whole = fit(model, batch_size=70)["classification_loss"]
    np.testing.assert_allclose(fit(model)["classification_loss"], whole, rtol=1e-5)


def test_consistency_gradients_reach_the_backbone_without_labels():
    model = make(consistency_weight=1.0)
    model(X)
    kernel = model.backbone.weights[0].numpy()
    fit(model, sample_weight=np.zeros(70))
    assert np.abs(model.backbone.weights[0].numpy() - kernel).max() > 1e-5


# Backbones and classifiers


class WithoutTraining(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.relu(inputs)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(8, activation="relu")
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, inputs, training=None):
        return self.dropout(self.dense(inputs), training=training)


def functional():
    inputs = keras.Input((5,))
    return keras.Model(inputs, keras.layers.Dense(8, activation="relu")(inputs))


@pytest.mark.parametrize(
    "backbone",
    [
        functional,
        Subclassed,
        lambda: keras.layers.Dense(8, activation="relu"),
        WithoutTraining,
        lambda: keras.layers.Lambda(lambda x: x[:, :, None, None]),
        pytest.param(small_backbone, marks=pytest.mark.slow),
        pytest.param(
            lambda: keras.Sequential([keras.Input((5,)), keras.layers.Dense(8)]),
            marks=pytest.mark.slow,
        ),
    ],
    ids="functional subclassed layer no_training map sequential built".split(),
)
def test_a_model_or_layer_is_a_backbone(backbone):
    model = make(backbone=backbone)
    history = fit(model)
    assert history["neighbor_consistency_loss"][0] > 0
    assert model.predict(X, verbose=0).shape == (70, 3)


def test_dropout_of_the_backbone_acts_in_training_only():
    model = make(backbone=lambda: keras.layers.Dropout(0.5))
    assert np.any(model(X, training=True) != model(X, training=True))
    np.testing.assert_array_equal(model(X), model(X, training=False))


def test_a_feature_map_is_averaged():
    images = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    pooling = keras.layers.GlobalAveragePooling2D()
    logits = []
    for layers in ([], [pooling]):
        model = make(
            backbone=lambda layers=layers: keras.Sequential(
                [keras.layers.Conv2D(6, 3), *layers]
            )
        )
        features, some = model(images, return_features=True)
        assert features.shape == (4, 6)
        logits.append(some)
    np.testing.assert_allclose(*logits, atol=1e-6)


def test_channels_first_maps_are_averaged_over_space(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    maps = np.random.default_rng(0).random((4, 7, 2, 3)).astype("float32")
    features, _ = NCRModel(WithoutTraining(), 3)(maps, return_features=True)
    np.testing.assert_allclose(features, maps.mean((2, 3)), rtol=1e-6)


def mobilenet():
    return keras.applications.MobileNet(
        input_shape=(32, 32, 3), alpha=0.25, weights=None, include_top=False
    )


@pytest.mark.slow
def test_a_network_of_keras_applications_trains():
    model = make(backbone=mobilenet)
    images = np.random.default_rng(0).normal(size=(16, 32, 32, 3))
    assert np.isfinite(fit(model, images, Y[:16])["loss"]).all()


@pytest.mark.parametrize("kind", few(dict, of=[dict, list]))
def test_a_backbone_may_have_several_inputs(kind):
    inputs = {name: keras.Input((5,), name=name) for name in "ab"}
    features = keras.layers.Dense(8, activation="relu")(inputs["a"] + inputs["b"])
    x = {"a": X, "b": 2 * X}
    if kind is list:
        inputs, x = list(inputs.values()), list(x.values())
    model = make(backbone=lambda: keras.Model(inputs, features))
    assert fit(model, x)["neighbor_consistency_loss"][0] > 0
    assert model.predict(x, verbose=0).shape == (70, 3)


@pytest.mark.parametrize("dtype", few("string", of=["int32", "string"]))
def test_a_backbone_may_read_text(dtype):
    layers = [keras.layers.Embedding(9, 4), keras.layers.GlobalAveragePooling1D()]
    x = np.random.default_rng(0).integers(0, 9, (70, 6))
    if dtype == "string":
        words = keras.layers.TextVectorization(
            vocabulary=["a", "b"], output_sequence_length=3
        )
        layers, x = [words, *layers], tf.constant(["a b", "b"] * 35)
    model = make(backbone=lambda: keras.Sequential(layers))
    assert np.isfinite(fit(model, x)["loss"]).all()
    assert model.predict(x, verbose=0).shape == (70, 3)


if importlib.util.find_spec("keras_hub"):

    def test_a_keras_hub_backbone_trains():
        from keras_hub.models import VGGBackbone

        def backbone():
            return VGGBackbone(
                stackwise_num_repeats=[1, 1],
                stackwise_num_filters=[4, 8],
                image_shape=(16, 16, 3),
            )

        images = np.random.default_rng(0).normal(size=(70, 16, 16, 3))
        assert np.isfinite(fit(make(backbone=backbone), images)["loss"]).all()


def test_a_classifier_may_be_cosine():
    model = make(classifier="cosine")
    history = fit(model)
    assert isinstance(model.classifier, keras_ncr.backbones.CosineClassifier)
    assert history["neighbor_consistency_loss"][0] > 0
    assert np.abs(model.predict(X, verbose=0)).max() < 11


def test_a_classifier_may_be_any_layer():
    head = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(3)])
    model = make(classifier=head)
    fit(model)
    assert model.classifier is head
    assert len(model.trainable_weights) == 6


def test_a_frozen_backbone_stays_as_it_is():
    backbone = functional()
    backbone.trainable = False
    model = make(backbone=lambda: backbone)
    before = backbone.get_weights()
    fit(model)
    np.testing.assert_array_equal(before[0], backbone.get_weights()[0])
    assert len(model.trainable_weights) == 2


def test_a_model_without_trainable_weights_can_be_fitted():
    model = make()
    model(X)
    model.trainable = False
    model.compile("sgd", cross_entropy(), run_eagerly=True)
    before = model.get_weights()
    fit(model)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


# The manners of a Keras classifier


PARTS = ["classification_loss", "neighbor_consistency_loss"]


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_evaluation_reports_eq_4_and_its_parts(alpha):
    model = make(consistency_weight=alpha)
    fit(model)
    logs = model.evaluate(X, Y, batch_size=70, verbose=0, return_dict=True)
    features, logits = model(X, return_features=True)
    parts = [
        cross_entropy()(Y, logits),
        np.mean(keras_ncr.losses.neighbor_consistency(features, logits)),
    ]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
    close([logs[name] for name in PARTS], parts)
    close(logs["loss"], (1 - alpha) * parts[0] + alpha * parts[1])
    close(logs["accuracy"], np.mean(logits.numpy().argmax(1) == Y))
    assert logs.keys() == {"loss", "accuracy", *PARTS}


def test_lists_of_results_have_the_loss_and_compiled_metrics_alone():
    model = make()
    for method in (model.evaluate, model.test_on_batch, model.train_on_batch):
        quiet = {"verbose": 0} if method == model.evaluate else {}
        logs = method(X[:32], Y[:32], return_dict=True, **quiet)
        loss, accuracy = method(X[:32], Y[:32], **quiet)
        assert logs.keys() == {"loss", "accuracy", *PARTS}
        if method != model.train_on_batch:
            assert [loss, accuracy] == [logs["loss"], logs["accuracy"]]


@pytest.mark.parametrize(
    "compiled",
    [EAGER, pytest.param(GRAPH, marks=pytest.mark.slow)],
    ids=["eager", "graph"],
)
def test_validation_reports_what_training_and_evaluation_do(compiled):
    model = make(compiled=compiled)
    history = fit(model, epochs=2, validation_data=(X[:20], Y[:20]))
    names = ["loss", "accuracy", *PARTS]
    assert sorted(history) == sorted([*names, *["val_" + name for name in names]])
    final = model.evaluate(X[:20], Y[:20], verbose=0, return_dict=True)
    for name in names:
        np.testing.assert_allclose(history["val_" + name][-1], final[name], rtol=1e-6)


def test_without_a_step_training_and_validation_report_the_same():
    model = make(optimizer=keras.optimizers.SGD(0.0), consistency_weight=0.5)
    history = fit(model, validation_data=(X, Y), validation_batch_size=64)
    for name in ["loss", "accuracy", *PARTS]:
        assert history["val_" + name] == pytest.approx(history[name], rel=1e-6)


def test_validation_in_warmup_is_without_consistency(tmp_path):
    model = make(warmup_epochs=1, consistency_weight=0.5)
    history = fit(model, epochs=2, validation_data=(X, Y))
    loss, classification = history["val_loss"], history["val_classification_loss"]
    assert loss[0] == pytest.approx(classification[0], rel=1e-6)
    assert loss[1] != pytest.approx(classification[1], rel=1e-3)
    # And a loaded model evaluates as the one that was saved.
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)


def test_usual_callbacks_work(tmp_path):
    model = make()
    best = str(tmp_path / "best.keras")
    history = fit(
        model,
        epochs=5,
        validation_split=0.3,
        callbacks=[
            keras.callbacks.EarlyStopping("val_accuracy", min_delta=1.0),
            keras.callbacks.ModelCheckpoint(best, "val_loss", save_best_only=True),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.TensorBoard(tmp_path),
            keras.callbacks.ReduceLROnPlateau("val_loss"),
            keras.callbacks.TerminateOnNaN(),
        ],
    )
    assert len(history["loss"]) < 5
    header = (tmp_path / "log.csv").read_text().split("\n")[0]
    assert header == (
        "epoch,accuracy,classification_loss,loss,neighbor_consistency_loss,"
        "val_accuracy,val_classification_loss,val_loss,val_neighbor_consistency_loss"
    )
    assert keras.models.load_model(best).predict(X, verbose=0).shape == (70, 3)


def test_train_on_batch_reports_the_parts():
    logs = make().train_on_batch(X, Y, return_dict=True)
    assert logs.keys() == {
        "accuracy",
        "classification_loss",
        "loss",
        "neighbor_consistency_loss",
    }


def test_predict_takes_a_dataset_with_labels():
    model = make()
    logits = model.predict(dataset(), verbose=0)
    np.testing.assert_array_equal(logits, model.predict(X, verbose=0))


@pytest.mark.parametrize(
    "of_keras", [lambda y: y[:, None], lambda y: y.astype("float32"), tf.constant]
)
def test_labels_come_in_any_form_that_keras_takes(of_keras):
    assert fit(make(), y=of_keras(Y)) == plain_history()


if importlib.util.find_spec("pandas"):

    def test_labels_come_from_pandas():
        import pandas

        frame, series = pandas.DataFrame(X), pandas.Series(Y)
        assert fit(make(), frame, series) == plain_history()


@pytest.mark.parametrize("label_smoothing", few(0.2, of=[0.0, 0.2]))
def test_one_hot_labels_train(label_smoothing):
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=label_smoothing
    )
    f1_score = keras.metrics.F1Score(average="macro")
    model = make(compiled={"loss": loss, "metrics": [f1_score, "accuracy"]})
    one_hot = keras.utils.to_categorical(Y, 3)
    history = fit(model, y=one_hot)
    assert {"f1_score", "accuracy"} <= history.keys()
    assert fit(model, dataset(one_hot), None, batch_size=None)["loss"][0] > 0


def test_an_ignored_class_counts_in_consistency_alone():
    loss = cross_entropy(ignore_class=-1)
    model = make(compiled={"loss": loss}, optimizer=keras.optimizers.SGD(0.0))
    all_ignored = np.full(70, -1)
    history = fit(model, y=all_ignored)
    assert history["classification_loss"] == [0.0]
    assert history["neighbor_consistency_loss"][0] > 0
    assert fit(model, dataset(all_ignored), None, batch_size=None) == history


@pytest.mark.slow
def test_generators_and_sequences_train():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return X[index * 35 :][:35], Y[index * 35 :][:35]

    batches = Batches()
    generator = (batches[index % 2] for index in range(4))
    expected = fit(make(), batch_size=35)
    settings = {"batch_size": None, "y": None}
    assert fit(make(), batches, **settings) == expected
    assert fit(make(), generator, steps_per_epoch=2, **settings) == expected


def test_summary_needs_only_a_shape():
    model = make()
    model.build((None, 5))
    lines = []
    model.summary(print_fn=lines.append)
    assert "75 (300.00 B)" in "\n".join(lines)
    assert model.count_params() == 5 * 8 + 8 + 8 * 3 + 3


def test_a_build_that_cannot_work_says_so():
    def needs_integers(x):
        return tf.gather(tf.eye(4), x)

    model = NCRModel(keras.layers.Lambda(needs_integers), 3)
    with pytest.warns(UserWarning, match="could not be built from input_shape"):
        model.build((None,))


def test_the_loss_is_built_with_the_model():
    model = make()
    model.build((None, 5))
    assert model.consistency_loss.built


def test_return_features_gives_the_pair_of_one_forward_pass():
    model = make()
    features, logits = model(X, return_features=True)
    assert features.shape == (70, 8)
    np.testing.assert_allclose(logits, model.classifier(features), rtol=1e-6)
    np.testing.assert_array_equal(logits, model(X))


def test_a_model_is_a_layer_of_another():
    model = make()
    inputs = keras.Input((5,))
    whole = keras.Model(inputs, keras.layers.Softmax()(model(inputs)))
    np.testing.assert_allclose(whole.predict(X, verbose=0).sum(1), 1, rtol=1e-5)


def test_models_do_not_share_their_loss():
    assert make().consistency_loss is not make().consistency_loss


def test_training_weighs_no_example_of_another_model():
    first, second = make(), make(backbone=Subclassed)
    fit(second)
    assert fit(first) == plain_history()


# Subclasses: the two of the docstring, and a third with arguments of its own


class ProjectedNCR(NCRModel):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.projection = keras.layers.Dense(4, activation="relu")

    def features_and_logits(self, inputs, training=None):
        features, logits = super().features_and_logits(inputs, training)
        return self.projection(features), logits


class HumbleNCR(NCRModel):
    def features_and_logits(self, inputs, training=None):
        features, logits = super().features_and_logits(inputs, training)
        self.add_loss(0.01 * keras.ops.mean(logits**2))
        return features, logits


def test_a_subclass_can_change_the_forward_pass():
    model = make(ProjectedNCR)
    model.build((None, 5))
    before = model.projection.kernel.numpy()
    fit(model)
    assert np.any(model.projection.kernel.numpy() != before)
    assert model(X, return_features=True)[0].shape == (70, 4)


def test_a_subclass_can_add_a_loss():
    model, plain = make(HumbleNCR), make()
    humble = fit(model, batch_size=70)
    expected = fit(plain, batch_size=70)
    logits = make()(X).numpy()
    difference = humble["loss"][0] - expected["loss"][0]
    np.testing.assert_allclose(difference, 0.01 * np.mean(logits**2), rtol=1e-3)
    assert humble["classification_loss"] == pytest.approx(
        expected["classification_loss"]
    )
    assert np.any(model.classifier.kernel.numpy() != plain.classifier.kernel.numpy())


def test_a_consistency_loss_may_have_weights_and_losses():
    class Scaled(keras_ncr.NeighborConsistencyLoss):
        def build(self, *shapes):
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, features, logits):
            self.add_loss(0.1 * self.scale**2)
            return self.scale * super().call(features, logits)

    model = make(consistency_loss=Scaled(), consistency_weight=0.5)
    history = fit(model, batch_size=70)
    assert float(model.consistency_loss.scale) < 1.0 - 0.1 * 0.2
    half = 0.5 * (
        history["classification_loss"][0] + history["neighbor_consistency_loss"][0]
    )
    np.testing.assert_allclose(history["loss"][0], half + 0.1, rtol=1e-5)


# Errors


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"consistency_weight": 1.5}, "`consistency_weight` .* 0 to 1. .*=1.5"),
        ({"consistency_weight": -0.1}, "`consistency_weight` .* 0 to 1. .*=-0.1"),
        ({"consistency_weight": float("nan")}, "`consistency_weight` .*=nan"),
        ({"consistency_weight": "0.9"}, "`consistency_weight` .*='0.9'"),
        ({"consistency_loss": 0}, "`consistency_loss` must be a Keras layer"),
        ({"num_classes": 1}, "`num_classes` .* at least 2. .*num_classes=1"),
        ({"num_classes": 2.5}, "`num_classes` must be an integer"),
        ({"warmup_epochs": -1}, "`warmup_epochs` .* at least 0. .*warmup_epochs=-1"),
        ({"warmup_epochs": 0.5}, "`warmup_epochs` must be an integer"),
        ({"backbone": keras.layers.Dense}, "`backbone` must be a Keras layer or model"),
        ({"backbone": "resnet18"}, "`backbone` .*Received: backbone='resnet18'"),
        ({"consistency_loss": "kl"}, "`consistency_loss` must be a Keras layer"),
        ({"classifier": "softmax"}, '`classifier` must be "linear", "cosine", "hete'),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NCRModel(**{"backbone": small_backbone(), "num_classes": 3} | arguments)


def dict_backbone():
    inputs = keras.Input((5,))
    return keras.Model(inputs, {"features": keras.layers.Dense(8)(inputs)})


@pytest.mark.parametrize(
    "backbone, received",
    [
        (lambda: keras.layers.Reshape((5, 1)), r".*, 5, 1\). Add a pooling or Flatten"),
        (dict_backbone, "dict"),
    ],
)
@pytest.mark.parametrize("compiled", [EAGER, GRAPH], ids=["eager", "graph"])
@pytest.mark.filterwarnings("ignore:.*could not be built")
def test_a_backbone_of_the_wrong_rank_is_refused(backbone, received, compiled):
    with pytest.raises(ValueError, match=f"`backbone` must .*Received: {received}"):
        fit(make(backbone=backbone, compiled=compiled))


@pytest.mark.filterwarnings("ignore:.*could not be built")
def test_a_classifier_of_the_wrong_width_is_refused():
    with pytest.raises(ValueError, match=r"num_classes=3\). Received: .*, 4\)"):
        fit(make(classifier=keras.layers.Dense(4)))


def sigmoid_focal(y_true, y_pred, from_logits=False):
    return keras.losses.binary_focal_crossentropy(y_true, y_pred, from_logits)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
        "kl_divergence",
        keras.losses.sparse_categorical_crossentropy,
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.CategoricalFocalCrossentropy(),
        keras.losses.KLDivergence(),
        [keras.losses.CategoricalCrossentropy()],
        sigmoid_focal,
    ],
    # Not by their text, which holds an address that differs between processes.
    ids=lambda loss: getattr(loss, "__name__", None) or type(loss).__name__,
)
def test_a_loss_on_probabilities_is_refused(loss):
    with pytest.raises(ValueError, match="`loss` must be one on logits.*probabilities"):
        NCRModel(small_backbone(), 3).compile("sgd", loss)


@pytest.mark.parametrize(
    "loss",
    [
        functools.partial(
            keras.losses.sparse_categorical_crossentropy, from_logits=True
        ),
        lambda y, logits: tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.cast(tf.reshape(y, [-1]), "int32"), logits
        ),
    ],
    ids=["partial", "lambda"],
)
def test_a_loss_on_logits_trains(loss):
    history = fit(make(compiled={"loss": loss}))
    np.testing.assert_allclose(history["loss"], plain_history()["loss"], rtol=1e-5)


WRONG = [
    (np.where(np.arange(70) == 4, 3, Y), "below 3. Received: 3 at position 4"),
    (np.where(np.arange(70) == 4, -2, Y), "0 or more. Received: -2 at position 4"),
    (np.where(np.arange(70) == 4, np.nan, Y), "class numbers. Received: nan at pos"),
    (np.eye(3)[Y] * np.where(np.arange(70) == 4, np.nan, 1)[:, None], "one-hot .*nan"),
    (-np.eye(3)[Y], "one-hot labels or probabilities"),
]


@pytest.mark.parametrize("labels, message", WRONG)
def test_wrong_labels_are_refused_before_training(labels, message):
    model = make()
    model(X)
    before = model.get_weights()
    with pytest.raises(ValueError, match=f"`y` must .*{message}"):
        fit(model, y=labels)
    with pytest.raises(ValueError, match=f"`y` must .*{message}"):
        fit(model, y={"label": labels, "clean_label": Y})
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "labels, compiled",
    [(labels, EAGER) for labels, _ in WRONG]
    + [pytest.param(WRONG[1][0], GRAPH, marks=pytest.mark.slow)]
    # XLA leaves assertions out of a step, and takes NaN for class 0.
    + [(labels, GRAPH | {"jit_compile": True}) for labels, _ in WRONG[2:3]],
)
def test_wrong_labels_in_a_dataset_stop_the_step(labels, compiled):
    if labels.ndim == 2:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        compiled = compiled | {"loss": loss}
    model = make(backbone=keras.layers.BatchNormalization, compiled=compiled)
    model(X)
    before = model.get_weights()
    with pytest.raises(tf.errors.InvalidArgumentError, match="A label in `x` must be"):
        fit(model, dataset({"label": labels}), None, batch_size=None)
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_many_classes_fit_into_small_integers():
    model = NCRModel(small_backbone(), 300)
    model.compile("sgd", cross_entropy(), run_eagerly=True)
    labels = np.full(70, 255, "uint8")
    assert fit(model, dataset(labels), None, batch_size=None)["loss"][0] > 0


@pytest.mark.parametrize(
    "x, y, message",
    [
        (X[:0], Y[:0], "`y` must hold at least one label"),
        (X[:0], np.eye(3)[Y[:0]], "`y` must hold at least one label"),
        (dataset(Y[:0], X[:0]), None, "`x` must hold at least one example"),
        (X, None, "need labels. Received: y=None"),
        (tf.data.Dataset.from_tensor_slices(X), None, "batches .inputs, labels."),
        (X, np.eye(4)[Y], r"\(n, 1\) or \(n, num_classes=3\). .*\(70, 4\)"),
        (X, {"clean_label": Y}, r'key "label".*\[\'clean_label\'\]'),
        (dataset({"index": Y}), None, r'key "label".*\[\'index\'\]'),
    ],
)
def test_missing_labels_are_refused(x, y, message):
    model = make()
    with pytest.raises(ValueError, match=message):
        fit(model, x, y, batch_size=None)
    assert int(model.optimizer.iterations) == 0


def test_evaluation_without_labels_is_refused():
    with pytest.raises(ValueError, match="need labels. .* use `predict`"):
        make().evaluate(X, verbose=0)


# Learning


def blobs(num_examples, seed):
    """Four Gaussian blobs in 8 dimensions, near enough to be confused at times."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(5).normal(size=(4, 8))
    labels = rng.integers(0, 4, num_examples)
    noise = rng.normal(scale=0.5, size=(num_examples, 8))
    return (centers[labels] + noise).astype("float32"), labels


@pytest.mark.slow  # By default test_run.py has such a test, on digits.
def test_consistency_beats_cross_entropy_on_wrong_labels():
    x, clean = blobs(512, seed=0)
    rng = np.random.default_rng(2)
    is_noisy = rng.permutation(512) < 205
    noisy = np.where(is_noisy, (clean + rng.integers(1, 4, 512)) % 4, clean)
    accuracies, memorized = [], []
    for alpha in (0.0, 0.9):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
        model = NCRModel(keras.Sequential(layers), 4, consistency_weight=alpha)
        model.compile(
            keras.optimizers.Adam(1e-2), cross_entropy(), steps_per_execution=4
        )
        model.fit(x, noisy, batch_size=128, epochs=40, verbose=0)
        test_x, test_y = blobs(2000, seed=1)
        accuracies.append(np.mean(np.argmax(model(test_x), 1) == test_y))
        predictions = np.argmax(model(x), 1)
        memorized.append(np.mean(predictions[is_noisy] == noisy[is_noisy]))
    assert accuracies[1] > accuracies[0] + 0.15
    assert memorized[1] < memorized[0] - 0.4


# What would train wrong in silence


def batches(labels, *weights):
    return tf.data.Dataset.from_tensor_slices((X, labels, *weights)).batch(32)


@pytest.mark.parametrize(
    "labels",
    [Y, pytest.param(np.eye(3)[Y], marks=pytest.mark.slow)],
    ids=["numbers", "one-hot"],
)
def test_class_weights_of_labels_in_a_dict_are_those_of_plain_labels(labels):
    loss = cross_entropy()
    if labels.ndim == 2:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    options = {"class_weight": {0: 0.5, 2: 3.0}, "validation_data": (X, labels)}
    histories = [
        fit(make(compiled={"loss": loss}), y=y, **options)
        for y in (labels, {"label": labels})
    ]
    assert histories[0] == histories[1]


@pytest.mark.parametrize(
    "x, y, options, obstacle",
    [
        (X, {"label": Y}, {"sample_weight": WEIGHTS}, "sample_weight"),
        (X, {"label": Y}, {"validation_split": 0.5}, "validation_split"),
        (batches({"label": Y}), None, {"batch_size": None}, "a dataset"),
    ],
    ids=["sample_weight", "validation_split", "dataset"],
)
def test_class_weights_that_cannot_be_those_of_examples_are_refused(
    x, y, options, obstacle
):
    message = f"`class_weight` must be left out.*is given {obstacle}. Received"
    with pytest.raises(ValueError, match=message):
        fit(make(), x, y, class_weight={0: 0.5}, **options)


@pytest.mark.parametrize(
    "labels, message",
    [
        (Y * 0.5, "whole number"),
        (np.zeros((70, 3)), "class probabilities"),
        (np.ones((70, 3)), "class probabilities"),
    ],
)
def test_labels_that_are_none_are_refused_in_arrays_and_datasets(labels, message):
    with pytest.raises(ValueError, match="`y` must"):
        make().fit(X, labels, verbose=0)
    model = make()
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        model.fit(batches(labels), shuffle=False, verbose=0)


@pytest.mark.parametrize(
    "dataset, message",
    [
        (tf.data.Dataset.from_tensor_slices((X, Y)), r"Call `.batch\(256\)`"),
        (
            batches(np.array(["a", "b", "c"])[Y]),
            "class numbers. Received: dtype string",
        ),
    ],
)
def test_datasets_of_something_else_are_refused(dataset, message):
    with pytest.raises(ValueError, match=message):
        make().fit(dataset, shuffle=False, verbose=0)


class OfTheBatch(keras.layers.Layer):
    def call(self, features, logits):
        return keras.ops.mean(logits)


def test_consistency_loss_that_is_not_per_example_is_refused():
    with pytest.raises(ValueError, match="one value per example.*a shape of"):
        make(consistency_loss=OfTheBatch()).fit(X, Y, verbose=0)
