import re
import tarfile

import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.evidence.reading import run_archive
from trl_suite.evidence.report.results_archive import archive_results
from trl_suite.evidence.results.experiment_results import load

from .conftest import ENV, write_evaluations


def test_what_is_kept_reports_the_same(experiment, tmp_path):
    write_evaluations(
        experiment.folder("finetune", 0) / "retention.csv", np.array([700.0, 300]), np.array([0, 100_000])
    )
    archive_results(experiment.root, tmp_path / "kept")
    kept = load(tmp_path / "kept")
    assert repr(kept.measures()) == repr(load(experiment.root).measures())  # NaN equals nothing, not even itself
    found = {path.name for path in (tmp_path / "kept").iterdir()}
    assert found == {"plan.json", "runs.tar.xz", "summary.csv"}


def test_everything_that_is_read_of_a_run_is_kept(experiment, tmp_path):
    folder = experiment.folder("finetune", 0)
    for name in set(run_archive.READ) - {path.name for path in folder.iterdir()}:
        (folder / name).write_text("")
    archive_results(experiment.root, tmp_path / "kept")
    kept = run_archive.read(tmp_path / "kept" / run_archive.ARCHIVE_FILE)
    assert set(kept[folder.relative_to(experiment.root).as_posix()]) == set(run_archive.READ)


def test_what_was_kept_is_kept_again_to_the_same_bytes(experiment, tmp_path):
    archive_results(experiment.root, tmp_path / "kept")
    archive_results(tmp_path / "kept", tmp_path / "again")
    first, second = ((tmp_path / name / run_archive.ARCHIVE_FILE).read_bytes() for name in ("kept", "again"))
    assert first == second


def test_what_was_kept_before_leaves_nothing_behind(experiment, tmp_path):
    plan = experiment.root / "plan.json"
    (experiment.root / "probes.json").write_text("[]")
    archive_results(experiment.root, tmp_path / "kept")
    plan.write_bytes(plan.read_bytes().replace(ENV.encode(), b"hopper"))
    (experiment.root / "probes.json").unlink()
    archive_results(experiment.root, tmp_path / "kept")
    assert "probes.json" not in {path.name for path in (tmp_path / "kept").iterdir()}


def test_kept_runs_unpack_to_the_folders_that_they_were(experiment, tmp_path):
    archive_results(experiment.root, tmp_path / "kept")
    with tarfile.open(tmp_path / "kept" / run_archive.ARCHIVE_FILE) as kept:
        kept.extractall(tmp_path / "unpacked", filter="data")
    found = run_archive.read(tmp_path / "kept" / run_archive.ARCHIVE_FILE)
    for planned in experiment.planned:
        for name in ("run.json", "evaluations.csv"):
            was = (experiment.root / planned.folder / name).read_bytes()
            assert (tmp_path / "unpacked" / planned.folder / name).read_bytes() == was
            assert found[planned.folder][name].read_bytes() == was


def test_results_are_not_kept_where_the_runs_are(experiment):
    with pytest.raises(InputError, match="name another folder"):
        archive_results(experiment.root, experiment.root / "." / "")
    assert not (experiment.root / run_archive.ARCHIVE_FILE).exists()


@pytest.mark.parametrize("length", [0, 10, 500])
def test_a_damaged_archive_is_named(experiment, tmp_path, length):
    archive_results(experiment.root, tmp_path / "kept")
    path = tmp_path / "kept" / run_archive.ARCHIVE_FILE
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=re.escape(str(path))):
        load(tmp_path / "kept")


def test_an_experiment_with_nothing_evaluated_is_kept_too(experiment, tmp_path):
    for planned in experiment.planned:
        (experiment.root / planned.folder / "evaluations.csv").unlink()
    assert load(experiment.root).curves == {}
    assert load(archive_results(experiment.root, tmp_path / "kept")).curves == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_what_is_no_file_in_an_archive_is_passed_over(tmp_path, kind):
    path = tmp_path / run_archive.ARCHIVE_FILE
    with tarfile.open(path, "w:xz") as archive:
        entry = tarfile.TarInfo("env/finetune/seed-0/run.json")
        entry.type, entry.linkname = kind, "nowhere"
        archive.addfile(entry)
    assert run_archive.read(path) == {}


def test_a_record_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(run_archive, "MOST_FILE_BYTES", 1_000)
    path = run_archive.write(tmp_path / run_archive.ARCHIVE_FILE, [("env/run.json", bytes(1_001))])
    with pytest.raises(InputError, match=r"run\.json' has 1,001 bytes"):
        run_archive.read(path)
    monkeypatch.setattr(run_archive, "MOST_ARCHIVE_BYTES", 1_000)
    run_archive.write(path, [("env/anything", bytes(600)), ("env/more", bytes(600))])
    with pytest.raises(InputError, match="not read further"):
        run_archive.read(path)
    assert run_archive.read(run_archive.write(path, [("env/weights", b"1")])) == {}
