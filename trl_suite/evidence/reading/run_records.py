"""The planned runs of an experiment as they stand on disk, and what is missing or odd about each."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from trl_suite.errors import InputError
from trl_suite.evidence.reading import archive_download, run_archive
from trl_suite.evidence.reading.conditions import Condition
from trl_suite.evidence.reading.curve import Curve, read
from trl_suite.evidence.reading.run_archive import Files
from trl_suite.record import TUNING_RUNS, Plan, PlannedRun, Readable, RunRecord, content_of, decode

Kind = Literal[
    "missing", "failed", "unfinished", "unreadable", "other grid", "duplicate", "not planned", "not finite",
    "identical", "no pair", "no reference", "freeze broken", "freeze unproved", "cut off", "not independent",
    "step labels",
]  # fmt: skip
RUN = "run.json"
EVALUATIONS = "evaluations.csv"
PLASTICITY = "plasticity.csv"  # NetworkState: of the source, and of the run's own policy at each evaluation
SOURCE_STEP = -1  # in place of the step of a state that is the source's
TASKS = "tasks.csv"  # env,episode,return,length: the policy on every task of a sequence
HOME = "retention.csv"  # as evaluations.csv, of the same policy on the env of its source
_TASKS_HEAD = "env,episode,return,length"
DRAWN = {
    "target": "drawn as far as it came; counted at step 0 only",
    "source": "its targets lack a source",
    "reference": "not counted in the reference",
    "revisit": "its sequence is not counted",
}


class Irregularity(msgspec.Struct, frozen=True, kw_only=True):
    """Something missing or odd, and what was done about it."""

    kind: Kind
    where: str  # a run's folder, or an env
    what: str
    treatment: str


class NetworkState(NamedTuple):
    """State of an actor's networks on states of the target that the trained policy visits."""

    step: int  # env steps of training; -1: the source's
    dormant: float  # share of trunk units that are next to silent
    effective_rank: float  # of the last trunk layer's outputs
    weight_norm: float
    source_kl: float  # KL(source || policy), meaned over states; NaN without a source


NETWORK_MEASURES = NetworkState._fields[1:]


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """One planned run: what stands on disk of it."""

    planned: PlannedRun
    condition: Condition
    run: RunRecord | None = None
    curve: Curve | None = None
    home: Curve | None = None  # the policy evaluated on the env of its source, before and after
    networks: tuple[NetworkState, ...] = ()  # the policy's by step; the last one is that after training
    tasks: Mapping[str, float] | None = None  # env -> the policy's mean return there, of each task of a sequence


def irregularity(kind: Kind, planned: PlannedRun, what: str, treatment: str) -> Irregularity:
    """Return the finding about one run."""
    return Irregularity(kind=kind, where=planned.folder, what=what, treatment=treatment)


def plan_of(runs: Path) -> Plan:
    """Return the plan of an experiment: of kept results the archive has the runs of it, which are most of its bytes.

    Raises:
        InputError: the folder holds no plan, or one that cannot be read.
    """
    path = runs / run_archive.PLAN_FILE
    if not path.is_file():
        raise InputError(
            f"{runs}: no {path.name} here, so it is not an experiment's folder; expected runs/<experiment>"
        )
    plan = decode(path, Plan)
    archive = _archive(runs)
    whole = None if plan.runs or not archive.is_file() else run_archive.read_plan(archive)
    return plan if whole is None else decode(whole, Plan)


def _archive(runs: Path) -> Path:
    """Return where the archive of kept results is or would be.

    Raises:
        InputError: it has to be fetched first.
    """
    archive = runs / run_archive.ARCHIVE_FILE
    if not archive.is_file() and (runs / archive_download.ARCHIVE_MANIFEST).is_file():
        raise InputError(f"{runs}: its {archive.name} stands elsewhere: trl-suite results fetch {runs}")
    return archive


def files(runs: Path) -> Files:
    """Return the files of every run of an experiment: from its archive where it has one, else from its folders.

    Raises:
        InputError: the archive is damaged, or stands elsewhere.
    """
    archive = _archive(runs)
    return run_archive.read(archive) if archive.is_file() else _on_disk(runs)


def _on_disk(runs: Path) -> Files:
    """Return the files of every folder that holds a run's record; one walk, and no question for a single file."""
    files_by_run: Files = {}
    for folder, below, names in os.walk(runs):
        place = Path(folder)
        if RUN in names:
            files_by_run[place.relative_to(runs).as_posix()] = {name: place / name for name in names}
            below.clear()  # a run lies in no other's folder
        elif place == runs and TUNING_RUNS in below:
            below.remove(TUNING_RUNS)
    return files_by_run


def surplus(files_by_run: Files, plan: Plan) -> list[Irregularity]:
    """Return a finding for every run on disk that the plan does not know."""
    return [
        Irregularity(
            kind="not planned", where=folder, what="stands on disk and not in plan.json", treatment="not counted"
        )
        for folder in sorted(files_by_run.keys() - {p.folder for p in plan.runs})
    ]


def recorded_run(
    runs: Path, files_by_run: Files, planned: PlannedRun, arm: Condition, plan: Plan, findings: list[Irregularity]
) -> RecordedRun:
    """Return one run as read; whatever is wrong with it is added to the findings."""
    run_files = files_by_run.get(planned.folder, {})
    nothing = RecordedRun(planned=planned, condition=arm)
    try:
        _check_inside(planned.folder)
        if RUN not in run_files:
            findings.append(irregularity("missing", planned, "has not been run", "its pair is not counted"))
            return nothing
        run = decode(run_files[RUN], RunRecord)
        _check_same(run_files[RUN], run, planned)
        findings.extend(_circumstances(run, planned))
        optional = planned.role == "source" or run.status != "done"  # a run may end before its first evaluation
        if optional and EVALUATIONS not in run_files:
            return RecordedRun(planned=planned, condition=arm, run=run)
        if EVALUATIONS not in run_files:
            raise InputError(f"{planned.folder}: done, and no {EVALUATIONS}")
        curve = read(run_files[EVALUATIONS], 0 if planned.role == "source" else plan.episodes)
        home = read(run_files[HOME]) if planned.source and HOME in run_files else None
        networks = _network_states(run_files[PLASTICITY]) if PLASTICITY in run_files else ()
        tasks = task_returns(run_files[TASKS]) if TASKS in run_files else None
    except InputError as error:
        findings.append(irregularity("unreadable", planned, str(error).replace(f"{runs}/", ""), "not counted"))
        return nothing
    if planned.role != "source":
        findings.extend(_oddities(run, curve, planned))
    return RecordedRun(planned=planned, condition=arm, run=run, curve=curve, home=home, networks=networks, tasks=tasks)


def plasticity_text(states: Sequence[NetworkState]) -> str:
    """Return `plasticity.csv`: a line for each state."""
    lines = [",".join(NetworkState._fields), *(",".join(map(repr, state)) for state in states)]
    return "\n".join(lines) + "\n"


def tasks_text(episodes: Mapping[str, Sequence[tuple[float, int]]]) -> str:
    """Return `tasks.csv`: a line for each episode, (return, length), on each task."""
    lines = [
        f"{env},{index},{value!r},{length}"
        for env, of_env in episodes.items()
        for index, (value, length) in enumerate(of_env)
    ]
    return "\n".join([_TASKS_HEAD, *lines]) + "\n"


def task_returns(file: Readable) -> dict[str, float]:
    """Return the mean return on each task by its env.

    Raises:
        InputError: the file is damaged.
    """
    returns: dict[str, list[float]] = {}
    try:
        head, *lines = content_of(file).decode().splitlines() or [""]
        if head != _TASKS_HEAD or not lines:
            raise ValueError(f"the first line is to be {_TASKS_HEAD}")
        for line in lines:
            env, _, value, _ = line.rsplit(",", 3)
            returns.setdefault(env, []).append(float(value))
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{file}: {error}") from None
    return {env: float(np.mean(values)) for env, values in returns.items()}


def _network_states(file: Readable) -> tuple[NetworkState, ...]:
    """Return the states of the run's own policy, by step.

    Raises:
        InputError: the file is damaged.
    """
    try:
        head, *lines = content_of(file).decode().split()
        if head != ",".join(NetworkState._fields):
            raise ValueError(f"the first line is to be {','.join(NetworkState._fields)}")
        rows = [line.split(",") for line in lines]
        states = tuple(NetworkState(int(step), *map(float, values)) for step, *values in rows)
        if not states or list(states) != sorted(states, key=lambda state: state.step):
            raise ValueError("the states are to be in the order of their steps, one at least")
        return tuple(state for state in states if state.step != SOURCE_STEP)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file}: {error}") from None


def is_inside(name: str) -> bool:
    """Return whether a relative path leads nowhere else than below the folder that it is relative to."""
    return not name.startswith("/") and ".." not in name.split("/")


def _check_inside(folder: str) -> None:
    if not is_inside(folder):
        raise InputError(f"{folder}: a run's folder lies inside the experiment's")


def _check_same(file: Readable, run: RunRecord, planned: PlannedRun) -> None:
    for name in ("role", "env", "method", "seed"):
        if getattr(run, name) != getattr(planned, name):
            raise InputError(f"{file}: {name} is {getattr(run, name)!r}, the plan says {getattr(planned, name)!r}")


def _circumstances(run: RunRecord, planned: PlannedRun) -> list[Irregularity]:
    """Note how a run ended, and a freeze that did not hold or was not proved."""
    notes: list[Irregularity] = []
    drawn = DRAWN[run.role]
    if run.status == "failed":
        cause = next(iter(run.error.strip().splitlines()[-1:]), "no cause recorded")
        notes.append(
            irregularity("failed", planned, cause, f"{drawn}. Where training diverged, this flatters the method")
        )
    elif run.status != "done":
        notes.append(irregularity("unfinished", planned, run.status, drawn))
    if moved := changed(run):
        notes.append(
            irregularity("freeze broken", planned, f"frozen and yet changed: {', '.join(moved)}", "counted as it is")
        )
    elif run.status == "done" and (bare := unproved(run)):
        notes.append(irregularity("freeze unproved", planned, f"no hashes of: {', '.join(bare)}", "counted as it is"))
    return notes


def step_labels(members: Sequence[RecordedRun], every: int) -> list[Irregularity]:
    """Note rollouts of which the evaluations' grid is no multiple: a step's policy was trained for fewer steps.

    Args:
        members: runs on targets.
        every: env steps between two evaluations.
    """
    envs: dict[int, str] = {}
    for member in members:
        if member.run is not None and every % (rollout := _rollout(member.run)):
            envs.setdefault(rollout, member.planned.env)
    return [
        Irregularity(
            kind="step labels",
            where=env,
            what=f"evaluations every {every:,} steps measure the policy after the last whole rollout of {rollout:,}",
            treatment=f"kept at their steps, for which a policy was trained up to {rollout - 1:,} steps less",
        )
        for rollout, env in envs.items()
    ]


def _rollout(run: RunRecord) -> int:
    """Env steps between two updates; 1 where the record does not tell."""
    hyperparameters = run.specification.get("hyperparameters", {})
    names = ("n_envs", "n_steps" if "n_steps" in hyperparameters else "train_freq")
    values = [hyperparameters.get(name, 1) for name in names]
    return values[0] * values[1] if all(isinstance(value, int) and value > 0 for value in values) else 1


def changed(run: RunRecord) -> list[str]:
    """Return the frozen components whose numbers are not the same before and after."""
    if run.freeze is None or not run.freeze.after:  # it is written when training has ended
        return []
    before, after = run.freeze.before, run.freeze.after
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def unproved(run: RunRecord) -> list[str]:
    """Return the components that the run claims to have frozen and has no hashes of."""
    claimed = run.transplant.frozen if run.transplant else ()
    hashed = run.freeze.before.keys() & run.freeze.after.keys() if run.freeze else ()
    return [name for name in claimed if name not in hashed]


def _oddities(run: RunRecord, curve: Curve, planned: PlannedRun) -> list[Irregularity]:
    notes: list[Irregularity] = []
    if curve.note and run.status == "done":
        notes.append(irregularity("cut off", planned, curve.note, "the finished evaluations are kept"))
    if not len(curve.steps):
        notes.append(irregularity("unfinished", planned, curve.note, "not counted"))
    if lost := int((~np.isfinite(curve.returns)).sum()):
        what = f"{lost} of {len(curve.returns)} evaluations have a return that is not finite"
        treatment = "they count as not reaching the threshold; measures that need them leave the run out"
        notes.append(irregularity("not finite", planned, what, treatment))
    return notes
