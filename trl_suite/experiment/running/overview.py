"""How far an experiment is: what is done, running, failed, interrupted and waiting, and how long the rest will take."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from trl_suite import record
from trl_suite.evidence.reading.run_records import plan_of
from trl_suite.experiment.running import lease, run_state
from trl_suite.experiment.running.run_state import RUN, VERSIONS, Condition, RunState
from trl_suite.record import Plan, PlannedRun

CONDITIONS: tuple[Condition, ...] = ("done", "running", "failed", "interrupted", "waiting", "refused")


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A run that a process is making."""

    run: str
    host: str
    since: str  # ISO 8601, UTC
    step: int
    steps: int
    speed: float | None  # env steps per second of this attempt, None before its first sign of life


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment as its folder shows it now."""

    question: str
    version: int  # of the experiment file
    counts: dict[Condition, int]
    running: tuple[Running, ...]
    failed: dict[str, str]  # run -> why
    refused: dict[str, str]  # folders that are left alone -> why
    earlier: dict[str, int]  # run that is planned no longer -> the last version of the experiment that wanted it, or 0
    seconds_left: float | None  # at the present speed; None where nobody is at work or nothing is known


def overview(root: Path) -> Overview:
    """Return how far an experiment is.

    Raises:
        InputError: the folder holds no plan, or one that cannot be read.
    """
    plan = plan_of(root)
    states = {planned.folder: run_state.read(root / planned.folder) for planned in plan.runs}
    running = tuple(_running(root, name, state) for name, state in states.items() if state.condition == "running")
    return Overview(
        question=plan.question,
        version=plan.version,
        counts={condition: sum(state.condition == condition for state in states.values()) for condition in CONDITIONS},
        running=running,
        failed={name: state.why for name, state in states.items() if state.condition == "failed"},
        refused={name: state.why for name, state in states.items() if state.condition == "refused"},
        earlier=_earlier(root, states.keys()),
        seconds_left=_left(plan, states, running),
    )


def _running(root: Path, name: str, state: RunState) -> Running:
    owner, heartbeat = lease.holder(root / name), lease.last_heartbeat(root / name)
    return Running(
        run=name,
        host=owner.host if owner else "",
        since=owner.since if owner else "",
        step=heartbeat.step,
        steps=state.steps,
        speed=heartbeat.done / heartbeat.seconds if heartbeat.seconds > 0 and heartbeat.done > 0 else None,
    )


def _left(plan: Plan, states: dict[str, RunState], running: Sequence[Running]) -> float | None:
    """Return the steps that are left over the speed of all runs at work, where they or finished ones show it."""
    done = [state for state in states.values() if state.condition == "done" and state.seconds > 0]
    usual = sum(state.steps for state in done) / sum(state.seconds for state in done) if done else None
    speeds = [run.speed or usual for run in running]
    measured = [speed for speed in speeds if speed]
    if not measured:
        return None
    waiting = [p for p in plan.runs if states[p.folder].condition in ("waiting", "interrupted")]
    steps = sum(run.steps - run.step for run in running) + sum(_budget(plan, run) for run in waiting)
    return steps / (sum(measured) * len(speeds) / len(measured))


def _budget(plan: Plan, planned: PlannedRun) -> int:
    table: dict[str, Any] = plan.specification["source" if planned.role == "source" else "target"]
    return int(table["steps"] or 0)  # a shipped source takes none


def _earlier(root: Path, planned: Any) -> dict[str, int]:
    """Return the runs on disk that no plan of today wants, with the version of the experiment that did."""
    surplus = [str(path.parent.relative_to(root)) for path in root.glob(f"*/*/*/{RUN}")]
    surplus = [name for name in surplus if name not in planned]
    if not surplus:
        return {}
    last_version: dict[str, int] = {}
    for path in sorted((root / VERSIONS).glob("plan-*.json"), key=lambda path: int(path.stem.partition("-")[2])):
        old = record.decode(path, Plan)
        last_version |= dict.fromkeys((run.folder for run in old.runs), old.version)
    return {name: last_version.get(name, 0) for name in sorted(surplus)}
