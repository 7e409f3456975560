"""`trl_suite.run`: all runs of an experiment that are not done yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from trl_suite.errors import InputError
from trl_suite.evidence.reading.run_records import PLASTICITY
from trl_suite.experiment.measuring import network_state, probe_file, retention
from trl_suite.experiment.places.local import InProcess, Processes
from trl_suite.experiment.places.on_ray import OnRay
from trl_suite.experiment.places.on_slurm import OnSlurm
from trl_suite.experiment.planning import grid, measured_references
from trl_suite.experiment.planning.cohort_keys import Assignment, CohortPlanner, assignments, summary
from trl_suite.experiment.planning.grid import RunSpec
from trl_suite.experiment.reuse import shipped_sources
from trl_suite.experiment.reuse.reused_runs import take
from trl_suite.experiment.running import progress, run_folder
from trl_suite.experiment.running.scheduler import RunPlace, Scheduler, Tally
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.specification import experiment_checks, experiment_file
from trl_suite.experiment.specification.experiment_keys import ExecutionOptions, Experiment
from trl_suite.experiment.specification.factors import cells
from trl_suite.experiment.tuning import tuning_trials
from trl_suite.machine_resources import cores
from trl_suite.record import SCRATCH
from trl_suite.training.reproducibility import threads

Where = Literal["here", "local", "ray", "slurm"]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Where an experiment's runs are, and how they ended."""

    folder: Path
    tally: Tally


def run(
    experiment: str | Path,
    *,
    runs: Path = Path("runs"),
    workers: int | None = None,
    quiet: bool = True,
    on: Where = "local",
    address: str | None = None,
    mix_versions: bool = False,
    reuse: Sequence[Path] = (),
) -> Finished:
    """Make the experiment's runs and return where they are; what is done already is not done again.

    Several processes, on several machines, may make one experiment in a folder that they share.

    Args:
        experiment: folder of `experiment.toml`, or the name of a shipped experiment.
        runs: the experiment's run folders are kept in `runs/<experiment>/`.
        workers: runs at a time; as many as there are cores where not given.
        quiet: show no progress.
        on: in this process, in processes of this machine, on a Ray cluster, or through Slurm.
        address: of the Ray cluster; one is started on this machine where not given.
        mix_versions: go on with runs that were begun with other versions of torch and the like.
        reuse: experiments, as run folders or kept results, whose finished runs are taken where they are the same.

    Raises:
        InputError: the file is wrong, or the folder cannot be written.
        NotInstalledError: Ray or submitit is wanted and missing.
        StorageError: the disk is full; what is done stays, and the same call goes on.
    """
    source = experiment_file.locate(str(experiment))
    specification = experiment_file.load(source)
    tuning_trials.refuse_untuned(source, specification)
    if address is not None and on != "ray":
        raise InputError("--address is that of a Ray cluster: it needs --on ray")
    if workers is not None and workers < 1:
        raise InputError(f"workers: {workers}; at least 1")
    name = source.resolve().name
    root = (runs / name).resolve()
    specs = grid.run_specs(specification)
    planner = CohortPlanner(specification, workers or cores())
    references, misfits = _references(specification, planner, specs)
    plan = grid.plan_record(name, specification, f"trl-suite run {experiment}", specs, references)
    run_folder.write_plan(root, plan)
    shipped_sources.take(root, name, specs)
    taken = take(root, specs, reuse, planner, measured=_measured(specification), mixed=mix_versions)
    for line in (*taken, *summary(assignments(specs, planner))):
        Console(quiet=quiet, markup=False).print(line, highlight=False, soft_wrap=True)
    choices = [choice for cell in cells(specification).values() for choice in cell.choices.values()]
    for note in dict.fromkeys(choice.note for choice in choices):
        Console(quiet=quiet, markup=False).print(note, highlight=False, soft_wrap=True)
    for caution in (*experiment_checks.cautions(specification), *misfits):
        Console(quiet=quiet, markup=False).print(caution, style="yellow", highlight=False, soft_wrap=True)
    with Stop() as stop, progress.display(Console(quiet=quiet), specs) as display:
        place = _place(on, root, specification.execution, stop, workers if on == "ray" else planner.workers, address)
        how: dict[str, Any] = {
            "execution": specification.execution,
            "mix_versions": mix_versions,
            "cohort_key": planner,
        }
        tally = Scheduler(root, name, place, display, **how).run(specs, stop)
    for note in [] if tally.interrupted else _afterwards(root, specification, specs):
        Console(quiet=quiet, markup=False).print(note, style="yellow", highlight=False, soft_wrap=True)
    return Finished(folder=runs / name, tally=tally)


def _references(
    experiment: Experiment, planner: CohortPlanner, specs: Sequence[RunSpec]
) -> tuple[dict[str, Any], list[str]]:
    """Scales of the targets whose reference was measured before, and why others are not used.

    Raises:
        InputError: the experiment asks for measured references, and one is missing or was measured otherwise.
    """
    if experiment.reference not in (None, "measured") or (experiment.factors and experiment.reference is None):
        return {}, []
    if experiment.factors:
        raise InputError(f"reference = 'measured' takes one value of {', '.join(experiment.factors)}, not several")
    physics = {spec.env: planner(spec).physics for spec in specs if spec.role == "target" and spec.method == SCRATCH}
    misfits = {
        env: measured_references.usable(
            env,
            experiment.algorithm,
            steps=experiment.target.steps,
            episodes=experiment.evaluation.episodes,
            physics=physics[env],
            seeds=experiment.seeds,
        )
        for env in experiment.target.envs
    }
    if experiment.reference == "measured":
        for env, why in misfits.items():
            measured_references.require(env, experiment.algorithm)
            if why:
                raise InputError(why)
    notes = [f"not used: {why}" for why in misfits.values() if why]
    return measured_references.scales(misfits, experiment.algorithm), notes


def planned(experiment: str | Path, workers: int | None = None) -> list[Assignment]:
    """Return which of an experiment's runs would train together, and why.

    Raises:
        InputError: the file is wrong, or a run does not fit into the memory.
    """
    source = experiment_file.locate(str(experiment))
    specification = experiment_file.load(source)
    tuning_trials.refuse_untuned(source, specification)
    return assignments(grid.run_specs(specification), CohortPlanner(specification, workers or cores()))


def _measured(experiment: Experiment) -> tuple[str, ...]:
    """Files that are measured on a finished run's policy."""
    asked = {retention.RETENTION_FILE: experiment.retention, PLASTICITY: experiment.plasticity}
    return tuple(name for name, holds in asked.items() if holds)


def _afterwards(root: Path, experiment: Experiment, specs: list[RunSpec]) -> list[str]:
    """Measure on the finished runs what the experiment asks for besides them; return what could not be."""
    with threads(1):
        if experiment.probes:
            probe_file.write(root, specs, experiment.probes, experiment.alias)
        notes = network_state.write(root, specs) if experiment.plasticity else []
        return notes + (retention.write(root, specs) if experiment.retention else [])


def _place(
    on: Where, root: Path, execution: ExecutionOptions, stop: Stop, workers: int | None, address: str | None
) -> RunPlace:
    if on == "ray":
        return OnRay(execution, address, workers)
    if on == "slurm":
        return OnSlurm(root, execution)
    return InProcess(stop) if on == "here" else Processes(workers or cores())
