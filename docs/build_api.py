"""Builds the documentation of the API from the docstrings: `make docs`.

pdoc does it, with the templates in docs/api. Nothing is built if something public has
no docstring.
"""

import importlib.util
import inspect
import pathlib
import re
import shutil
import sys
import warnings

import pdoc

import keras_ncr

REPOSITORY = pathlib.Path(__file__).parents[1]
# Importing the package does not bring these, but programs use them.
MODULES_BESIDE = ("experiments.config", "experiments.run")
# Keras' section, a list like `Args`.
pdoc.docstrings.GOOGLE_LIST_SECTIONS.append("Call arguments")


def public_modules(package=keras_ncr, beside=MODULES_BESIDE):
    """Returns the names of the modules that have a page.

    A name in `__all__` may stand for a function and a module at once: `audit` does.
    """
    names = [f"{package.__name__}.{name}" for name in [*package.__all__, *beside]]
    modules = [name for name in dict.fromkeys(names) if importlib.util.find_spec(name)]
    return [package.__name__, *sorted(modules)]


def undocumented(module_names):
    """Returns the names of the public things that have no docstring."""
    missing = []
    for module_name in module_names:
        module = importlib.import_module(module_name)
        documented = {module_name: module}
        for name, value in _members(module).items():
            documented[f"{module_name}.{name}"] = value
            if inspect.isclass(value):
                methods = _own_methods(value)
                documented |= {f"{module_name}.{name}.{k}": methods[k] for k in methods}
        missing += [name for name, value in documented.items() if not value.__doc__]
    return missing


def _members(module):
    """Returns the public functions and classes of a module by their name in it."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == module.__name__
            and not name.startswith("_")
        ]
    values = {name: getattr(module, name) for name in names}
    return {
        k: v for k, v in values.items() if inspect.isclass(v) or inspect.isroutine(v)
    }


def _own_methods(cls):
    """Returns the public methods and properties that no base class has described."""
    inherited = {name for base in cls.__mro__[1:] for name in vars(base)}
    return {
        name: value
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and name not in inherited
        and (
            inspect.isfunction(value)
            or isinstance(value, property | classmethod | staticmethod)
        )
    }


def with_headings(docstring):
    """Returns a docstring with headings where pdoc would see none, or quote a text."""
    return re.sub(r"(?m)^(Example|Formula):$", r"\n###### \1:\n", docstring)


def first_sentence(docstring):
    """Returns the first paragraph of a docstring, which is a sentence."""
    return docstring.partition("\n\n")[0]


def host_name(name):
    """Returns the name by which users know a class of Keras, `keras.Model`."""
    parts = name.split(".")
    if parts[:2] != ["keras", "src"]:
        return name
    return "keras.Model" if parts[-1] == "Model" else f"keras.{parts[2]}.{parts[-1]}"


def readme_parts(text):
    """Returns the README up to its second heading, and the rest, without local links.

    Its pictures are copied; its other files are not part of the documentation.
    """
    text = re.sub(r"(?<!!)\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", text)
    beginning, first, rest = re.split(r"(?m)^(?=## )", text, maxsplit=2)
    return beginning + first, rest


def build(folder, module_names):
    """Writes the pages of the modules, and a start page, into an empty folder."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    pdoc.render.configure(
        docformat="google", template_directory=REPOSITORY / "docs" / "api"
    )
    environment = pdoc.render.env
    environment.filters["with_headings"] = with_headings
    environment.filters["first_sentence"] = first_sentence
    environment.filters["host_name"] = host_name
    environment.globals["beginning"], environment.globals["rest"] = readme_parts(readme)
    package, *modules = module_names
    with warnings.catch_warnings(action="error"):
        # A package brings its modules with it; "!" takes them out again.
        pdoc.pdoc(package, rf"!{package}\.", *modules, output_directory=folder)
    for picture in re.findall(r"!\[[^]]*\]\((?!https?:)([^)]*)\)", readme):
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / picture, folder / picture)


def main():
    """Builds into build/docs, or says what lacks a docstring."""
    module_names = public_modules()
    if missing := undocumented(module_names):
        sys.exit("Public, and without a docstring:\n  " + "\n  ".join(missing))
    folder = REPOSITORY / "build" / "docs"
    shutil.rmtree(folder, ignore_errors=True)
    build(folder, module_names)
    print(f"Open {folder / 'index.html'}")


if __name__ == "__main__":
    main()
