"""What every test starts from: two CPU devices, one seed, float32."""

import gc
import os
import sys
import warnings

import keras
import pytest
import tensorflow as tf
from absl.testing import flagsaver

from keras_ncr.cli.command_line import parse_flags

# Two logical devices, so that tests can distribute over ["CPU:0", "CPU:1"]. TensorFlow
# takes them only before its first operation. All else runs on the first, as fast as
# without the second.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)


# Files of tests need not outlive a power failure, for which a disk takes its time.
os.fsync = lambda descriptor: None


def pytest_collection_finish():
    """Spares the garbage collector what imports have made, and lets it look seldom.

    Looking at the young alone, it makes nothing old that the end of a test is to free.
    """
    gc.freeze()
    gc.set_threshold(10_000, 1_000)


@pytest.fixture(autouse=True)
def fresh_global_state():
    """Keeps what one test sets for the whole process, and leaves, from the next."""
    keras.utils.set_random_seed(0)
    yield
    # A data iterator that a failed `fit` leaves behind waits, when it is freed, for as
    # long as it was kept, up to a minute: none may become old and stay.
    gc.collect(1)
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def eager_functions():
    """Spares tests of a few steps the compiling, which takes longer than they do."""
    tf.config.run_functions_eagerly(True)
    with warnings.catch_warnings():
        # TensorFlow warns that pipelines are compiled all the same.
        warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run")
        yield


@pytest.fixture
def run_command(monkeypatch, capsys):
    """Runs a command's module here, with its flags put back; returns what it prints."""

    def run(module, *arguments):
        argv = [module.__name__, *arguments]
        monkeypatch.setattr(sys, "argv", argv)  # Where ml_collections looks.
        with flagsaver.flagsaver():
            parse_flags(argv)
            module.main()
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="session")
def two_replicas():
    """One strategy for all tests: TensorFlow mixes up the collectives of several."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
