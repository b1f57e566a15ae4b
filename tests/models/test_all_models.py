"""What all models do: labels in any form, weights, validation, saving, refusals."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import (
    MODELS,
    WEIGHTS,
    WITH_BUILT_IN_LOSS,
    WITH_MEMORY,
    WITH_OWN_CLASSIFIER,
    WITH_VIEWS,
    WITH_WHOLE_SET,
    X,
    Y,
    assert_close,
    assert_same_history,
    assert_same_variables,
    compiled,
    few,
    fit,
    new_model,
    plain_history,
    plain_run,
)

ONE_HOT = np.eye(3, dtype="float32")[Y]
OF_DISTRIBUTIONS = keras.losses.CategoricalCrossentropy(from_logits=True)
ALL_MODELS = pytest.mark.parametrize("name", MODELS)
# What the base class does for all.
A_FEW = pytest.mark.parametrize("name", few("ncr"))
NOT_OF_WHOLE_SETS = [name for name in MODELS if name not in WITH_WHOLE_SET]


# Labels, weights and arguments as Keras takes them


FORMS = list(itertools.product(["column", "one-hot", "dict"], MODELS))


@pytest.mark.parametrize(
    ("form", "name"),
    # Any form for one model, and one form for those that read labels themselves.
    [
        pytest.param(form, name, marks=[] if name in default else pytest.mark.slow)
        for form, name in FORMS
        for default in [("ncr", "sop", "divide_mix")[: 1 + 2 * (form == "one-hot")]]
    ],
)
def test_labels_in_any_form_train_alike(name, form):
    labels = {
        "column": Y[:, None],
        "one-hot": ONE_HOT,
        "dict": {"label": Y, "clean_label": Y},
    }[form]
    is_other_loss = form == "one-hot" and name not in WITH_BUILT_IN_LOSS
    model = compiled(name, **{"loss": OF_DISTRIBUTIONS} if is_other_loss else {})
    history = fit(model, y=labels, validation_data=(X, labels))
    assert_same_history(history, plain_history(name))


@pytest.mark.parametrize("name", few("sop", of=NOT_OF_WHOLE_SETS))
def test_datasets_train_as_arrays(name):
    arguments = {"num_examples": 12 if name == "sop" else 24}
    index = np.arange(24) // (2 if name in WITH_VIEWS else 1)
    targets = {"label": Y, "index": index}
    batches = tf.data.Dataset.from_tensor_slices((X, targets)).batch(12)
    model = compiled(name, arguments if name in WITH_MEMORY else None)
    options = {"batch_size": None, "validation_data": batches}
    assert_same_history(fit(model, batches, None, **options), plain_history(name))


@A_FEW
def test_weights_of_labels_in_a_dict_are_those_of_plain_labels(name):
    histories = [
        fit(compiled(name), y=y, sample_weight=WEIGHTS) for y in (Y, {"label": Y})
    ]
    assert_same_history(*histories)


@A_FEW
def test_fit_takes_its_arguments_by_position_down_to_weights_of_classes(name):
    of_class = {0: 0.5, 1: 1.0, 2: 3.0}
    arguments = (X, Y, 12, 1, 0, [], 0.0, (X, Y), False, of_class)
    by_position = compiled(name).fit(*arguments).history
    options = {"validation_data": (X, Y)}
    by_name = fit(compiled(name), class_weight=of_class, **options)
    assert_same_history(by_position, by_name)
    each = np.array([0.5, 1.0, 3.0], "float32")[Y]
    of_examples = fit(compiled(name), sample_weight=each, **options)
    assert_same_history(by_name, of_examples)
    assert by_name["loss"] != plain_history(name)["loss"]


@pytest.mark.parametrize(
    "name", few("ncr", "gjs", "mopro", "co_teaching", "divide_mix")
)
def test_predictions_are_logits_and_evaluation_is_validation(name):
    model, history = plain_run(name)
    logits = model.predict(X, verbose=0)
    assert logits.dtype == "float32"
    networks = getattr(model, "networks", [model])
    if name == "co_teaching":  # As its authors report it.
        networks = networks[:1]
    assert_close(logits, np.mean([network(X) for network in networks], axis=0))
    logs = model.evaluate(X, Y, batch_size=12, verbose=0, return_dict=True)
    loss, accuracy = model.evaluate(X, Y, batch_size=12, verbose=0)
    assert [loss, accuracy] == [logs["loss"], logs["accuracy"]]
    for each in logs:
        assert logs[each] == pytest.approx(history["val_" + each][0], rel=1e-5)
        assert each in history
    assert accuracy == pytest.approx(np.mean(logits.argmax(1) == Y))
    if name != "gjs":  # Its evaluation is by its own divergence.
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(Y, logits)
        loss = logs.get("classification_loss", loss)
        assert loss == pytest.approx(np.mean(each), rel=1e-5)


# What parts of an objective weigh


@pytest.mark.parametrize("name", WITH_VIEWS)
def test_ncr_joins_by_eq_4_and_regularizers_stay_outside(name):
    one_view = {"num_views": 1, "consistency_term_weight": 0} if name == "sop" else {}
    arguments = {"kernel_regularizer": "l2", "consistency_weight": 0.4, **one_view}
    model = compiled(name, arguments)
    model.build((None, 5))
    penalty = float(model.losses[0])
    history = fit(model, batch_size=24)
    names = ("classification_loss", "neighbor_consistency_loss")
    parts = [history[part][0] for part in names]
    assert min(*parts, penalty) > 0.001
    expected = 0.6 * parts[0] + 0.4 * parts[1] + penalty
    np.testing.assert_allclose(history["loss"], [expected], rtol=1e-5)


@pytest.mark.parametrize("name", ["l_dmi", "mlnt", "cleannet"])
def test_the_first_stage_is_plain_training(name):
    ours = compiled(name, {"first_stage_share": 0.9})
    plain = compiled("ncr", {"consistency_weight": 0.0})
    assert fit(ours)["loss"] == pytest.approx(fit(plain)["loss"], rel=1e-6)
    tolerance = 1e-6 if name == "cleannet" else 0  # Its examples have weights of 1.
    assert_same_variables(ours.trainable_weights, plain.trainable_weights, tolerance)


# Precision, graphs, files


REPLICATED = {
    # All examples share the samples, whatever replica they are in.
    "ncr": {"classifier": "heteroscedastic"},
    "elr": {},
    "gjs": {},
    "l_dmi": {},
    "moit": {"mixup_alpha": 0},
    "mopro": {"consistency_weight": 0.5},
    "curriculum": {},
    "mile": {},
    "sgn": {},
    "pair": {"kernel_regularizer": "l2"},
    "co_teaching": {"ramp_epochs": 0},
    "elr_plus": {"average_decay": 0.5, "consistency_weight": 0.5},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REPLICATED)
def test_two_replicas_train_as_one_device(name, two_replicas):
    one = compiled(name, REPLICATED[name])
    with two_replicas.scope():
        two = compiled(name, REPLICATED[name], run_eagerly=False)
    options = {"epochs": 2, "sample_weight": WEIGHTS}
    assert_same_history(*[fit(model, **options) for model in (one, two)], 1e-4)
    assert_same_variables(one.weights, two.weights, 1e-4)
    assert_close(two.predict(X, verbose=0), one.predict(X, verbose=0), 1e-4)


@pytest.mark.parametrize("name", few("elr_plus"))
def test_half_precision_trains_as_whole_and_keeps_memories_whole(name):
    models = []
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        models.append(compiled(name))
        fit(models[-1])
    whole, half = models
    assert half.optimizer.name == "loss_scale_optimizer"
    assert_same_variables(whole.trainable_weights, half.trainable_weights, 1e-2)
    assert half.predict(X, verbose=0).dtype == "float32"
    assert all(memory.rows.dtype == "float32" for memory in half.memories())


@pytest.mark.parametrize("name", few("co_teaching"))
def test_a_graph_trains_as_eager_execution(name):
    graph = compiled(name, run_eagerly=False)
    history = fit(graph, validation_data=(X, Y))
    assert_same_history(history, plain_history(name), 1e-4)


def settings_of(model):
    """Returns the arguments that are no layers: those know their shapes once loaded."""
    config = model.get_config().items()
    return {name: value for name, value in config if not isinstance(value, dict | list)}


@pytest.mark.parametrize("name", few("sgn", "ssr", "elr_plus"))
def test_a_saved_model_is_the_same_and_trains_on_alike(name, tmp_path):
    model = compiled(name)
    fit(model, epochs=2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert settings_of(loaded) == settings_of(model)
    np.testing.assert_array_equal(
        loaded.predict(X, verbose=0), model.predict(X, verbose=0)
    )
    assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert_same_variables(loaded.weights, model.weights, 0)
    assert_same_history(fit(loaded), fit(model))
    assert_same_variables(loaded.weights, model.weights)


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_a_model_that_knows_no_examples_yet_can_be_saved(name, tmp_path):
    model = new_model(name)
    logits = model(X)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), logits)
    assert loaded.num_examples is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", few("ncr", of=[name for name in MODELS if name not in WITH_OWN_CLASSIFIER])
)
def test_a_heteroscedastic_classifier_trains_and_is_saved(name, tmp_path):
    model = compiled(name, {"classifier": "heteroscedastic"})
    assert np.isfinite(fit(model, epochs=2)["loss"]).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    logits = loaded.predict(X, verbose=0)
    np.testing.assert_array_equal(logits, model.predict(X, verbose=0))
    assert_same_history(fit(loaded), fit(model))


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "arguments", "epochs", "done", "grades"),
    [
        ("divide_mix", {"warmup_epochs": 1, "averaged_epochs": 2}, 3, 2, None),
        ("curriculum", {"first_stage_share": 0.4}, 4, 1, None),
        slow("curriculum", {"first_stage_share": 0.4}, 4, 2, None),
        ("curriculum", {"first_stage_share": 0.4}, 4, 2, np.arange(24) % 7),
        slow("curriculum", {"first_stage_share": 0.4}, 4, 1, np.arange(24) % 7),
        # Where the second stage begins, and within the first.
        ("longremix", {}, 4, 2, None),
        slow("longremix", {}, 4, 1, None),
    ],
)
def test_a_resumed_run_is_bit_equal(name, arguments, epochs, done, grades):
    def start():
        model = compiled(name, {"num_examples": 24, **arguments})
        if grades is not None:
            model.grade(grades)
        model.build((None, 5))
        model.optimizer.build(model.trainable_variables)
        return model, [*model.variables, *model.optimizer.variables]

    options = {"epochs": epochs, "batch_size": 24}
    whole, state = start()
    fit(whole, **options)
    first, first_state = start()
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(
            first, "stop_training", epoch + 1 == done
        )
    )
    fit(first, callbacks=[stop], **options)
    again, again_state = start()
    for variable, value in zip(again_state, first_state, strict=True):
        variable.assign(value)
    fit(again, initial_epoch=done, **options)
    for one, other in zip(state, again_state, strict=True):
        np.testing.assert_array_equal(one, other)


# Double precision


@pytest.mark.parametrize("name", few("elr_plus"))
def test_double_precision_trains_as_single_precision(name):
    histories, start = [], None
    for dtype in ("float32", "float64"):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        model = compiled(name)
        model(X.astype(dtype))
        variables = model.trainable_variables
        start = start or [variable.numpy() for variable in variables]
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        histories.append(fit(model, X.astype(dtype), epochs=2))
    assert_same_history(*histories, 1e-4)


# What is refused


def cases_of(table):
    """Returns each value of each argument of each model of a table."""
    return [
        (name, argument, value)
        for name, arguments in table.items()
        for argument, values in arguments.items()
        for value in values
    ]


REFUSED = {
    "elr": {
        "elr_weight": [-1.0],
        "target_momentum": [1.5],
        "num_examples": [0],
        "consistency_weight": [2.0],
    },
    "gjs": {"label_weight": [0.0, 1.0], "num_views": [0, 1.5]},
    "sop": {
        "u_learning_rate": [0],
        "v_learning_rate": [-1.0],
        "num_views": [0, 3],
        "consistency_term_weight": [-1],
        "balance_weight": [np.nan],
        "num_examples": [0],
        "seed": [-1],
    },
    "l_dmi": {"first_stage_share": [-0.1, 1, 1.5, "0.5"]},
    "cleannet": {
        "first_stage_share": [1],
        "refresh_epochs": [-1],
        "num_references": [0],
        "num_steps": [0],
        "margin": [1.5],
        "wrong_weight": [0],
        "dropout_rate": [-1],
        "seed": [-1],
    },
    "mlnt": {
        "first_stage_share": [1],
        "num_label_sets": [0],
        "num_neighbors": [0],
        "relabeled_share": [1.5],
        "inner_learning_rate": [0],
        "meta_weight": [-1],
        "second_order": [1],
        "ramp_steps": [-1],
        "average_decay": [2],
        "early_average_decay": [-0.1],
        "seed": [-1],
    },
    "moit": {
        "num_neighbors": [0],
        "first_stage_share": [1.5],
        "last_stage_share": [-0.1, 1.0],
        "bootstrap_weight": [2],
        "mixup_alpha": [-1.0],
        "temperature": [0],
        "projection_dim": [0],
        "epochs_before_memory": [-1],
        "num_views": [4],
        "seed": [-1],
    },
    "mopro": {
        "projection_dim": [1],
        "projection_units": [0],
        "queue_size": [0],
        "temperature": [0],
        "prototype_momentum": [1.5],
        "average_decay": [-1],
        "logit_share": [2],
        "correction_threshold": [1.1],
        "first_stage_share": [-0.1],
        "prototype_weight": [-1.0],
        "instance_weight": [-1.0],
        "num_views": [3],
    },
    "curriculum": {"first_stage_share": [1], "noisy_weight": [-0.5], "seed": [-1]},
    "mile": {
        "classifier": ["cosine"],
        "teacher_steps": [0],
        "student_steps": [1.5],
        "threshold": [1.5],
    },
    "sgn": {
        "classifier": ["cosine"],
        "correction_decay": [1.5],
        "smoothing": [0, 1.0],
        "average_decay": [-0.1],
    },
    "ssr": {
        "relabel_threshold": [1.5],
        "vote_threshold": [-1],
        "num_neighbors": [1],
        "balance_votes": [1],
        "mixup_alpha": [0],
        "feature_consistency_weight": [-1.0],
        "num_views": [3],
        "seed": [-1],
    },
    "co_teaching": {"forget_rate": [1, -0.1], "ramp_epochs": [-1], "ensemble": [1]},
    "elr_plus": {
        "elr_weight": [0],
        "target_momentum": [1.5],
        "average_decay": [-1],
        "mixup_alpha": [-0.5],
        "ramp_steps": [0.5],
        "average_ramp_steps": [-1],
        "labels_by_targets": [1],
        "seed": [-1],
        "num_examples": [0],
    },
    "divide_mix": {
        "unlabeled_weight": [-1.0, np.nan],
        "threshold": [1.5],
        "sharpening_temperature": [0.0],
        "mixup_alpha": [0],
        "ramp_epochs": [-1],
        "warmup_epochs": [1.5],
        "num_views": [0],
        "penalize_confidence": ["no"],
        "averaged_epochs": [0],
        "seed": [None],
        "num_examples": [0],
    },
    "longremix": {
        "first_stage_share": [1.0, 1.5],
        "confident_epochs": [0],
        "threshold": [2],
    },
}


# What an argument must be, where it is not plain from its name.
WORDS = {
    ("elr", "elr_weight", -1.0): "be a positive",
    ("elr_plus", "elr_weight", 0): "be a positive",
    ("moit", "last_stage_share", 1.0): "leave",
    ("sop", "num_views", 3): "be 1 or 2",
}


@pytest.mark.parametrize(("name", "argument", "value"), cases_of(REFUSED))
def test_arguments_out_of_range_are_refused(name, argument, value):
    words = WORDS.get((name, argument, value), "be ")
    message = f"`{argument}` must {words}.*{argument}={value!r}"
    with pytest.raises(ValueError, match=message):
        new_model(name, **{argument: value})


@ALL_MODELS
def test_a_loss_on_probabilities_or_beside_a_built_in_one_is_refused(name):
    message = "`loss` must be one on logits"
    if name in WITH_BUILT_IN_LOSS:
        message = f"`loss` must be left out: {type(new_model(name)).__name__} trains "
        with pytest.raises(ValueError, match="`loss_weights` must be left out"):
            new_model(name).compile("sgd", loss_weights=2.0)
    with pytest.raises(ValueError, match=message):
        new_model(name).compile("sgd", "sparse_categorical_crossentropy")


def partly(loss, **options):
    return functools.partial(getattr(keras.losses, loss), **options)


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.CategoricalGeneralizedCrossEntropy(q=0.5),
        keras.losses.categorical_generalized_cross_entropy,
        keras.losses.Poisson(),
        "dice",
        keras.losses.Tversky(),
        partly("sparse_categorical_crossentropy"),
        partly("categorical_crossentropy", from_logits=False),
        [keras.losses.CategoricalCrossentropy()],
    ],
)
def test_losses_of_keras_that_expect_probabilities_are_refused(loss):
    with pytest.raises(ValueError, match="on logits.*GeneralizedCrossEntropy"):
        new_model("ncr").compile("sgd", loss)


@pytest.mark.parametrize(
    "loss", [[OF_DISTRIBUTIONS] * 2, {"label": OF_DISTRIBUTIONS}], ids=["list", "dict"]
)
def test_several_losses_are_refused(loss):
    with pytest.raises(ValueError, match="`loss` must be one"):
        new_model("ncr").compile("sgd", loss)


def of_labels(y):
    index = np.arange(24) // 2
    return tf.data.Dataset.from_tensor_slices((X, {"label": y, "index": index}))


@pytest.mark.parametrize("name", few("ncr", *WITH_WHOLE_SET))
def test_wrong_labels_are_refused_before_training(name):
    model = compiled(name)
    with pytest.raises(ValueError, match="`y` must be below 3. Received: 3"):
        fit(model, y=Y + 1)
    with pytest.raises(ValueError, match="Received: y=None. Pass `y`"):
        model.evaluate(X, verbose=0)
    assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize("name", few("ncr", "sop", "elr_plus", of=NOT_OF_WHOLE_SETS))
def test_wrong_labels_in_a_dataset_stop_the_step(name):
    model = compiled(name, {"num_examples": 12} if name in WITH_MEMORY else None)
    with pytest.raises(tf.errors.InvalidArgumentError, match="A label in `x` must be"):
        fit(model, of_labels(Y + 1).batch(12), None, batch_size=None)
    assert int(model.optimizer.iterations) == 0


def of_plain_labels():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(12)


@pytest.mark.parametrize(
    ("num_examples", "x", "y", "message"),
    [
        (24, of_plain_labels, None, r'"index".*enumerate.*carry=\["index"\]'),
        (None, lambda: of_labels(Y).batch(12), None, "`num_examples` must be given"),
        (20, lambda: X, Y, "below num_examples=20. Received: 23"),
        (None, lambda: X[:0], Y[:0], "`y` must hold at least one label"),
        (
            None,
            lambda: X,
            {"label": Y, "index": np.arange(24) // 2 - 1},
            r'`y\["index"\]` must hold the number of .*smallest -1',
        ),
        (
            None,
            lambda: X,
            {"label": Y, "index": np.arange(24) // 2 + 0.5},
            r'`y\["index"\]` must hold the number of .*float64',
        ),
        (
            24,
            lambda: tf.data.Dataset.from_tensor_slices(X).batch(12),
            None,
            "must be a dataset of batches",
        ),
    ],
    ids="numbers count more none negative fractions unlabeled".split(),
)
@pytest.mark.parametrize("name", few("elr", "sop", of=WITH_MEMORY))
def test_examples_without_good_numbers_are_refused(name, num_examples, x, y, message):
    if name == "sop" and num_examples == 20:
        num_examples, message = 10, "below num_examples=10. Received: 11"
    model = compiled(name, {"num_examples": num_examples})
    with pytest.raises(ValueError, match=message):
        fit(model, x(), y, batch_size=None)


@pytest.mark.parametrize("name", few("elr", of=["elr", "sop", "elr_plus"]))
def test_an_index_beyond_the_examples_stops_a_step_under_xla(name):
    options = {"run_eagerly": False, "jit_compile": True}
    model = compiled(name, {"num_examples": 4}, **options)
    model.build((None, 5))
    before = model.get_weights()
    with pytest.raises(tf.errors.InvalidArgumentError, match="index in `x` .* 0..3"):
        fit(model, of_labels(Y).batch(12), None, batch_size=None)
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", ["elr", "moit", "ssr", "sop", "elr_plus"])
def test_a_step_without_numbers_is_refused(name):
    with pytest.raises(ValueError, match='"label" and "index"'):
        compiled(name, {"num_examples": 24}).train_on_batch(X, Y)
