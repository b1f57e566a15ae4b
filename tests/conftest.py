"""Spares the process that only hands out tests, of `pytest -n 2`, TensorFlow."""


def pytest_configure(config):
    """Imports what every test starts from, where tests run."""
    if config.getoption("numprocesses", None) is None:
        config.pluginmanager.import_plugin("every_test")
