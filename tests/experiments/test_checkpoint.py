"""Tests of checkpoint.py and checkpoint_files.py: resume at any step, torn files."""

import errno
import functools
import signal
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ncr.datasets import from_arrays
from keras_ncr.experiments.trials import interruption
from keras_ncr.experiments.trials.checkpoint import Checkpoint
from keras_ncr.experiments.trials.checkpoint_files import CheckpointFiles, Position
from keras_ncr.experiments.trials.logs import history_logger
from keras_ncr.files import NotWritten
from keras_ncr.models import CoDivide, DivideMixModel, ELRModel
from keras_ncr.pipelines.pipeline import evaluation_batches, training_batches

NUM_EPOCHS, NUM_STEPS = 2, 3


class Queue(keras.layers.Layer):
    """Adds what it saw last to what it sees: the order of the batches tells."""

    def build(self, input_shape):
        self.rows = self.add_weight(
            shape=(4, input_shape[-1]), trainable=False, initializer="zeros"
        )

    def call(self, inputs, training=None):
        outputs = inputs + tf.reduce_mean(self.rows.value, axis=0)
        if training:
            self.rows.assign(inputs[:4])
        return outputs


def source():
    """Returns 20 examples of three classes: three batches, the last one smaller."""
    images = np.random.default_rng(0).integers(0, 256, size=(20, 2, 2, 1))
    return from_arrays(images, np.arange(20) % 3)


def backbone():
    """Returns a network with statistics, random numbers and a memory."""
    return keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(8, "relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            Queue(),
        ]
    )


def compiled(model):
    """Returns a model that has momenta, a schedule and metrics, ready for `fit`."""
    model.build((None, 2, 2, 1))
    model.compile(
        keras.optimizers.SGD(
            keras.optimizers.schedules.CosineDecay(0.1, 6), momentum=0.9
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        run_eagerly=True,
    )
    return model


def plain_model():
    """Returns a Keras classifier."""
    return compiled(
        keras.Sequential([keras.Input((2, 2, 1)), backbone(), keras.layers.Dense(3)])
    )


def elr_model():
    """Returns a model with a memory of every example, and warm-up of one epoch."""
    return compiled(ELRModel(backbone(), 3, num_examples=20, warmup_epochs=1))


def divide_mix_model():
    """Returns a model that looks at all examples as an epoch begins."""
    return compiled(
        DivideMixModel(
            [backbone(), backbone()],
            num_classes=3,
            num_examples=20,
            warmup_epochs=1,
            averaged_epochs=2,
        )
    )


def add_noise(images, targets, seed):
    """Changes a batch by random numbers of its own step."""
    noise = tf.random.stateless_normal(tf.shape(images), seed)
    return tf.cast(images, tf.float32) + 20 * noise, targets


def state(model):
    """Returns all that training has changed."""
    variables = [*model.variables, *model.optimizer.variables]
    return [variable.numpy().tobytes() for variable in variables]


def train(make_model, folder, seed, seconds=0, callbacks=(), request=None):
    """Trains as a trial does, from where the folder is; returns state and history."""
    keras.utils.set_random_seed(seed)
    model, data = make_model(), source()
    checkpoint = Checkpoint(folder / "checkpoint", NUM_STEPS, seconds, request)
    test_batches = evaluation_batches(data, 8)
    position = checkpoint.restore(model, test_batches)
    batches = training_batches(
        data,
        8,
        seed=5,
        carry=("index",) if make_model in (elr_model, divide_mix_model) else (),
        batch_augment=add_noise,
        first_epoch=position.epoch,
        first_step=position.step,
    )
    annotated = evaluation_batches(data, 8, carry=("index",))
    with history_logger(folder / "history.csv", position.epoch) as logger:
        model.fit(
            batches,
            validation_data=test_batches,
            initial_epoch=position.epoch,
            epochs=NUM_EPOCHS,
            steps_per_epoch=NUM_STEPS,
            shuffle=False,
            verbose=0,
            callbacks=[
                *([CoDivide(annotated)] if make_model is divide_mix_model else []),
                *([Look()] if make_model is plain_model else []),
                *callbacks,
                logger,
                checkpoint,
            ],
        )
    return state(model), (folder / "history.csv").read_text()


class Look(keras.callbacks.Callback):
    """Decides something anew as an epoch begins, by the weights of that moment."""

    def on_epoch_begin(self, epoch, logs=None):
        backbone, classifier = self.model.layers
        backbone.layers[-1].rows.assign_add(classifier.kernel[:4, :1] * tf.ones(8))


class Stop(keras.callbacks.Callback):
    """Has a signal arrive at a step, or in the validation after an epoch."""

    def __init__(self, epoch, step=None):
        super().__init__()
        self.at, self.request = (epoch, step), interruption.Request()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch + 1) == self.at:
            self.request.number = signal.SIGTERM

    def on_test_batch_end(self, batch, logs=None):
        if (self.epoch, None) == self.at and batch == 1:
            self.request.number = signal.SIGTERM


def stopped(make_model, folder, *at, seed=0, seconds=1e9):
    """Trains until a signal comes, which is obeyed."""
    stop = Stop(*at)
    with pytest.raises(interruption.Interrupted) as error:
        train(make_model, folder, seed, seconds, [stop], stop.request)
    return error.value


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Trains in one go, once for each model; returns state and history at the end."""

    @functools.cache
    def result(make_model):
        return train(make_model, tmp_path_factory.mktemp("whole"), 0, seconds=1e9)

    return result


def slow(*case):
    """A case that takes what the default tests do not have."""
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("make_model", "at"),
    [
        (plain_model, (0, 3)),
        slow(plain_model, (1, 2)),
        (plain_model, (1, None)),
        *(slow(elr_model, at) for at in ((0, 1), (0, 3), (0, None), (1, 2))),
        *(slow(divide_mix_model, at) for at in ((0, 2), (1, 1), (1, 3), (1, None))),
    ],
)
def test_run_that_stops_within_an_epoch_ends_as_if_it_had_not(
    tmp_path, uninterrupted, make_model, at
):
    error = stopped(make_model, tmp_path, *at)
    step = at[1] or NUM_STEPS
    assert str(error) == f"Ended by SIGTERM. Saved at epoch {at[0] + 1}, step {step}."
    assert error.exit_code == 143
    files = CheckpointFiles(tmp_path / "checkpoint")
    assert files.positions()[0] == Position(at[0], step)
    # Other weights to begin with: all comes from the file.
    assert train(make_model, tmp_path, seed=9) == uninterrupted(make_model)


@pytest.mark.slow
def test_run_that_stops_again_and_again_ends_as_if_it_had_not(tmp_path, uninterrupted):
    for at in ((0, 1), (0, 3), (1, 1), (1, None)):
        stopped(plain_model, tmp_path, *at)
    # The checkpoint after every step changes nothing either.
    assert train(plain_model, tmp_path, 9, seconds=0) == uninterrupted(plain_model)


def saved_positions(folder, monkeypatch, seconds):
    """Returns the positions that training saves, a second going by at each step."""
    times, saved = iter(range(10_000)), []
    save = CheckpointFiles.save

    def noted_save(files, position, arrays):
        saved.append(tuple(position))
        save(files, position, arrays)

    monkeypatch.setattr(CheckpointFiles, "save", noted_save)
    clock = types.SimpleNamespace(monotonic=lambda: next(times))
    monkeypatch.setattr("keras_ncr.experiments.trials.checkpoint.time", clock)
    train(plain_model, folder, 0, seconds)
    return saved


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0)]),
        # Two seconds from the beginning, and then from what was saved last.
        (2, [(0, 2), (1, 0), (1, 2), (2, 0)]),
    ],
)
def test_checkpoints_come_when_time_has_passed_and_at_the_end_of_epochs(
    tmp_path, monkeypatch, seconds, expected
):
    saved = saved_positions(tmp_path, monkeypatch, seconds)
    assert saved == expected


def test_several_workers_save_at_the_end_of_epochs_alone(tmp_path, monkeypatch):
    # What decides is the kind of the strategy; two workers are in another test.
    monkeypatch.setattr(
        tf.distribute, "MultiWorkerMirroredStrategy", type(tf.distribute.get_strategy())
    )
    assert saved_positions(tmp_path, monkeypatch, 0) == [(1, 0), (2, 0)]
    folder = tmp_path / "stopped"
    folder.mkdir()
    error = stopped(plain_model, folder, 0, 2)
    assert str(error).endswith("Saved at epoch 1, step 3.")
    assert CheckpointFiles(folder / "checkpoint").positions()[0] == (1, 0)


@pytest.mark.slow
def test_run_on_two_replicas_goes_on_within_an_epoch(tmp_path, two_replicas):
    def make_model():
        layers = [keras.layers.Dense(8, "relu"), keras.layers.BatchNormalization()]
        model = compiled(
            keras.Sequential(
                [
                    keras.Input((2, 2, 1)),
                    keras.layers.Rescaling(1 / 255),
                    keras.layers.Flatten(),
                    *layers,
                    keras.layers.Dense(3),
                ]
            )
        )
        model.run_eagerly = False
        return model

    with two_replicas.scope():
        whole, history = train(make_model, tmp_path, 0, seconds=1e9)
        folder = tmp_path / "stopped"
        folder.mkdir()
        stopped(make_model, folder, 0, 2)
        resumed, resumed_history = train(make_model, folder, seed=9)
    assert len(history.splitlines()) == len(resumed_history.splitlines()) == 3
    # What replicas have each for itself is kept as their mean or sum.
    for one, other in zip(resumed, whole, strict=True):
        one, other = np.frombuffer(one, "float32"), np.frombuffer(other, "float32")
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    logged, expected = (
        np.loadtxt(text.splitlines()[1:], delimiter=",")
        for text in (resumed_history, history)
    )
    np.testing.assert_allclose(logged, expected, rtol=1e-4, atol=1e-6)


def test_weights_in_half_precision_come_back(tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    try:
        first, second = (
            compiled(keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)]))
            for _ in range(2)
        )
    finally:
        keras.config.set_dtype_policy("float32")
    batches = evaluation_batches(source(), 8)
    checkpoint = Checkpoint(tmp_path, NUM_STEPS)
    checkpoint.restore(first, batches)
    checkpoint.set_model(first)
    checkpoint.save(Position(1, 0), {})
    assert state(first) != state(second)
    assert Checkpoint(tmp_path, NUM_STEPS).restore(second, batches) == (1, 0)
    assert state(first) == state(second)


def test_worker_that_is_not_the_first_saves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_ncr.distribution.workers.is_chief", lambda: False)
    train(plain_model, tmp_path, 0)
    assert not (tmp_path / "checkpoint").exists()


def test_workers_with_different_checkpoints_are_refused(tmp_path, monkeypatch):
    stopped(plain_model, tmp_path, 0, 2)
    monkeypatch.setattr(
        "keras_ncr.distribution.workers.are_alike", lambda *numbers: False
    )
    model = plain_model()
    before = state(model)
    checkpoint = Checkpoint(tmp_path / "checkpoint", NUM_STEPS)
    with pytest.raises(ValueError, match=r"one folder that all.*one \(0, 2\)"):
        checkpoint.restore(model, evaluation_batches(source(), 8))
    assert state(model)[: len(before)] == before


def test_steps_that_are_done_are_counted_and_take_no_data(tmp_path):
    stopped(plain_model, tmp_path, 0, 2)
    logged = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            logged.append((batch, int(self.model.optimizer.iterations), logs["loss"]))

    train(plain_model, tmp_path, 9, callbacks=[Count()])
    assert [batch for batch, _, _ in logged] == [0, 1, 2, 0, 1, 2]
    assert [done for _, done, _ in logged] == [2, 2, 3, 4, 5, 6]
    assert logged[0][2] == logged[1][2] != logged[2][2]


def test_checkpoint_of_another_model_is_refused(tmp_path):
    stopped(plain_model, tmp_path, 0, 2)
    checkpoint = Checkpoint(tmp_path / "checkpoint", NUM_STEPS)
    wider = keras.Sequential([backbone(), keras.layers.Dense(4)])
    for other in (compiled(wider), elr_model()):
        before = [variable.numpy().tobytes() for variable in other.variables]
        with pytest.raises(ValueError, match="000000-step-000002.npz must be a check"):
            checkpoint.restore(other, evaluation_batches(source(), 8))
        assert [variable.numpy().tobytes() for variable in other.variables] == before


# Files


ARRAYS = {"state-0": np.arange(40.0).reshape(5, 8), "state-1": np.arange(3)}


@pytest.fixture
def files(tmp_path):
    """Two checkpoints, of which the newer one has the arrays above."""
    files = CheckpointFiles(tmp_path)
    files.save(Position(0, 7), {name: array + 1 for name, array in ARRAYS.items()})
    files.save(Position(1, 0), ARRAYS)
    return files


def same(found, expected):
    """Whether two dicts of arrays are the same, bit for bit."""
    return list(found) == list(expected) and all(
        found[name].dtype == expected[name].dtype
        and np.array_equal(found[name], expected[name])
        for name in expected
    )


def test_newest_is_loaded(files):
    position, arrays = files.load()
    assert position == Position(1, 0)
    assert same(arrays, ARRAYS)


def test_two_are_kept(files):
    (files.folder / ".writing-epoch-000001-step-000002.npz").write_bytes(b"half")
    for step in (1, 2):
        files.save(Position(1, step), ARRAYS)
    assert sorted(path.name for path in files.folder.iterdir()) == [
        "epoch-000001-step-000001.npz",
        "epoch-000001-step-000002.npz",
    ]
    assert files.positions() == [(1, 2), (1, 1)]


def test_saved_twice_it_is_one_and_the_one_before_stays(files):
    for _ in range(2):
        files.save(Position(1, 1), ARRAYS)
        files.save(Position(1, 2), ARRAYS)
        files.save(Position(1, 2), ARRAYS)
    assert files.positions() == [(1, 2), (1, 1)]


def test_what_cannot_be_removed_is_no_reason_to_end(files):
    files.path(Position(0, 1)).mkdir()
    files.save(Position(1, 1), ARRAYS)
    assert (1, 1) in files.positions()


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.6, 0.9, 0.999])
def test_torn_file_is_named_and_the_one_before_is_used(files, share):
    path = files.path(Position(1, 0))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.warns(UserWarning, match=f"checkpoint {path} is not whole and is pass"):
        position, arrays = files.load()
    assert position == Position(0, 7)
    assert same(arrays, {name: array + 1 for name, array in ARRAYS.items()})
    # What comes next takes its place, though its name is older.
    files.save(Position(0, 8), ARRAYS)
    assert files.positions() == [(0, 8), (0, 7)]


def test_file_under_another_name_is_passed_over(files):
    files.path(Position(0, 7)).rename(files.path(Position(3, 0)))
    with pytest.warns(UserWarning, match="is not whole .*It is of epoch 0, step 7"):
        position, arrays = files.load()
    assert position == Position(1, 0)
    assert same(arrays, ARRAYS)


OTHERS = ("my-epoch-1-step-2-notes.npz", "epoch-1-step-2.npz", "notes.txt")


def test_other_files_are_left_alone(files):
    for name in OTHERS:
        (files.folder / name).write_text("mine")
    files.save(Position(1, 1), ARRAYS)
    files.clear()
    assert sorted(path.name for path in files.folder.iterdir()) == sorted(OTHERS)


@pytest.mark.parametrize("stride", [17, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:The checkpoint .* is not whole:UserWarning")
def test_no_flipped_byte_goes_unnoticed(files, stride):
    path = files.path(Position(1, 0))
    whole = path.read_bytes()
    num_found = 0
    for place in range(0, len(whole), stride):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        position, arrays = files.load()
        # Some bytes do not matter, such as those of the time of writing.
        assert position == Position(0, 7) or same(arrays, ARRAYS)
        num_found += position == Position(0, 7)
    assert num_found > 0.5 * len(whole) / stride


@pytest.mark.filterwarnings("ignore:The checkpoint .* is not whole:UserWarning")
def test_trial_starts_anew_if_no_file_is_whole(tmp_path, uninterrupted):
    stopped(plain_model, tmp_path, 1, 2)
    files = CheckpointFiles(tmp_path / "checkpoint")
    assert files.positions() == [(1, 2), (1, 0)]
    for position in files.positions():
        files.path(position).write_bytes(b"PK")
    with pytest.warns(UserWarning, match="is whole. The trial starts anew"):
        assert train(plain_model, tmp_path, seed=0) == uninterrupted(plain_model)
    assert files.positions() == [(2, 0), (1, 3)]


@pytest.mark.filterwarnings("ignore:The checkpoint .* is not whole:UserWarning")
def test_run_goes_on_from_the_checkpoint_before_a_torn_one(tmp_path, uninterrupted):
    stopped(plain_model, tmp_path, 1, 1, seconds=0)
    files = CheckpointFiles(tmp_path / "checkpoint")
    assert files.positions() == [(1, 1), (1, 0)]
    path = files.path(Position(1, 1))
    path.write_bytes(path.read_bytes()[:-1000])
    assert train(plain_model, tmp_path, seed=9) == uninterrupted(plain_model)


def test_without_a_file_nothing_is_done_yet(tmp_path):
    files = CheckpointFiles(tmp_path / "none")
    assert files.load() is None
    files.clear()  # There is nothing to remove.
    model = plain_model()
    before = [variable.numpy().tobytes() for variable in model.variables]
    checkpoint = Checkpoint(tmp_path / "none", NUM_STEPS)
    assert checkpoint.restore(model, ()) == Position(0, 0)
    assert [variable.numpy().tobytes() for variable in model.variables] == before


def test_cleared_files_leave_nothing(files):
    (files.folder / ".writing-epoch-000002-step-000000.npz").touch()
    files.clear()
    assert not files.folder.exists()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), NotWritten),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_file_that_cannot_be_written_leaves_the_others(
    files, monkeypatch, error, raised
):
    before = {path: path.read_bytes() for path in files.folder.iterdir()}

    def half(path, **arrays):
        path.write_bytes(b"PK half")
        raise error

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(raised) as caught:
        files.save(Position(1, 1), ARRAYS)
    assert {path: path.read_bytes() for path in files.folder.iterdir()} == before
    if raised is NotWritten:
        assert str(caught.value).startswith(
            f"{files.path(Position(1, 1))} could not be written: No space left on "
            "device. What was saved before is whole."
        )


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    files = CheckpointFiles(tmp_path / "file" / "checkpoint")
    with pytest.raises(NotWritten, match="Not a directory"):
        files.save(Position(1, 0), ARRAYS)
