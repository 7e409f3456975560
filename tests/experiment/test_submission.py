"""A submission holds all that a checker needs, and what was changed in it is found."""

import json
import shutil
from pathlib import Path

import pytest

from tools.site import submission_pages
from trl_suite import content
from trl_suite.cli.main import main
from trl_suite.errors import InputError
from trl_suite.experiment.reuse import submission

from .conftest import TINY


@pytest.fixture(scope="module")
def submitted(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("submitted")
    (folder / "experiment.toml").write_text(TINY)
    return submission.lay_out(finished, folder / "mine", author="A. Checker", experiment=folder)


@pytest.fixture
def copy(submitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))  # `check` sets it for the process
    return Path(shutil.copytree(submitted, tmp_path / "submissions" / "mine"))


def called(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0)


def test_it_holds_what_a_checker_needs(submitted: Path):
    names = {path.relative_to(submitted).as_posix() for path in submitted.rglob("*") if path.is_file()}
    assert names >= {
        "README.md", "submission.toml", "manifest.json", "experiment.toml", "results/plan.json",
        "results/runs.tar.xz", "results/summary.csv",
    }  # fmt: skip
    assert json.loads((submitted / "manifest.json").read_text()).keys() == names - {"manifest.json"}
    head = submission.read_head(submitted)
    assert (head.author, head.name) == ("A. Checker", "tiny")
    assert head.runs > 0
    assert "torch" in head.versions


def test_a_checker_verifies_it_and_the_page_says_so(copy: Path, capsys: pytest.CaptureFixture[str]):
    assert "not checked" in submission_pages.page(copy.parent)
    assert called("check", str(copy), "--runs", "1", "--mark", "--out", str(copy.parents[1] / "out")) == 0
    assert "1 verified" in capsys.readouterr().out
    assert submission.read_mark(copy) == ("verified", 1)
    assert str(copy.parents[1]) not in (copy / "check.json").read_text()
    page = submission_pages.page(copy.parent)
    assert "**verified**, 1 of " in page
    assert "A. Checker" in page
    assert submission.opened(copy) == copy / "results"  # the verdicts are the checker's: in no manifest


def test_what_was_changed_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]):
    (copy / "results" / "summary.csv").write_text("better\n")
    assert called("check", str(copy), "--runs", "1") == 2
    assert "summary.csv: was changed" in capsys.readouterr().err


@pytest.mark.parametrize("spoil", ["remove", "add", "link", "manifest"])
def test_what_is_not_as_it_was_submitted_is_refused(copy: Path, spoil: str):
    if spoil == "remove":
        (copy / "results" / "runs.tar.xz").unlink()
    elif spoil == "add":
        (copy / "more.txt").write_text("more")
    elif spoil == "link":
        (copy / "more.txt").symlink_to("/etc/hostname")
    else:
        (copy / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match=r"manifest|is a link"):
        submission.opened(copy)


def test_bad_input_is_named(finished: Path, submitted: Path, tmp_path: Path):
    new = tmp_path / "new"
    for options, said in (
        ({"author": " "}, "--author"),
        ({"author": "A", "experiment": tmp_path}, "name the folder of experiment.toml"),
        ({"author": "A"}, "tiny"),  # the workspace has no experiment of that name
    ):
        with pytest.raises(InputError, match=said):
            submission.lay_out(finished, new, **options)
    with pytest.raises(InputError, match="is there already"):
        submission.lay_out(finished, submitted, author="A")
    assert not new.exists()


def test_a_mark_needs_a_submission(finished: Path, capsys: pytest.CaptureFixture[str]):
    assert called("check", str(finished), "--mark") == 2
    assert "is no submission" in capsys.readouterr().err


def test_robots_of_ones_own_go_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    robot = tmp_path / "envs" / "mine"
    robot.mkdir(parents=True)
    (robot / "env.toml").write_text("")
    assert submission._own("envs", ["mine", "hopper"]) == [robot]


def test_the_page_says_where_there_are_none(tmp_path: Path):
    assert "None yet" in submission_pages.page(tmp_path)


def test_names_of_others_are_text(copy: Path):
    (copy / "submission.toml").write_text(
        'name = "x"\nauthor = "<script>|a"\nquestion = "[b](javascript:c)"\nlink = "javascript:alert(1)"\n'
    )
    page = submission_pages.page(copy.parent)
    assert "<script>" not in page
    assert "](javascript" not in page
