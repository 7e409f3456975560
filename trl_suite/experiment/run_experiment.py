"""`trl_suite.run`: all runs of an experiment that are not done yet."""

import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from trl_suite import content
from trl_suite.errors import InputError, located
from trl_suite.evidence.reading.run_records import PLASTICITY, TASKS
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.experiment.measuring import network_state, probe_file, retention, task_returns
from trl_suite.experiment.places.local import InProcess, Processes
from trl_suite.experiment.places.on_ray import OnRay
from trl_suite.experiment.places.on_slurm import OnSlurm
from trl_suite.experiment.planning import grid, measured_references
from trl_suite.experiment.planning.cohort_keys import Assignment, CohortPlanner, assignments, summary
from trl_suite.experiment.planning.grid import RunSpec
from trl_suite.experiment.planning.placement import Placement, Where, placement
from trl_suite.experiment.reuse import shipped_sources
from trl_suite.experiment.reuse.reused_runs import preview, take
from trl_suite.experiment.running import progress, run_folder
from trl_suite.experiment.running.scheduler import RunPlace, Scheduler, Tally
from trl_suite.experiment.running.stop_request import Stop, interrupts_kept
from trl_suite.experiment.specification import experiment_checks, experiment_file
from trl_suite.experiment.specification.experiment_file import NamedExperiment
from trl_suite.experiment.specification.experiment_keys import ExecutionOptions, Experiment
from trl_suite.experiment.specification.factors import cells
from trl_suite.experiment.specification.table_overrides import toml_value
from trl_suite.experiment.tuning import tuning_trials
from trl_suite.machine_resources import cores
from trl_suite.record import SCRATCH
from trl_suite.terminal import Terminal
from trl_suite.training.reproducibility import threads


class Finished(NamedTuple):
    """Where an experiment's runs are, and how they ended."""

    folder: Path
    tally: Tally


@dataclass(frozen=True, kw_only=True, repr=False)
class RunResults(Results):
    """Results of an experiment that has just been run: `measures()`, `report(path)`, frames; and how its runs ended."""

    tally: Tally


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How and where runs are made, which changes no result."""

    runs: Path = Path("runs")  # the experiment's run folders are kept in `runs/<experiment>/`
    workers: int | None = None  # runs at a time; as many as there are cores where None
    on: Where = "local"
    address: str | None = None  # of the Ray cluster
    mix_versions: bool = False
    reuse: Sequence[Path] = ()

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InputError: an address without Ray, or no workers.
        """
        if self.address is not None and self.on != "ray":
            raise InputError("--address is that of a Ray cluster: it needs --on ray")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers: {self.workers}; at least 1")


def run(
    experiment: str | Path | Mapping[str, Any] | Experiment,
    *,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
    runs: str | Path = Path("runs"),
    workers: int | None = None,
    quiet: bool | None = None,
    on: Where = "local",
    address: str | None = None,
    mix_versions: bool = False,
    reuse: Sequence[str | Path] = (),
) -> RunResults:
    """Make the experiment's runs and return its results; what is done already is not done again.

    TensorBoard's aggregate is written beside the runs, as the command does.

    Several processes, on several machines, may make one experiment in a folder that they share.

    Args:
        experiment: folder of `experiment.toml`, the name of a shipped experiment, TOML text of several lines, a table
            as that file holds it, or a `trl_suite.Experiment`.
        name: of its folder of runs; that of the file's folder, or made of the question, where not given.
        overrides: dotted key -> value, in place of the table's: `{"target.steps": 50_000}`.
        seeds: in place of the table's: `range(5)`.
        runs: the experiment's run folders are kept in `runs/<experiment>/`.
        workers: runs at a time; as many as there are cores where not given.
        quiet: show no progress; where not given, it is shown in notebooks alone, as one bar.
        on: in this process, in processes of this machine, on a Ray cluster, or through Slurm.
        address: of the Ray cluster; one is started on this machine where not given.
        mix_versions: go on with runs that were begun with other versions of torch and the like.
        reuse: experiments, as run folders or kept results, whose finished runs are taken where they are the same.

    Raises:
        InputError: the experiment is wrong, or the folder cannot be written.
        TypeError: it is nothing of which an experiment can be read.
        NotInstalledError: Ray or submitit is wanted and missing.
        StorageError: the disk is full; what is done stays, and the same call goes on.
        KeyboardInterrupt: by Ctrl-C, or a notebook's button, when all runs are saved; the same call goes on.
    """
    options = RunOptions(
        runs=Path(runs),
        workers=workers,
        on=on,
        address=address,
        mix_versions=mix_versions,
        reuse=tuple(map(Path, reuse)),
    )
    named = experiment_file.read(experiment, name=name, overrides=overrides, seeds=seeds)
    terminal = Terminal(quiet=not Terminal().is_jupyter if quiet is None else quiet)
    finished = make_runs(named, options, terminal, command_of(named, options, overrides, seeds))
    if finished.tally.stopped_by == signal.SIGINT:
        raise KeyboardInterrupt(f"interrupted; all runs are saved in {finished.folder}, and the same call goes on")
    results = RunResults(**vars(Results.read(finished.folder)), tally=finished.tally)
    if not finished.tally.interrupted:
        results.tensorboard()
    return results


def command_of(
    named: NamedExperiment, options: RunOptions, overrides: Mapping[str, Any] | None, seeds: Sequence[int] | None
) -> str:
    """Return the command that makes an experiment again; one that no file holds is stored beside its runs."""
    if not named.on_disk:
        return f"trl-suite run {shlex.quote(str(options.runs / named.name))}"
    words = ["trl-suite", "run", named.origin]
    for key, value in (overrides or {}).items():
        words += ["--set", f"{key}={toml_value(value)}"]
    words += ["--seeds", ",".join(map(str, seeds))] if seeds is not None else []
    return shlex.join(words)


def make_runs(named: NamedExperiment, options: RunOptions, terminal: Terminal, command: str) -> Finished:
    """Make the runs of an experiment that has been read; see `run`.

    Args:
        named: the experiment.
        options: how and where.
        terminal: shows progress.
        command: that makes it again.

    Raises:
        InputError: the folder cannot be written, or a run does not fit into the memory.
        NotInstalledError: Ray or submitit is wanted and missing.
    """
    options.check()
    root = (options.runs / named.name).resolve()
    with interrupts_kept():
        specs, where, planner = _prepared(named, options, terminal, command, root)
    with Stop() as stop, progress.display(terminal, specs) as display:
        place = _place(options.on, root, named.experiment.execution, stop, where, options.workers, options.address)
        scheduler = Scheduler(
            root,
            named.name,
            place,
            display,
            execution=named.experiment.execution,
            mix_versions=options.mix_versions,
            cohort_key=planner,
        )
        tally = scheduler.run(specs, stop)
    for note in [] if tally.interrupted else _afterwards(root, named.experiment, specs):
        terminal.print(note, style="yellow", soft_wrap=True)
    return Finished(folder=options.runs / named.name, tally=tally)


def _prepared(
    named: NamedExperiment, options: RunOptions, terminal: Terminal, command: str, root: Path
) -> tuple[list[RunSpec], Placement, CohortPlanner]:
    """Write the plan, take what is there already, and tell what will be made."""
    specification, name = named.experiment, named.name
    tuning_trials.refuse_untuned(Path(named.origin or name), specification)
    content.refuse_installed(root)
    specs, where, planner = _planned(named, options.on, options.workers)
    with located(named.label):
        references, misfits = _references(specification, planner, specs)
    run_folder.write_plan(root, grid.plan_record(name, specification, command, specs, references))
    named.store(root)
    shipped_sources.take(root, name, specs)
    measured = _measured(specification)
    taken = take(root, specs, options.reuse, planner, measured=measured, mixed=options.mix_versions)
    with located(named.label):
        assigned = assignments(specs, planner)
    for line in (*taken, *summary(assigned)):
        terminal.print(line, soft_wrap=True)
    choices = [choice for cell in cells(specification).values() for choice in cell.choices.values()]
    tuned = [specification.tuning.note] if specification.tuning else []
    for note in dict.fromkeys([*(choice.note for choice in choices), *tuned]):
        terminal.print(note, soft_wrap=True)
    for caution in (*experiment_checks.cautions(specification), *misfits):
        terminal.print(caution, style="yellow", soft_wrap=True)
    return specs, where, planner


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


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """Account of what `run` would do, made without doing it."""

    assigned: list[Assignment]
    done: int  # runs that are there already
    reused: list[str]  # a line for each experiment whose runs would be taken


def planned(named: NamedExperiment, options: RunOptions) -> Prospect:
    """Return which of an experiment's runs would train together and why, and which would be taken; writes nothing.

    Raises:
        InputError: a run does not fit into the memory, or there is nothing at a place of reuse.
    """
    options.check()
    tuning_trials.refuse_untuned(Path(named.origin or named.name), named.experiment)
    root = (options.runs / named.name).resolve()
    specs, _, planner = _planned(named, options.on, options.workers)
    measured, mixed = _measured(named.experiment), options.mix_versions
    lines, origins = preview(root, specs, options.reuse, planner, measured=measured, mixed=mixed)
    with located(named.label):
        assigned = assignments(specs, planner)
    done = {spec.folder for spec in specs if run_folder.state_of(root, spec).condition == "done"}
    assigned = [
        msgspec.structs.replace(assignment, done=assignment.run in done, reused=origins.get(assignment.run, ""))
        for assignment in assigned
    ]
    return Prospect(assigned=assigned, done=len(done), reused=lines)


def _planned(named: NamedExperiment, on: Where, workers: int | None) -> tuple[list[RunSpec], Placement, CohortPlanner]:
    with located(named.label):
        specs, where = grid.run_specs(named.experiment), placement(on, named.experiment, workers or cores())
        return specs, where, CohortPlanner(named.experiment, where, specs)


def _measured(experiment: Experiment) -> tuple[str, ...]:
    """Files that are measured on a finished run's policy."""
    asked = {
        retention.RETENTION_FILE: experiment.retention,
        PLASTICITY: experiment.plasticity,
        TASKS: experiment.sequence is not None,
    }
    return tuple(name for name, holds in asked.items() if holds)


def _afterwards(root: Path, experiment: Experiment, specs: list[RunSpec]) -> list[str]:
    """Measure on the finished runs what the experiment asks for besides them; return what could not be."""
    with threads(1):
        if experiment.sequence:
            task_returns.write(root, specs, experiment.sequence.tasks, experiment.evaluation.episodes)
        if experiment.probes:
            probe_file.write(root, specs, experiment.probes, experiment.alias)
        notes = network_state.write(root, specs) if experiment.plasticity else []
        return notes + (retention.write(root, specs) if experiment.retention else [])


def _place(
    on: Where,
    root: Path,
    execution: ExecutionOptions,
    stop: Stop,
    where: Placement,
    workers: int | None,
    address: str | None,
) -> RunPlace:
    if on == "ray":
        return OnRay(execution, address, workers)
    if on == "slurm":
        return OnSlurm(root, execution)
    return InProcess(stop) if on == "here" else Processes(where.workers, where.gpus)
