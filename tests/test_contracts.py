"""What holds for the package as a whole: Keras' contracts, imports, budgets."""

import ast
import configparser
import graphlib
import importlib
import importlib.metadata
import inspect
import json
import os
import pathlib
import pkgutil
import re
import subprocess
import sys

import keras
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import keras_ncr

REPOSITORY = pathlib.Path(__file__).parents[1]
# One value for each argument that a public Keras class cannot do without.
REQUIRED_ARGUMENTS = {
    "backbone": lambda: keras.Sequential([keras.layers.Dense(4)], name="backbone"),
    "backbones": lambda: [
        keras.Sequential([keras.layers.Dense(4)], name=name)
        for name in ("first", "second")
    ],
    "encoder": lambda: keras.Sequential([keras.layers.Dense(4)], name="encoder"),
    "forget_rate": lambda: 0.4,
    "num_classes": lambda: 3,
    "preprocessor": lambda: keras.layers.Identity(name="preprocessor"),
    "share": lambda: 0.5,
    "size": lambda: 4,
    "width": lambda: 2,
}


def sources(*folders):
    """Returns the Python files below the folders of the repository, by their path."""
    files = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    return sorted(str(path.relative_to(REPOSITORY)) for path in files)


def parse(path):
    return ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))


def own_classes():
    """Returns every public class of the package by name."""
    modules = pkgutil.walk_packages(keras_ncr.__path__, "keras_ncr.")
    return {
        name: value
        for module in [importlib.import_module(m.name) for m in modules]
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }


CLASSES = own_classes()
# Keras saves what has a config: layers, models, losses, metrics, schedules.
SERIALIZABLE = [name for name, value in CLASSES.items() if hasattr(value, "get_config")]


def make(cls):
    """Returns an instance of the class with as few arguments as it takes."""
    if cls is keras_ncr.distribution.MultiWorkerClassifier:
        # Keras makes a class functional for good with the first model of it that is.
        inputs = keras.Input((2,))
        return cls(inputs, keras.layers.Dense(3)(inputs))
    parameters = inspect.signature(cls).parameters.values()
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    return cls(**{name: REQUIRED_ARGUMENTS[name]() for name in needed})


def run_python(code, **environment):
    """Runs code in a fresh interpreter and returns the completed process."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )


# Keras' contracts


def test_there_are_classes_to_hold_to_the_contracts():
    assert {"NCRModel", "NeighborConsistencyLoss"} <= set(SERIALIZABLE)


def test_classes_are_registered_under_the_name_of_the_package():
    for name in SERIALIZABLE:
        assert keras.saving.get_registered_name(CLASSES[name]) == f"keras_ncr>{name}"
        assert keras.saving.get_registered_object(f"keras_ncr>{name}") is CLASSES[name]


def test_configs_hold_every_argument_and_survive_json():
    for name in SERIALIZABLE:
        original = make(CLASSES[name])
        parameters = inspect.signature(CLASSES[name]).parameters.values()
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        names = {p.name for p in parameters if p.kind not in variadic}
        assert names <= set(original.get_config()), name
        config = json.dumps(keras.saving.serialize_keras_object(original))
        # Keras empties the dict of a functional model that it reads.
        copy = keras.saving.deserialize_keras_object(json.loads(config))
        assert type(copy) is type(original)
        copied = json.dumps(keras.saving.serialize_keras_object(copy))
        assert json.loads(copied) == json.loads(config), name


# Imports


def test_backend_that_is_not_installed_is_refused_with_the_setting_to_change():
    # It is Keras whose import fails, and its error names no remedy.
    process = run_python("import keras_ncr", KERAS_BACKEND="jax")
    assert process.returncode == 1
    last_line = process.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ImportError: ")
    assert "KERAS_BACKEND=tensorflow" in last_line
    assert "jax" in last_line


def test_other_backend_that_is_installed_is_refused_too(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    # The check comes first: a reload that fails leaves the package as it was.
    with pytest.raises(ImportError, match="backend='jax'.*KERAS_BACKEND=tensorflow"):
        importlib.reload(keras_ncr)


def test_import_and_training_bring_no_heavy_library_beyond_what_keras_brings():
    process = run_python(
        "import sys, keras, numpy as np\n"
        "x, y = np.zeros((8, 4), 'float32'), np.zeros(8, int)\n"
        "loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)\n"
        "def train(model):\n"
        "    model.compile('sgd', loss, run_eagerly=True)\n"
        "    model.fit(x, y, verbose=0)\n"
        "train(keras.Sequential([keras.layers.Dense(3)]))\n"
        "before = set(sys.modules)\n"
        "import keras_ncr\n"
        "print(*sorted(set(sys.modules) - before))\n"
        "train(keras_ncr.NCRModel(keras.Sequential([keras.layers.Dense(4)]), 3))\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    assert process.returncode == 0, process.stderr
    after_import, after_training = process.stdout.splitlines()
    heavy = {"PIL", "matplotlib", "ml_collections", "pandas", "pyarrow"}
    heavy |= {"scipy", "sklearn", "tensorflow_datasets"}
    for line in (after_import, after_training):
        added = {name.split(".")[0] for name in line.split()}
        assert "keras_ncr" in added
        assert not heavy & added


def imported_names(tree):
    """Returns the full names of what the statements below a node import."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


# Classes of TensorFlow Datasets, which nothing imports at the top of a module.
BUILDERS = "keras_ncr/datasets/builders/"


def test_modules_import_only_light_libraries_at_their_top():
    light = {"absl", "keras", "keras_ncr", "ml_collections", "numpy", "tensorflow"}
    light |= set(sys.stdlib_module_names)
    heavy = {}
    for path in sources("keras_ncr"):
        tree = parse(path)
        statements = [
            n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)
        ]
        names = {name for n in statements for name in imported_names(n)}
        allowed = light | (
            {"tensorflow_datasets"} if path.startswith(BUILDERS) else set()
        )
        heavy[path] = {name.split(".")[0] for name in names} - allowed
    assert not {path: names for path, names in heavy.items() if names}


# From the lowest up: each imports what stands before it, and nothing else of ours.
ROOMS = (
    *("checks", "files", "plots", "distribution", "noise", "backbones", "datasets"),
    *("pipelines", "losses", "models", "features", "review", "audit", "experiments"),
    "cli",
)


def test_modules_import_each_other_in_one_direction():
    paths = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for path in sources("keras_ncr")
        if path not in ("keras_ncr/__init__.py", "keras_ncr/__main__.py")
    }
    graph = {}
    for module, path in paths.items():
        # `keras_ncr.losses.NeighborConsistencyLoss` is in module `keras_ncr.losses`.
        imported = {
            name if name in paths else name.rpartition(".")[0]
            for name in imported_names(parse(path))
        }
        graph[module] = imported & set(paths)
    list(graphlib.TopologicalSorter(graph).static_order())  # or a CycleError
    upward = [
        (module, other)
        for module, imported in graph.items()
        for other in imported
        if ROOMS.index(module.split(".")[1]) < ROOMS.index(other.split(".")[1])
    ]
    assert not upward


def test_the_top_of_the_package_holds_the_rooms_alone():
    names = {path.name for path in (REPOSITORY / "keras_ncr").iterdir()}
    # configs is a link to the folder of the checkout, so that the wheel has them.
    files = {"__init__.py", "__main__.py", "py.typed", "configs", "__pycache__"}
    assert {name.removesuffix(".py") for name in names - files} <= set(ROOMS)


# Packaging


def requirements():
    """Returns what setup.cfg declares: run-time requirements, and each extra's."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")

    def parsed(text):
        lines = [line for line in text.split("\n") if line and line[0] != "#"]
        return {canonicalize_name(r.name): r for r in map(Requirement, lines)}

    run_time = parsed(config["options"]["install_requires"])
    extras = config["options.extras_require"].items()
    return run_time, {name: parsed(text) for name, text in extras}


def test_every_imported_library_is_declared():
    imported = {
        name.split(".")[0]
        for path in sources("keras_ncr")
        for name in imported_names(parse(path))
    }
    third_party = imported - set(sys.stdlib_module_names) - {"keras_ncr"}
    provided_by = importlib.metadata.packages_distributions()
    run_time, extras = requirements()
    declared = {*run_time, *extras["hub"]}  # KerasHub is imported where it is used.
    undeclared = {
        name
        for name in third_party
        if not {canonicalize_name(d) for d in provided_by.get(name, [])} & declared
    }
    assert not undeclared


def test_pins_meet_the_declared_bounds():
    text = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    pins = dict(line.split("==") for line in lines if line)
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    run_time, extras = requirements()
    for declared in (run_time, *extras.values()):
        for name, requirement in declared.items():
            assert requirement.specifier.contains(pins[name]), requirement


# Budgets


def test_files_leave_nothing_to_be_done():
    marks = ["TO" + "DO", "FIX" + "ME", "type: " + "ignore", "pytest.mark." + "skip"]
    found = []
    for path in sources("keras_ncr", "configs", "benchmarks", "tests"):
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        found += [(path, mark) for mark in marks if mark in text]
        # A silenced rule states which, and why.
        found += [
            (path, line)
            for line in text.splitlines()
            if "# no" + "qa" in line and not re.search(r"noqa: [A-Z]+\d+ +\S+", line)
        ]
    assert not found


def test_modules_are_at_most_400_lines_and_functions_60():
    too_long = []
    for path in sources("keras_ncr", "configs", "benchmarks"):
        lines = (REPOSITORY / path).read_text(encoding="utf-8").count("\n")
        too_long += [path] if lines > 400 else []
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                if body and node.end_lineno - body[0].lineno + 1 > 60:
                    too_long.append((path, node.name))
    assert not too_long


def test_public_things_have_docstrings():
    undocumented = []
    for path in sources("keras_ncr"):
        tree = parse(path)
        public = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
        ]
        missing = [node for node in [tree, *public] if not ast.get_docstring(node)]
        undocumented += [(path, getattr(node, "name", "")) for node in missing]
    for name, cls in CLASSES.items():
        # A base class of Keras or Python documents the methods that it has too.
        inherited = {attribute for base in cls.__mro__[1:] for attribute in vars(base)}
        undocumented += [
            (name, attribute)
            for attribute, value in vars(cls).items()
            if (inspect.isfunction(value) or isinstance(value, property | classmethod))
            and not attribute.startswith("_")
            and attribute not in inherited
            and not value.__doc__
        ]
    assert not undocumented


def test_internal_docstrings_are_short():
    long = []
    for path in sources("keras_ncr"):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef) and re.match("_[^_]", node.name):
                lines = (ast.get_docstring(node) or "").count("\n") + 1
                long += [(path, node.name)] if lines > 4 else []
    assert not long
