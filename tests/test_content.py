import pytest

from trl_suite import content
from trl_suite.errors import InputError


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
