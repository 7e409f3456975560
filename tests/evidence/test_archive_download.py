"""An archive that stands elsewhere is fetched whole, by its hash, or not at all."""

from pathlib import Path

import msgspec
import pytest

from trl_suite.cli.main import main
from trl_suite.errors import InputError
from trl_suite.evidence.reading import archive_download, run_archive
from trl_suite.evidence.reading.archive_download import ArchiveManifest
from trl_suite.evidence.report.results_archive import archive_results
from trl_suite.evidence.results.experiment_results import load
from trl_suite.record import encode


@pytest.fixture
def elsewhere(build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Kept results whose archive is too large for a repository: it lies on a server, which is a folder here."""
    monkeypatch.setattr(archive_download, "LARGE_ARCHIVE_BYTES", 1_000)
    kept = archive_results(build(seeds=2).root, tmp_path / "kept")
    asset = tmp_path / "asset.tar.xz"
    (kept / run_archive.ARCHIVE_FILE).rename(asset)
    manifest = archive_download.read_manifest(kept)
    assert manifest is not None
    store(kept, msgspec.structs.replace(manifest, url=asset.as_uri()))
    return kept


def store(kept: Path, manifest: ArchiveManifest) -> None:
    (kept / archive_download.ARCHIVE_MANIFEST).write_bytes(encode(manifest))


def altered(kept: Path, **changes: object) -> None:
    manifest = archive_download.read_manifest(kept)
    assert manifest is not None
    store(kept, msgspec.structs.replace(manifest, **changes))


def test_it_is_fetched_once_and_reports_as_before(elsewhere: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(InputError, match="trl-suite results fetch"):
        load(elsewhere)
    for said in ("fetched", "is here already"):
        with pytest.raises(SystemExit) as left:
            main(["results", "fetch", str(elsewhere)])
        assert left.value.code == 0
        assert said in capsys.readouterr().out
    assert load(elsewhere).curves


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256": "0" * 64}, "its sha256 is not that"),
        ({"bytes": 100}, "more than the 100 bytes"),
        ({"bytes": 0}, "bytes: 1 to"),
        ({"url": ""}, "no address of https or file"),
        ({"url": "http://127.0.0.1/a"}, "no address of https or file"),
        ({"url": "file:///nowhere/at/all"}, "/nowhere/at/all"),
        ({"url": "https://["}, r"\[|address"),
    ],
)
def test_what_is_not_the_archive_is_refused_and_leaves_nothing(elsewhere: Path, changes: dict[str, object], said: str):
    altered(elsewhere, **changes)
    before = sorted(path.name for path in elsewhere.iterdir())
    with pytest.raises(InputError, match=said):
        archive_download.fetch(elsewhere)
    assert sorted(path.name for path in elsewhere.iterdir()) == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": "", "sha256": "", "bytes": 1, "more": 1}', "\x00"])
def test_a_manifest_that_is_none_is_named(tmp_path: Path, text: str):
    (tmp_path / archive_download.ARCHIVE_MANIFEST).write_text(text)
    with pytest.raises(InputError, match=r"archive\.json: "):
        archive_download.fetch(tmp_path)


def test_without_either_there_is_nothing_to_fetch(tmp_path: Path):
    with pytest.raises(InputError, match=r"neither runs\.tar\.xz nor archive\.json"):
        archive_download.fetch(tmp_path)


def test_small_archives_have_no_manifest(build, tmp_path: Path):
    kept = archive_results(build(seeds=2).root, tmp_path / "kept")
    assert not (kept / archive_download.ARCHIVE_MANIFEST).exists()
    assert archive_download.fetch(kept) is False
