"""One recorded run made again in a fresh place, and how far the two agree."""

import csv
from functools import partial
from pathlib import Path

import msgspec

from trl_suite import record
from trl_suite.errors import InputError
from trl_suite.experiment.places.local import Here
from trl_suite.experiment.planning import grid
from trl_suite.experiment.planning.cohort_queue import Group
from trl_suite.experiment.planning.grid import Step
from trl_suite.experiment.policy_library import POLICY
from trl_suite.experiment.reuse import shipped_sources
from trl_suite.experiment.running.run_state import EVALUATIONS, RUN, digest_of
from trl_suite.experiment.running.scheduler import Listener, Scheduler
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.specification.experiment_file import Execution
from trl_suite.networks.policy import load
from trl_suite.record import Run
from trl_suite.training import engines
from trl_suite.training.cohort.worlds import Physics
from trl_suite.training.engines import Device, Engine
from trl_suite.worlds.identity import identity


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run and its repetition agree."""

    run: str
    made: str  # folder of the repetition
    evaluations_equal: bool  # to the last bit
    weights_equal: bool | None  # None where the record keeps no weights
    first_difference: int | None  # env step of the first evaluation that differs
    largest_difference: float  # of an episode's return
    circumstances: dict[str, str]  # version, machine or commit that differs -> "then -> now"

    @property
    def equal(self) -> bool:
        """Whether all that can be compared is the same to the last bit."""
        return self.evaluations_equal and self.weights_equal is not False


def steps_of(folder: Path) -> list[Step]:
    """Return the step of a recorded run, and before it that of its source.

    Raises:
        InputError: the record is missing or was edited, or the env is no longer what it was.
    """
    root = folder.resolve().parents[2]
    step = _step(folder)
    source = [_step(root / step.planned.source)] if step.planned.source else []
    return [*source, step]


def rerun(folder: Path, out: Path, listener: Listener, stop: Stop) -> Comparison | None:
    """Make a recorded run again below `out`, with the source that it starts from; None where it was stopped.

    Raises:
        InputError: the run cannot be made again, or has been made there already.
    """
    steps = steps_of(folder)
    recorded = record.decode(folder / RUN, Run)
    if recorded.status != "done":
        raise InputError(f"{folder}: the run is {recorded.status}: only what is done can be compared with")
    made = out / steps[-1].planned.folder
    if (made / POLICY).exists():
        raise InputError(f"{made}: the run has been made again there already; name another folder with --out")
    shipped_sources.take(out, recorded.experiment, steps)
    as_it_was = partial(_group, folder.resolve().parents[2])
    scheduler = Scheduler(out, recorded.experiment, Here(stop), listener, execution=Execution(), group=as_it_was)
    tally = scheduler.run(steps, stop)
    if tally.failed or tally.refused or tally.storage:
        raise InputError(f"{made}: the run could not be made again: see {RUN} there")
    return None if tally.interrupted else compare(folder, made)


def _group(root: Path, step: Step) -> Group:
    """Return the run alone, on the engine that it was made by: the engines' noise differs."""
    run = record.decode(root / step.planned.folder / RUN, Run)
    engine: Engine = msgspec.convert(run.engine, Engine)
    device: Device = msgspec.convert(run.device, Device)
    on, physics = engines.device(device), msgspec.convert(run.physics, Physics)
    return Group(run.digest, engine, "as it was made", device=on, physics=engines.physics(physics, on))


def compare(recorded: Path, made: Path) -> Comparison:
    """Return how far two folders of one run agree."""
    theirs, ours = _episodes(recorded), _episodes(made)
    apart = {key: abs(theirs[key] - ours[key]) for key in theirs.keys() & ours.keys() if theirs[key] != ours[key]}
    missing = theirs.keys() ^ ours.keys()
    return Comparison(
        run=str(recorded),
        made=str(made),
        evaluations_equal=not apart and not missing,
        weights_equal=_weights_equal(recorded, made),
        first_difference=min((key[0] for key in (*apart, *missing)), default=None),
        largest_difference=max(apart.values(), default=0.0),
        circumstances=_circumstances(record.decode(recorded / RUN, Run), record.decode(made / RUN, Run)),
    )


def _step(folder: Path) -> Step:
    folder = folder.resolve()
    if not (folder / RUN).is_file():
        raise InputError(f"{folder}: no {RUN} here, so it is not a run's folder")
    run = record.decode(folder / RUN, Run)
    if digest_of(run.specification) != run.digest:
        raise InputError(f"{folder / RUN}: was edited: its specification is not that of its digest")
    if digest_of(identity(run.env)) != digest_of(run.specification["world"]):
        raise InputError(f"{folder / RUN}: the env {run.env} is no longer what it was; check out {run.commit or 'it'}")
    return grid.step_of(run, str(folder.relative_to(folder.parents[2])))


def _episodes(folder: Path) -> dict[tuple[int, str, str], float]:
    with (folder / EVALUATIONS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(int(row["step"]), row.get("mode", ""), row["episode"]): float(row["return"]) for row in rows}


def _weights_equal(recorded: Path, made: Path) -> bool | None:
    if not (recorded / POLICY).is_dir():
        return None
    return load(recorded / POLICY).digest == load(made / POLICY).digest


def _circumstances(then: Run, now: Run) -> dict[str, str]:
    """Return what was different besides the run itself."""
    pairs = {name: (then.versions.get(name, ""), now.versions.get(name, "")) for name in then.versions | now.versions}
    pairs |= {name: (then.machine.get(name, ""), now.machine.get(name, "")) for name in then.machine | now.machine}
    pairs["commit"] = (then.commit[:10], now.commit[:10])
    pairs["uncommitted changes"] = (str(then.dirty), str(now.dirty))
    return {name: f"{old or 'unknown'} -> {new or 'unknown'}" for name, (old, new) in pairs.items() if old != new}
