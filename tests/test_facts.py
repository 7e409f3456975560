"""The repository holds facts; views of them are made."""

import re
import subprocess
from pathlib import Path

import pytest

from trl_suite.evidence.reading.archive_download import LARGE_ARCHIVE_BYTES

ROOT = Path(__file__).parent.parent
FACTS = {"plan.json", "runs.tar.xz", "archive.json", "probes.json", "summary.csv", "film.gif"}
ALL_ARCHIVES_BYTES = 20_000_000


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("no repository here")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def of_results(path: Path) -> bool:
    return re.match(r"experiments/[^/]+/results/", path.relative_to(ROOT).as_posix()) is not None


def test_results_are_below_a_quarter_of_the_repository(tracked: list[Path]):
    sizes = {path: path.stat().st_size for path in tracked}
    assert sum(size for path, size in sizes.items() if of_results(path)) < sum(sizes.values()) / 4


def test_results_are_facts_alone(tracked: list[Path]):
    strange = [path for path in tracked if of_results(path) and path.name not in FACTS and path.suffix != ".diff"]
    assert not strange, "a view: trl-suite report and make site make it again"


def test_every_experiment_with_results_has_its_small_summary(tracked: list[Path]):
    folders = {path.parent for path in tracked if of_results(path) and path.name == "plan.json"}
    for folder in folders:
        assert 0 < (folder / "summary.csv").stat().st_size < 30_000


def test_large_archives_stand_elsewhere(tracked: list[Path]):
    sizes = [path.stat().st_size for path in tracked if path.name == "runs.tar.xz"]
    assert max(sizes) <= LARGE_ARCHIVE_BYTES
    assert sum(sizes) <= ALL_ARCHIVES_BYTES
