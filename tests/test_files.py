"""Tests of files.py: whole files and folders, or the old ones."""

import errno
import json
import os
import resource

import keras
import pytest

from keras_ncr.files import (
    NotWritten,
    as_cell,
    check_no_links,
    from_cell,
    replacing,
    replacing_folder,
    write_json,
)


def contents(folder):
    """Returns every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_interrupted_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("{ half")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_file_that_cannot_be_written_is_named_and_the_old_one_stays(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(NotWritten) as error:
        with replacing(path) as temporary:
            temporary.write_text("{ half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert str(error.value) == (
        f"{path} could not be written: No space left on device. What was saved before "
        "is whole. Make room or see to it that the folder can be written to; the same "
        "command then goes on."
    )
    assert error.value.errno == errno.ENOSPC
    assert contents(tmp_path) == {"results.json": b'{\n  "a": 1\n}\n'}


def test_file_is_on_the_disk_before_it_takes_the_place_of_another(
    tmp_path, monkeypatch
):
    done = []
    sync, replace = os.fsync, os.replace

    def noted_sync(descriptor):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def noted_replace(source, target):
        done.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_json(tmp_path / "results.json", {})
    assert done == [".writing-results.json", "replace", tmp_path.name]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_folder_that_knows_no_sync_is_no_reason_to_stop(tmp_path, monkeypatch, number):
    sync = os.fsync

    def refused_for_folders(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refused_for_folders)
    if number == errno.EINVAL:
        write_json(tmp_path / "results.json", {"a": 1})
        assert json.loads((tmp_path / "results.json").read_text()) == {"a": 1}
        return
    with pytest.raises(NotWritten, match="Input/output error"):
        write_json(tmp_path / "results.json", {})


def test_model_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "model.keras"
    model = keras.Sequential([keras.Input((30,)), keras.layers.Dense(300)])
    with replacing(path) as temporary:
        model.save(temporary)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(NotWritten, match="model.keras could not be"):
            with replacing(path) as temporary:
                model.save(temporary)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(tmp_path) == {"model.keras": before}


def write_folder(path, *names):
    """Writes a folder of files as its caller wants it."""
    with replacing_folder(path) as new:
        for name in names:
            (new / name).write_text(name)


def test_folder_is_replaced_with_all_that_was_in_it(tmp_path):
    path = tmp_path / "above" / "folder"
    write_folder(path, "a", "b")
    write_folder(path, "c")
    assert contents(tmp_path) == {"above/folder/c": b"c"}
    assert os.listdir(path.parent) == ["folder"]


@pytest.mark.parametrize("replaced", [True, False])
def test_folder_that_cannot_be_written_leaves_the_old_one(
    tmp_path, monkeypatch, replaced
):
    path = tmp_path / "folder"
    write_folder(path, "a", "b")

    def refuse(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(NotWritten, match=f"^{path} could not .*: No space left"):
        with replacing_folder(path) as new:
            (new / "c").write_text("half")
            if not replaced:
                refuse()
            monkeypatch.setattr(os, "replace", refuse)
    assert contents(tmp_path) == {"folder/a": b"a", "folder/b": b"b"}
    assert os.listdir(tmp_path) == ["folder"]


def test_folder_with_files_is_no_place_for_a_new_one(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    with pytest.raises(NotWritten), replacing(tmp_path / "folder") as new:
        new.mkdir()
    assert contents(tmp_path) == {"folder/mine": b"mine"}


def test_what_a_killed_process_left_is_replaced(tmp_path):
    (tmp_path / ".writing-a").mkdir()
    (tmp_path / ".writing-a" / "half").touch()
    (tmp_path / ".writing-b").touch()
    write_folder(tmp_path / "a", "c")
    write_json(tmp_path / "b", [])
    assert contents(tmp_path) == {"a/c": b"c", "b": b"[]\n"}


def test_page_between_two_moves_of_a_killed_process_is_not_lost(tmp_path):
    path = tmp_path / "a"
    write_folder(path, "old")
    path.rename(tmp_path / ".replaced-a")  # As it was when the process ended.
    with pytest.raises(KeyboardInterrupt), replacing_folder(path):
        raise KeyboardInterrupt
    assert contents(tmp_path) == {"a/old": b"old"}
    write_folder(path, "new")
    write_folder(tmp_path / ".replaced-a", "left")  # It ended after the second move.
    write_folder(path, "newer")
    assert contents(tmp_path) == {"a/newer": b"newer"}


@pytest.mark.parametrize("link", ["b", ".writing-b"])
def test_what_a_link_leads_to_is_not_written(tmp_path, link):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / link).symlink_to(tmp_path / "mine")
    write_json(tmp_path / "b", [])
    assert contents(tmp_path) == {"mine": b"mine", "b": b"[]\n"}
    assert not (tmp_path / "b").is_symlink()


@pytest.mark.parametrize("place", ["trial-0", "a/b/running.lock"])
def test_link_in_a_folder_of_ours_is_refused(tmp_path, place):
    path = tmp_path / "run" / place
    path.parent.mkdir(parents=True)
    check_no_links(tmp_path / "run")
    path.symlink_to("/nowhere")
    with pytest.raises(ValueError, match=f"no links.*{path}, which leads to /nowhere"):
        check_no_links(tmp_path / "run")
    # The user's own way to a folder is none of ours.
    (tmp_path / "way").symlink_to(tmp_path)
    path.unlink()
    check_no_links(tmp_path / "way" / "run")


@pytest.mark.parametrize(
    "text",
    ["=1+1.png", "+a", "-b", "@c", "\tx", "\rx", "'=d", "''@e", "+1", "-=1", "--1"],
)
def test_text_that_a_spreadsheet_would_compute_is_escaped_and_read_back(text):
    assert as_cell(text) == "'" + text
    assert from_cell(as_cell(text)) == text
    assert from_cell(as_cell(as_cell(text))) == as_cell(text)


@pytest.mark.parametrize(
    "value",
    ["cat", "", "'tis", "a=b", "-1", "-0.5", "-1e-05", "1", -1, -0.5, None, True],
)
def test_numbers_and_other_texts_stay_as_they_are(value):
    assert as_cell(value) is value
    if isinstance(value, str):
        assert from_cell(value) == value
