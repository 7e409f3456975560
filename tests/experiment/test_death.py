"""A process that dies in the middle of writing: nothing is half there, and the next one goes on."""

import contextlib
import os
import signal
import traceback

import pytest

from trl_suite import files
from trl_suite.experiment.places.local import InProcess
from trl_suite.experiment.planning import grid
from trl_suite.experiment.running import lease, run_folder
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.specification import experiment_file

from .conftest import Hearing, left_behind, make, results

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # newer Pythons: the child only dies


def die_at(at: int, tiny, root) -> bool:
    """Make a run in a child that kills itself half-way through its `at`-th flush; return whether it got that far."""
    child = os.fork()
    if child == 0:
        count = 0
        real = os.fsync

        def fsync(handle):
            nonlocal count
            count += 1
            if count == at:
                with contextlib.suppress(OSError):  # a folder, or a file that was opened to be flushed only
                    os.truncate(handle, os.fstat(handle).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            real(handle)

        os.fsync = fsync
        try:
            make(tiny, root, Hearing(), InProcess(Stop()), slice(1), checkpoint=0.0)
        except BaseException:
            root.with_suffix(".txt").write_text(f"after {count} flushes: {traceback.format_exc()}")
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    report = root.with_suffix(".txt")
    assert not report.exists(), report.read_text()
    return os.WIFSIGNALED(status)


def survives(tiny, root, at: int, finished) -> bool:
    run_folder.write_plan(root, grid.plan_record("tiny", experiment_file.load(tiny), ""))
    died = die_at(at, tiny, root)
    tally = make(tiny, root, Hearing(), InProcess(Stop()), slice(1), checkpoint=0.0)
    assert len(tally.done) == 1, at
    assert results(root).items() <= results(finished).items(), at
    assert left_behind(root / "inverted-pendulum") == [], at
    return died


@pytest.mark.filterwarnings("ignore")  # that a run begins anew, or goes on from an earlier checkpoint
def test_death_in_the_middle_of_a_checkpoint_costs_only_that(tiny, finished, tmp_path):
    for at in (3, 9, 17):
        assert survives(tiny, tmp_path / str(at), at, finished)


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore")
def test_death_at_every_flush(either, tmp_path):
    tiny, finished = either
    at = 1
    while survives(tiny, tmp_path / str(at), at, finished):
        at += 1
    assert at > 20


def test_a_flush_reaches_files_and_folders(tmp_path, monkeypatch):
    """What is renamed must be on the disk before, and its name after."""
    order = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("flush"), real_fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *a: (order.append("rename"), real_replace(*a)))
    files.write_atomically(tmp_path / "a", b"x")
    assert order == ["flush", "rename", "flush"]
    assert lease.holder(tmp_path) is None
