"""The documentation holds: its examples run, and it covers what is public."""

import ast
import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_ncr
from keras_ncr.models import ELRModel

REPOSITORY = pathlib.Path(__file__).parents[1]
NAMESPACE = {"np": np, "tf": tf, "keras": keras, "keras_ncr": keras_ncr}
MODULES = sorted(
    ["keras_ncr"]
    + [m.name for m in pkgutil.walk_packages(keras_ncr.__path__, "keras_ncr.")]
)


def room_of(name):
    """Returns the room of a module, or the module itself if that is beside them."""
    return ".".join(name.split(".")[:2])


def public_symbols():
    """Returns what a user gets from `keras_ncr.X` and `keras_ncr.module.X`.

    That is what an `__all__` lists, and every class of a module that one lists.
    """
    exported = [getattr(keras_ncr, name) for name in keras_ncr.__all__]
    for module in filter(inspect.ismodule, list(exported)):
        exported += [getattr(module, name) for name in getattr(module, "__all__", [])]
        exported += [
            value
            for name, value in vars(module).items()
            if inspect.isclass(value)
            and value.__module__ == module.__name__
            and not name.startswith("_")
        ]
    # Constants have no docstring.
    return {f"{v.__module__}.{v.__name__}": v for v in exported if callable(v)}


SYMBOLS = public_symbols()


def parameters_of(symbol):
    """Returns the names of the parameters that a user passes by name or position."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(symbol).parameters.values()
    return [p.name for p in parameters if p.kind not in variadic]


@pytest.fixture
def two_epochs(monkeypatch):
    """Ends trainings on features, of which examples show no more than shapes."""
    fit = ELRModel.fit

    def short(model, *args, epochs=1, **kwargs):
        return fit(model, *args, epochs=min(epochs, 2), **kwargs)

    monkeypatch.setattr(ELRModel, "fit", short)


def doctests_of(name):
    """Returns the doctests of a module."""
    # Only these names: an example must run as it stands, pasted outside its module.
    module = importlib.import_module(name)
    return doctest.DocTestFinder().find(module, name, globs=NAMESPACE)


@pytest.mark.usefixtures("eager_functions", "two_epochs")
@pytest.mark.parametrize("room", sorted({room_of(name) for name in MODULES}))
def test_doctests_pass(room, tmp_path, monkeypatch):
    report = []
    for name in filter(lambda name: room_of(name) == room, MODULES):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        keras.utils.set_random_seed(0)
        runner = doctest.DocTestRunner(
            optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
        )
        for test in doctests_of(name):
            runner.run(test, out=report.append)
    assert not report, "".join(report)


def test_there_are_doctests():
    tests = [test for name in MODULES for test in doctests_of(name)]
    assert sum(len(test.examples) for test in tests) > 150


def test_docstrings_describe_every_argument_and_have_an_example():
    missing = []
    for name, symbol in SYMBOLS.items():
        documentation = inspect.getdoc(symbol) or ""
        parameters = parameters_of(symbol)
        missing += [
            (name, parameter)
            for parameter in parameters
            if not re.search(
                rf"^ +(\w+, )*{parameter}\b.*:", documentation, re.MULTILINE
            )
        ]
        if parameters and "Args:" not in documentation:
            missing.append((name, "Args:"))
        if ">>> " not in documentation:
            missing.append((name, "an example"))
    assert not missing


def python_blocks(path):
    """Returns the fenced Python blocks of a Markdown file, each on its own lines."""
    text = path.read_text(encoding="utf-8")
    fenced = re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    # The empty lines before make a traceback point at the line of the file.
    return ["\n" * text.count("\n", 0, m.start(1)) + m.group(1) for m in fenced]


def run_blocks(blocks, folder, monkeypatch):
    """Runs the blocks of README.md one after the other, as one program."""
    monkeypatch.chdir(folder)
    namespace = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)


@pytest.mark.usefixtures("eager_functions", "two_epochs")
def test_readme_runs(tmp_path, monkeypatch):
    program = "".join(python_blocks(REPOSITORY / "README.md"))
    # The slow test has all folds and epochs.
    for long, short in [
        ("epochs=50", "epochs=1"),
        ("verbose=0)\nc", "num_folds=2, num_draws=1)\nc"),
    ]:
        assert program.count(long) == 1
        program = program.replace(long, short)
    run_blocks([program], tmp_path, monkeypatch)


@pytest.mark.slow
def test_readme_runs_as_written_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    run_blocks(python_blocks(REPOSITORY / "README.md"), tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    line = r"(\d+) of 1437 called wrong, (\d+)% of them rightly"
    said, found = (re.search(line, words) for words in (text, printed))
    for number in (1, 2):
        assert int(found[number]) == pytest.approx(int(said[number]), rel=0.05)
    accuracy = re.search(r"prints (0\.\d+) or so", text)[1]
    last = float(printed.strip().splitlines()[-1])  # After the progress bar.
    assert last == pytest.approx(float(accuracy), abs=0.03)


def test_python_blocks_keep_order_and_line_numbers(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(
        "Text\n```python\na = 1\n```\n```sh\nls\n```\n```python\na / 0\n```\n"
    )
    first, second = python_blocks(path)
    assert first == "\n\na = 1\n"
    assert ast.parse(second).body[0].lineno == 9


def test_readme_and_guide_stay_short():
    def lines(name):
        return len((REPOSITORY / name).read_text(encoding="utf-8").splitlines())

    assert lines("README.md") <= 150
    assert lines("CONTRIBUTING.md") < 60


def test_guide_maps_every_module():
    guide = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = {path.stem for path in (REPOSITORY / "keras_ncr").glob("*.py")}
    assert files - {"__init__"} <= set(re.findall(r"\w+", guide))


def test_guide_names_only_targets_that_exist():
    guide = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)", guide))
    assert named
    assert named <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
