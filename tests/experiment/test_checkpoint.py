"""Checkpoints are whole or not there, and a damaged one is passed over."""

import os

import numpy as np
import pytest

from trl_suite.errors import InputError, StorageError
from trl_suite.experiment.planning import grid
from trl_suite.experiment.planning.cohort_queue import PlannedCohort
from trl_suite.experiment.running import checkpoint, run_folder
from trl_suite.experiment.running.checkpoint import CheckpointFacts
from trl_suite.experiment.running.lease import Lease, LeaseObserver
from trl_suite.experiment.running.run_folder import RunFolder
from trl_suite.experiment.specification import experiment_file
from trl_suite.training.acting.evaluation import Episode
from trl_suite.training.training_run import Snapshot


def snapshot(step: int) -> Snapshot:
    arrays = {
        "weights": np.full((3, 4), step, dtype=np.float32),
        "scalar": np.array(step, dtype=np.int64),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "empty": np.zeros((0, 2)),
        "bits": np.array([2**63 + step], dtype=np.uint64),
    }
    segments = {f"replay-{i:05d}-0": {"rows": np.full(1000, i)} for i in range(step)}
    return Snapshot(step=step, arrays=arrays, facts={"list": [1, 2], "text": "ü"}, segments=segments)


def keep(folder, step: int, digest: str = "abc") -> int:
    taken = snapshot(step)
    facts = CheckpointFacts(
        digest=digest,
        step=step,
        evaluation_bytes=0,
        evaluations_sha256="",
        seconds=1.5,
        versions={},
        facts=dict(taken.facts),
    )
    return checkpoint.save(folder, facts, taken)


def same(found: Snapshot, step: int) -> None:
    wanted = snapshot(step)
    assert (found.step, found.facts) == (wanted.step, wanted.facts)
    assert found.arrays.keys() == wanted.arrays.keys()
    for name, values in wanted.arrays.items():
        assert found.arrays[name].dtype == values.dtype
        assert np.array_equal(found.arrays[name], values)
    assert set(found.segments) == set(wanted.segments)
    for name, arrays in wanted.segments.items():
        assert np.array_equal(found.segments[name]["rows"], arrays["rows"])


def test_what_was_kept_comes_back_and_the_last_two_stay(tmp_path):
    folder = tmp_path / "checkpoint"
    assert checkpoint.load(folder, "abc") is None
    for step in (1, 2, 30):
        keep(folder, step)
    assert [path.name for path in sorted(folder.iterdir())] == ["step-000000000002", "step-000000000030"]
    found = checkpoint.load(folder, "abc")
    assert found is not None
    same(found[1], 30)


def test_a_segment_is_written_once(tmp_path):
    folder = tmp_path / "checkpoint"
    keep(folder, 5)
    written = keep(folder, 6)
    assert written < 2 * 9000
    same(checkpoint.load(folder, "abc")[1], 6)


@pytest.mark.parametrize("name", ["arrays.safetensors", "facts.json", "manifest.json", "replay-00000-0.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "missing"])
def test_a_damaged_one_falls_back_to_the_one_before(tmp_path, name, damage):
    folder = tmp_path / "checkpoint"
    keep(folder, 2)
    keep(folder, 30)
    path = folder / "step-000000000030" / name
    content = path.read_bytes()
    path.unlink()  # a segment's file stands in both folders
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        path.write_bytes(bytes([*content[:-40], content[-40] ^ 1, *content[-39:]]))
    elif damage == "empty":
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="the checkpoint before it is used"):
        found = checkpoint.load(folder, "abc")
    assert found is not None
    same(found[1], 2)


def test_a_disk_that_is_full_leaves_the_earlier_ones_and_says_what_is_needed(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoint"
    keep(folder, 2)
    real = os.fsync

    def full(handle):
        real(handle)
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"checkpoint: No space left on device; [\d,]+ bytes are needed") as error:
        keep(folder, 30)
    assert error.value.full
    monkeypatch.undo()
    assert [path.name for path in folder.iterdir()] == ["step-000000000002"]
    same(checkpoint.load(folder, "abc")[1], 2)


def test_that_of_another_run_or_a_newer_version_is_refused(tmp_path):
    keep(tmp_path, 2, digest="other")
    with pytest.raises(InputError, match="is the checkpoint of another run"):
        checkpoint.load(tmp_path, "abc")


def test_that_of_another_engine_is_not_gone_on_from(tiny, tmp_path):
    step = grid.run_specs(experiment_file.load(tiny))[0]
    root = tmp_path / "runs"

    def opened(engine):
        lease = Lease.claim(root / step.folder, LeaseObserver())
        assert lease is not None
        return lease, RunFolder(root, "tiny", step, lease, PlannedCohort(specs=(step,), engine=engine, reason=""))

    lease, folder = opened("sb3")
    folder.evaluated(0, [Episode(1.0, 1)])
    folder.keep(Snapshot(step=10, arrays={"a": np.zeros(1)}, facts={}))
    lease.release()
    lease, folder = opened("sb3")
    assert folder.resumed.step == 10
    lease.release()
    with pytest.warns(UserWarning, match="begun on another engine"):
        _, folder = opened("cohort")
    assert folder.resumed is None


@pytest.mark.parametrize(("runs", "seconds"), [(1, 60.0), (250, 250.0), (5_000, 900.0)])
def test_checkpoints_of_all_that_trains_together_take_a_hundredth_of_the_time(
    tiny, tmp_path, monkeypatch, runs, seconds
):
    """Each takes ten milliseconds; no more than a quarter of an hour may be lost."""
    step = grid.run_specs(experiment_file.load(tiny))[0]
    lease = Lease.claim(tmp_path / step.folder, LeaseObserver())
    folder = RunFolder(tmp_path, "tiny", step, lease, PlannedCohort(specs=(step,) * runs, engine="cohort", reason=""))
    folder.evaluated(0, [Episode(1.0, 1)])
    clock = iter([100.0, 100.01])
    monkeypatch.setattr(run_folder.time, "monotonic", lambda: next(clock, 100.01))
    folder.keep(Snapshot(step=10, arrays={"a": np.zeros(1)}, facts={}))
    for later, due in ((-1.0, False), (1.0, True)):
        monkeypatch.setattr(run_folder.time, "monotonic", lambda later=later: 100.01 + seconds + later)
        assert folder.due() is due
