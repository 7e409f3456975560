"""Experiments on the simulated device: what their records say, and what happens where its memory is too small."""

import gc
import signal
import weakref

import pytest
import torch

from tests.cuda.beside import runs
from tests.cuda.runtime import simulated
from tests.cuda.test_budgets import cohort_of
from tests.experiment.conftest import TINY, Hearing, make
from trl_suite import record
from trl_suite.experiment.places.local import InProcess, visible_gpu
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.record import RunRecord
from trl_suite.training.cohort import cohort_training
from trl_suite.training.cohort.cohort import Cohort
from trl_suite.training.training_run import Unwatched
from trl_suite.worlds.warp import warp_library

pytestmark = pytest.mark.xdist_group("cuda")
TINIEST = TINY.replace("seeds    = [0, 1]", "seeds    = [0]").replace("steps = 512", "steps = 128")


@pytest.fixture
def tiny(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "experiment.toml").write_text(TINIEST)
    return folder


def records(root) -> list[RunRecord]:
    return [record.decode(path, RunRecord) for path in root.glob("*/*/*/run.json")]


@pytest.mark.slow
def test_a_record_says_on_what_it_was_made(tiny, tmp_path):
    with simulated():
        tally = make(tiny, tmp_path / "runs", Hearing(), InProcess(Stop()))
    assert not tally.failed
    for run in records(tmp_path / "runs"):
        assert run.device == "cuda"
        assert run.accelerator["gpu"] == "a GPU that is not there"
        assert run.accelerator["precision"] == "float32, TensorFloat-32 off"
        assert run.accelerator["driver"] == ("unknown" if warp_library.obstacle() else "13.0")


@pytest.mark.slow
def test_too_little_memory_halves_the_cohort_and_is_said(tiny, tmp_path, monkeypatch):
    begin = Cohort.__init__

    def full(cohort, members, *more):
        if len(members) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        begin(cohort, members, *more)

    monkeypatch.setattr(Cohort, "__init__", full)
    hearing = Hearing()
    with simulated():
        tally = make(tiny, tmp_path / "runs", hearing, InProcess(Stop()), retries=0)
    assert len(tally.done) == 4
    assert max(len(cohort.specs) for cohort in hearing.cohorts) == 3
    notes = {news.note for news in hearing.news}
    assert "the GPU's memory is too small for a cohort of 3 runs: they go on in cohorts of 1" in notes


def test_a_single_run_that_does_not_fit_fails(tiny, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Cohort, "__init__", full)
    with simulated():
        tally = make(tiny, tmp_path / "runs", Hearing(), InProcess(Stop()), slice(1), retries=0)
    assert len(tally.failed) == 1
    assert "CUDA out of memory" in records(tmp_path / "runs")[0].error


@pytest.mark.slow
def test_a_run_that_was_begun_on_the_cpu_does_not_go_on_here(tiny, tmp_path):
    """It begins anew, and says so; what it becomes is what it becomes here."""
    stop = Stop()

    def interrupt(spec, news):
        if news.step:
            stop.by = signal.SIGTERM

    make(tiny, tmp_path / "runs", Hearing(interrupt), InProcess(stop), slice(1), checkpoint=0.0)
    assert [run.status for run in records(tmp_path / "runs")] == ["interrupted"]
    hearing = Hearing()
    with simulated():
        make(tiny, tmp_path / "runs", hearing, InProcess(Stop()), slice(1))
    assert [(run.status, run.device) for run in records(tmp_path / "runs")] == [("done", "cuda")]
    assert any("begun on another engine or device" in news.note for news in hearing.news)


def test_products_are_not_computed_in_tensorfloat32(monkeypatch):
    seen, together = [], cohort_training._together

    def spy(*given):
        seen.append(torch.get_float32_matmul_precision())
        yield from together(*given)

    monkeypatch.setattr(cohort_training, "_together", spy)
    torch.set_float32_matmul_precision("high")
    try:
        list(cohort_training.train(runs("ppo", ["scratch"]), [Unwatched()], [None], torch.device("cpu")))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen[-1] == "highest"


@pytest.mark.slow
def test_a_closed_cohort_gives_its_memory_back():
    physics = "mujoco" if warp_library.obstacle() else "warp"
    with simulated():
        cohort = cohort_of(runs("ppo", ["scratch"]), physics)
        flat = weakref.ref(cohort.algorithm.stacks["policy"].flat)
        batch = weakref.ref(cohort.worlds.batch)
        cohort.close()
        del cohort
        gc.collect()
        assert flat() is None
        assert batch() is None


def test_a_worker_sees_the_gpu_that_is_its_own(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [visible_gpu(index) for index in range(2)] == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5a")
    assert [visible_gpu(index) for index in range(2)] == ["3", "GPU-5a"]
