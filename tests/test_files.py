"""Tests of files.py: whole files and folders, or the old ones."""

import errno
import json
import os
import resource

import keras
import pytest

from keras_ncr.files import NotWritten, replacing, replacing_folder, write_json


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
