"""One recorded run made again in a fresh place, and how far the two agree."""

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from trl_suite import record
from trl_suite.errors import InputError
from trl_suite.experiment.places.local import InProcess
from trl_suite.experiment.planning import run_spec
from trl_suite.experiment.planning.cohort_queue import CohortKey
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.policy_library import POLICY
from trl_suite.experiment.reuse import shipped_sources
from trl_suite.experiment.running.run_state import EVALUATIONS, RUN
from trl_suite.experiment.running.scheduler import Listener, Scheduler
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.specification.experiment_keys import ExecutionOptions
from trl_suite.networks.policy import load
from trl_suite.record import RunRecord
from trl_suite.training import engines
from trl_suite.training.cohort.collecting.cohort_envs import Physics
from trl_suite.training.engines import Device, Engine
from trl_suite.worlds.identity import identity


class Repetition(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run and its repetition agree."""

    run: str
    repetition: str  # folder of the repetition
    evaluations_equal: bool  # to the last bit
    weights_equal: bool | None  # None where the record keeps no weights
    first_difference: int | None  # env step of the first evaluation that differs
    largest_difference: float  # of an episode's return
    circumstances: dict[str, str]  # version, machine or commit that differs -> "then -> now"

    @property
    def equal(self) -> bool:
        """Whether all that can be compared is the same to the last bit."""
        return self.evaluations_equal and self.weights_equal is not False


def specs_of(folder: Path) -> list[RunSpec]:
    """Return the specification of a recorded run, after those of all runs that it builds on.

    Raises:
        InputError: the record is missing or was edited, or the env is no longer what it was.
    """
    return [run_spec.spec_of_record(run, folder) for folder, run in _records(folder).items()]


def rerun(folder: Path, out: Path, listener: Listener, stop: Stop) -> Repetition | None:
    """Make a recorded run again below `out`, with the source that it starts from; None where it was stopped.

    Raises:
        InputError: the run cannot be made again, or has been made there already.
    """
    runs = _records(folder)
    specs, recorded = specs_of(folder), list(runs.values())[-1]
    if recorded.status != "done":
        raise InputError(f"{folder}: the run is {recorded.status}: only what is done can be compared with")
    repetition = out / specs[-1].folder
    if (repetition / POLICY).exists():
        raise InputError(f"{repetition}: the run has been made again there already; name another folder with --out")
    shipped_sources.take(out, recorded.experiment, specs)
    as_it_was = partial(_as_recorded, {run.digest: run for run in runs.values()})
    scheduler = Scheduler(
        out, recorded.experiment, InProcess(stop), listener, execution=ExecutionOptions(), cohort_key=as_it_was
    )
    tally = scheduler.run(specs, stop)
    if tally.failed or tally.refused or tally.storage:
        raise InputError(f"{repetition}: the run could not be made again: see {RUN} there")
    return None if tally.interrupted else compare(folder, repetition)


def _as_recorded(runs: Mapping[str, RunRecord], spec: RunSpec) -> CohortKey:
    """Return the run alone, on the engine that it was made by: the engines' noise differs."""
    run = runs[spec.digest]
    engine: Engine = msgspec.convert(run.engine, Engine)
    device: Device = msgspec.convert(run.device, Device)
    on, physics = engines.device(device), msgspec.convert(run.physics, Physics)
    return CohortKey(run.digest, engine, "as it was made", device=on, physics=engines.physics(physics, on))


def compare(recorded: Path, repetition: Path) -> Repetition:
    """Return how far two folders of one run agree."""
    recorded_returns, repeated_returns = _episodes(recorded), _episodes(repetition)
    common = recorded_returns.keys() & repeated_returns.keys()
    apart = {key: abs(recorded_returns[key] - repeated_returns[key]) for key in common}
    apart = {key: difference for key, difference in apart.items() if difference}
    missing = recorded_returns.keys() ^ repeated_returns.keys()
    return Repetition(
        run=str(recorded),
        repetition=str(repetition),
        evaluations_equal=not apart and not missing,
        weights_equal=_weights_equal(recorded, repetition),
        first_difference=min((key[0] for key in (*apart, *missing)), default=None),
        largest_difference=max(apart.values(), default=0.0),
        circumstances=_circumstances(
            record.decode(recorded / RUN, RunRecord), record.decode(repetition / RUN, RunRecord)
        ),
    )


def _records(folder: Path) -> dict[str, RunRecord]:
    """Return the record of a run by its folder within the experiment's, after all that it builds on, the first first.

    A target builds on its source, a stage of a sequence on all stages before.
    """
    root, chain = folder.resolve().parents[2], dict[str, RunRecord]()
    name = str(folder.resolve().relative_to(root))
    while name and name not in chain:
        chain[name] = _checked(root / name)
        name = chain[name].source
    runs = dict(reversed(chain.items()))
    linked = dict(zip(runs, record.relinked(runs.values()), strict=True))
    present = {name: run_spec.spec_of_record(run, name).folder for name, run in linked.items()}
    return {
        name: msgspec.structs.replace(run, source=present[run.source]) if run.source else run
        for name, run in linked.items()
    }


def _checked(folder: Path) -> RunRecord:
    if not (folder / RUN).is_file():
        raise InputError(f"{folder}: no {RUN} here, so it is not a run's folder")
    run = record.decode(folder / RUN, RunRecord)
    if record.digest_of(run.specification) != run.digest:
        raise InputError(f"{folder / RUN}: was edited: its specification is not that of its digest")
    if record.digest_of(identity(run.env)) != record.digest_of(run.specification["env_spec"]):
        raise InputError(f"{folder / RUN}: the env {run.env} is no longer what it was; check out {run.commit or 'it'}")
    return run


def _episodes(folder: Path) -> dict[tuple[int, str, str], float]:
    with (folder / EVALUATIONS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(int(row["step"]), row.get("mode", ""), row["episode"]): float(row["return"]) for row in rows}


def _weights_equal(recorded: Path, repetition: Path) -> bool | None:
    if not (recorded / POLICY).is_dir():
        return None
    return load(recorded / POLICY).digest == load(repetition / POLICY).digest


def _circumstances(then: RunRecord, now: RunRecord) -> dict[str, str]:
    """Return the circumstances that differed besides the run itself."""
    pairs = {name: (then.versions.get(name, ""), now.versions.get(name, "")) for name in then.versions | now.versions}
    pairs |= {name: (then.machine.get(name, ""), now.machine.get(name, "")) for name in then.machine | now.machine}
    pairs["commit"] = (then.commit[:10], now.commit[:10])
    pairs["uncommitted changes"] = (str(then.dirty), str(now.dirty))
    return {name: f"{old or 'unknown'} -> {new or 'unknown'}" for name, (old, new) in pairs.items() if old != new}
