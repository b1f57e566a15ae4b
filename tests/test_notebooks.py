"""The notebooks as they are kept: outputs, pictures, and no trace of a machine.

That they run is what `make test-notebooks` checks.
"""

import importlib.util
import pathlib
import re
import subprocess
import sys

import nbformat
import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
# A user's folder, a temporary one, or a checkout's; not the `/` of a URL.
MACHINE_PATH = re.compile(
    r"(?<![\w:/.])/(home|root|tmp|work|usr|Users|opt|mnt|var)/|site-packages"
)


def path_of(name):
    return FOLDER / f"{name}.ipynb"


def read(name):
    return nbformat.read(path_of(name), as_version=4)


def code_cells(name):
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def outputs_of(name):
    return [output for cell in code_cells(name) for output in cell.outputs]


def test_notebooks_are_small_valid_and_those_of_the_readme():
    assert len(NAMES) >= 5
    for name in NAMES:
        nbformat.validate(read(name))
        assert path_of(name).stat().st_size < 400_000, name


def test_first_cells_say_what_the_notebook_shows_and_how_long_it_takes():
    for name in NAMES:
        first = read(name).cells[0]
        assert first.cell_type == "markdown", name
        assert first.source.startswith("# "), name
        takes = r"takes (about )?(half a|a|\d+) (minute|second)s?"
        assert re.search(takes, first.source), name


def test_outputs_are_those_of_one_run_without_errors():
    for name in NAMES:
        counts = [cell.execution_count for cell in code_cells(name)]
        assert counts == list(range(1, len(counts) + 1)), name
        outputs = outputs_of(name)
        assert any("image/png" in output.get("data", {}) for output in outputs), name
        assert any(output.get("name") == "stdout" for output in outputs), name
        assert all(output.output_type != "error" for output in outputs), name
        assert all(output.get("name") != "stderr" for output in outputs), name


def test_nothing_tells_of_the_machine():
    for name in NAMES:
        notebook = read(name)
        texts = [cell.source for cell in notebook.cells]
        for output in outputs_of(name):
            texts.append(str(output.get("text", "")))
            # A picture is base64, which may spell anything.
            kinds = [
                kind for kind in output.get("data", {}) if kind.startswith("text/")
            ]
            texts += [str(output.data[kind]) for kind in kinds]
        assert [text for text in texts if MACHINE_PATH.search(text)] == [], name
        assert notebook.metadata.kernelspec.name == "python3"
        assert "version" not in notebook.metadata.language_info


@pytest.mark.parametrize(
    "text",
    [
        "/home/ann/x",
        "wrote '/tmp/abc/y'",
        "File /usr/lib/x",
        "lib/python3/site-packages/keras",
    ],
)
def test_a_path_of_a_machine_is_recognized(text):
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize(
    "text", ["https://example.org/tmp/x", "/device:CPU:0", "runs/tmp/x", "1/2"]
)
def test_other_slashes_are_not(text):
    assert not MACHINE_PATH.search(text)


@pytest.mark.parametrize("command", [["format", "--check"], ["check"]])
def test_code_is_formatted_and_linted(command):
    ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", str(FOLDER)]
    result = subprocess.run(ruff, capture_output=True, text=True, cwd=FOLDER.parent)
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_cell_is_empty_unfinished_or_an_installation():
    for name in NAMES:
        for cell in read(name).cells:
            assert cell.source.strip(), name
            assert not re.search("TO" + "DO|FIX" + "ME|!pip", cell.source), name


@pytest.fixture
def execute(monkeypatch):
    """The command, as a module, with the environment put back after it."""
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("JUPYTER_PREFER_ENV_PATH", "KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, "")  # So that it is put back, whatever it was.
    monkeypatch.setenv("MPLBACKEND", "Agg")
    return module


def write_notebook(path, *sources):
    """Writes a notebook of code cells, as another machine would have left it."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    metadata = {"language_info": {"name": "python", "version": "3.1"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


def test_execute_keeps_what_is_printed_but_not_the_log(execute, tmp_path, capsys):
    path = tmp_path / "one.ipynb"
    write_notebook(
        path,
        "import os, sys\nprint(len(os.listdir()))\nprint('a log', file=sys.stderr)",
        "print(os.environ['MPLBACKEND'])",
    )
    execute.main(["--in-place", str(path)])
    assert re.fullmatch(r"one\.ipynb \.\.\. \d+ s\n", capsys.readouterr().out)
    notebook = nbformat.read(path, as_version=4)
    printed = [[output.text for output in cell.outputs] for cell in notebook.cells]
    # The folder is empty, and pictures are drawn as in a notebook.
    assert printed == [["0\n"], ["module://matplotlib_inline.backend_inline\n"]]
    assert notebook.metadata.language_info == {"name": "python"}
    assert all("execution" not in cell.metadata for cell in notebook.cells)


def test_execute_fails_with_the_cell_and_changes_no_file(execute, tmp_path, capsys):
    path = tmp_path / "one.ipynb"
    write_notebook(path, "print(1)", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(SystemExit, match=r"^Failed: one\.ipynb$"):
        execute.main(["--in-place", str(path)])
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_execute_runs_the_others_before_it_fails(execute, tmp_path, capsys):
    bad, good = tmp_path / "bad.ipynb", tmp_path / "good.ipynb"
    write_notebook(bad, "1 / 0")
    write_notebook(good, "1")
    with pytest.raises(SystemExit, match=r"^Failed: bad\.ipynb$"):
        execute.main([str(bad), str(good)])
    assert re.search(
        r"^good\.ipynb \.\.\. \d+ s$", capsys.readouterr().out, re.MULTILINE
    )


@pytest.mark.slow
def test_execute_stops_what_takes_too_long(execute, tmp_path, capsys):
    path = tmp_path / "one.ipynb"
    write_notebook(path, "x = 1", "import time\ntime.sleep(60)")
    with pytest.raises(SystemExit, match="Failed: one"):
        execute.main(["--timeout", "1", str(path)])
    assert "1 second" in capsys.readouterr().out
