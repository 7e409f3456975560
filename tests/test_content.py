import errno
import os

import pytest

from trl_suite import content, files
from trl_suite.errors import InputError, StorageError


def test_the_workspace_comes_first(tmp_path, monkeypatch):
    folder = tmp_path / "envs" / "half-cheetah"
    folder.mkdir(parents=True)
    (folder / "env.toml").touch()
    assert content.find("envs", "half-cheetah") != folder
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    assert content.find("envs", "half-cheetah") == folder
    assert content.find("envs", "hopper") == content.shipped() / "envs" / "hopper"


def test_a_folder_without_its_table_is_not_content(tmp_path, monkeypatch):
    (tmp_path / "envs" / "notes").mkdir(parents=True)
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    assert "notes" not in content.names("envs")


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(
        InputError, match=r"unknown env 'half-chetah' \(did you mean 'half-cheetah'\?\); known: .*hopper"
    ):
        content.find("envs", "half-chetah")
    with pytest.raises(InputError, match="unknown policy 'none'"):
        content.find("policies", "none")


def test_a_workspace_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        content.set_workspace(tmp_path / "nowhere")


def failing(folder, expected):
    with files.whole_folder(folder) as is_new:
        assert is_new == expected
        (folder / "file").write_text("")
        raise KeyError


def test_a_folder_that_another_process_has_made_stays(tmp_path):
    folder = tmp_path / "folder"
    with pytest.raises(KeyError):
        failing(folder, True)
    assert not folder.exists()
    folder.mkdir()
    with pytest.raises(KeyError):
        failing(folder, False)
    assert folder.exists()


def written(path, error=None):
    with files.whole(path) as unfinished:
        unfinished.write_bytes(b"old" if error is None else b"ne")
        if error is not None:
            raise error


def test_a_file_that_a_library_writes_is_whole_or_not_there(tmp_path):
    path = tmp_path / "picture.png"
    written(path)
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(files.temporary(path)))
    with pytest.raises(StorageError, match=r"picture.png: No space left on device: free some space"):
        written(path, error)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("picture.png", b"old")]
