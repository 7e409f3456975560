"""Jobs through submitit: its own executor on this machine, and the script that Slurm would be given."""

import importlib
import os
import signal
import stat

import pytest

from trl_suite import record
from trl_suite.errors import InputError, NotInstalledError
from trl_suite.experiment.places import on_slurm, remote_cohort
from trl_suite.experiment.places.on_slurm import OnSlurm
from trl_suite.experiment.planning import grid
from trl_suite.experiment.planning.cohort_queue import PlannedCohort
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.running import lease
from trl_suite.experiment.running.worker import CohortOrder
from trl_suite.experiment.specification import experiment_file, experiment_keys
from trl_suite.record import RunRecord

from .conftest import Hearing, left_behind, make, results

pytest.importorskip("submitit")


def task(folder, root) -> CohortOrder:
    specification = experiment_file.load(folder)
    cohort = PlannedCohort(specs=(grid.run_specs(specification)[0],), engine="sb3", reason="")
    return CohortOrder(root=root, experiment="tiny", cohort=cohort, execution=specification.execution)


@pytest.mark.slow
def test_a_job_that_is_told_of_its_end_is_queued_again_and_goes_on_exactly(tiny, tmp_path, finished, monkeypatch):
    monkeypatch.setattr(remote_cohort, "FOLLOW_SECONDS", 0.02)
    monkeypatch.setattr(on_slurm, "SLURM_POLL_SECONDS", 0.02)
    root = tmp_path / "runs"
    execution = experiment_keys.ExecutionOptions(checkpoint=0.0, slurm=experiment_keys.SlurmOptions(jobs=2, minutes=5))
    place = OnSlurm(root, execution, cluster="local")
    told = []

    def preempt(step, news):
        owner = lease.holder(root / news.run)
        if owner and len(told) < 2:
            told.append(news.run)
            os.kill(owner.pid, signal.SIGUSR2)

    tally = make(tiny, root, Hearing(preempt), place, slice(2), checkpoint=0.0)
    assert len(tally.done) == 2
    made = results(root)
    assert made == {name: content for name, content in results(finished).items() if name in made}
    assert len(made) == 4
    assert left_behind(root) == []
    assert told
    assert max(record.decode(path, RunRecord).attempts for path in root.glob("*/*/*/run.json")) > 1


def test_the_script_asks_for_a_signal_in_time_and_for_the_job_to_be_queued_again(tiny, tmp_path, monkeypatch):
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/script.sh\necho "Submitted batch job 1234"\n')
    (sbatch.parent / "srun").write_text("#!/bin/sh\n")
    for program in sbatch.parent.iterdir():
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_CONF", "")
    slurm = experiment_keys.SlurmOptions(partition="learn", minutes=90, memory="4GB", extra={"account": "robots"})
    OnSlurm(tmp_path / "runs", experiment_keys.ExecutionOptions(slurm=slurm, cores=2)).start(
        task(tiny, tmp_path / "runs")
    )
    script = (tmp_path / "script.sh").read_text().splitlines()
    for line in ("partition=learn", "time=90", "mem=4GB", "cpus-per-task=2", "account=robots", "requeue"):
        assert f"#SBATCH --{line}" in script
    assert "#SBATCH --signal=USR2@120" in script
    assert "#SBATCH --open-mode=append" in script


def test_without_slurm_it_is_said_where_to_go(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no sbatch on this machine"):
        run(tiny, runs=tmp_path / "runs", on="slurm")


@pytest.mark.parametrize(("on", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_what_is_not_installed_is_named(tiny, tmp_path, monkeypatch, on, package):
    real = importlib.import_module

    def missing(name, *more):
        if name == package:
            raise ModuleNotFoundError(name)
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(NotInstalledError, match=rf"pip install 'trl-suite\[{on}\]'"):
        run(tiny, runs=tmp_path / "runs", on=on)


def test_an_address_is_for_ray(tiny, tmp_path):
    with pytest.raises(InputError, match="needs --on ray"):
        run(tiny, runs=tmp_path / "runs", address="10.0.0.1:6379")
