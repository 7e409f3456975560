"""Processes that die at any moment: the result is that of an experiment that was left alone."""

import os
import random
import signal
import time

import pytest

from trl_suite import record
from trl_suite.experiment.places import local
from trl_suite.experiment.places.local import Processes
from trl_suite.record import RunRecord

from .conftest import ON_SAC, Hearing, left_behind, made_of, make, results


class Killer:
    """Ends a worker from time to time, as long as it is allowed to."""

    def __init__(self, place: Processes, times: int, seed: int) -> None:
        self.place, self.left, self._random = place, times, random.Random(seed)
        self._next = 0.0

    def listen(self, tell):
        if self.place.pids and self.left and time.monotonic() > self._next:
            self._next = time.monotonic() + self._random.uniform(0.02, 0.5)
            os.kill(self._random.choice(self.place.pids), signal.SIGKILL)
            self.left -= 1
        return self.place.listen(tell)

    def __getattr__(self, name):
        return getattr(self.place, name)


def survives(tiny, finished, root, times: int, seed: int) -> int:
    """Return how often a worker was killed."""
    killer = Killer(Processes(2), times, seed)
    tally = make(tiny, root, Hearing(), killer, checkpoint=0.0, retries=10_000)
    assert len(tally.done) == 8
    assert killer.left < times
    assert results(root) == results(finished)
    assert left_behind(root) == []
    runs = [record.decode(path, RunRecord) for path in root.glob("*/*/*/run.json")]
    assert all(one.freeze is not None and one.freeze.holds for one in runs)
    return times - killer.left


@pytest.mark.parametrize("either", ["cohort", pytest.param("sb3", marks=pytest.mark.slow)], indirect=True)
def test_workers_that_are_killed_go_on_where_they_were(either, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "PIPE_POLL_SECONDS", 0.02)
    survives(*either, tmp_path / "runs", times=6, seed=0)


@pytest.mark.slow
def test_sac_cohorts_that_are_killed_go_on_with_what_they_remember(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "PIPE_POLL_SECONDS", 0.02)
    finished = made_of(ON_SAC, tmp_path)
    (tiny / "experiment.toml").write_text(ON_SAC)
    survives(tiny, finished, tmp_path / "killed", times=6, seed=0)


@pytest.mark.faults
def test_two_hundred_kills(either, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "PIPE_POLL_SECONDS", 0.02)
    killed = seed = 0
    while killed < 100:  # on each engine
        seed += 1
        killed += survives(*either, tmp_path / f"runs-{seed}", times=20, seed=seed)
