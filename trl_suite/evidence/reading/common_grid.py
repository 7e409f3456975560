"""Runs put together on one grid of evaluations: curves of different grids are never averaged."""

from collections import Counter
from dataclasses import replace

import numpy as np

from trl_suite.evidence.reading.curve import Curves, Ints
from trl_suite.evidence.reading.run_records import Irregularity, RecordedRun, irregularity


def once(members: list[RecordedRun], findings: list[Irregularity]) -> list[RecordedRun]:
    """Return the usable runs of an env, each arm, seed and source once: the first in the plan counts."""
    first_runs: dict[tuple[str, int, str], RecordedRun] = {}
    for member in members:
        key = (member.condition.name, member.planned.seed, member.planned.source)
        if member.curve is None or not len(member.curve.steps):
            continue
        if key in first_runs:
            what = f"same env, method, seed and source as {first_runs[key].planned.folder}"
            findings.append(irregularity("duplicate", member.planned, what, "the first one counts, this one does not"))
        else:
            first_runs[key] = member
    return list(first_runs.values())


def gather(env: str, members: list[RecordedRun], findings: list[Irregularity]) -> dict[str, Curves]:
    """Return the curves of an env by arm, on the one grid that most finished runs have."""
    if not members:
        return {}
    grid = _grid(members)
    fitting = [member for member in members if _fits(member, grid, findings)]
    _note_copies(fitting, findings)
    arms: dict[str, list[RecordedRun]] = {}
    for member in fitting:
        arms.setdefault(member.condition.name, []).append(member)
    return {name: _stack(env, name, grid, condition_runs) for name, condition_runs in arms.items()}


def stochastic(curves: Curves, members: dict[str, RecordedRun]) -> Curves | None:
    """Return the same runs as the stochastic policy was evaluated, or None where none of them was."""
    returns = np.full(curves.returns.shape, np.nan)
    for row, folder in enumerate(curves.folders):
        curve = members[folder].curve
        if curve is not None and curve.stochastic is not None:
            returns[row, : len(curve.stochastic)] = curve.stochastic
    return replace(curves, returns=returns, success_rates=None) if np.isfinite(returns).any() else None


def _grid(members: list[RecordedRun]) -> Ints:
    grids = {m.planned.folder: m.curve.steps for m in members if m.curve is not None}
    done = [m for m in members if m.run is not None and m.run.status == "done"]
    if done:
        common = Counter(grids[m.planned.folder].tobytes() for m in done).most_common(1)[0][0]
        return np.frombuffer(common, dtype=np.int64).copy()
    return max(grids.values(), key=len)


def _fits(member: RecordedRun, grid: Ints, findings: list[Irregularity]) -> bool:
    """Whether a run was evaluated on the grid, or as far as it came when it ended early."""
    if member.curve is None or member.run is None:
        return False
    steps = member.curve.steps
    prefix = len(steps) <= len(grid) and np.array_equal(steps, grid[: len(steps)])
    if prefix and (member.run.status != "done" or len(steps) == len(grid)):
        return True
    what = f"evaluated {len(steps)} times up to step {steps[-1]:,}, the others {len(grid)} times up to {grid[-1]:,}"
    treatment = "not counted: curves of different grids are never averaged"
    findings.append(irregularity("other grid", member.planned, what, treatment))
    return False


def _note_copies(members: list[RecordedRun], findings: list[Irregularity]) -> None:
    """Two runs whose curves agree in every digit are one run, or a generator that ignored its seed."""
    seen: dict[tuple[str, bytes], str] = {}
    for member in members:
        if member.curve is None or len(member.curve.steps) < 2:
            continue
        key = (member.condition.name, member.curve.returns.tobytes())
        if key in seen:
            what = f"its curve equals that of {seen[key]} in every digit"
            findings.append(
                irregularity("identical", member.planned, what, "counted; the seeds may not have taken effect")
            )
        seen.setdefault(key, member.planned.folder)


def _stack(env: str, arm: str, grid: Ints, members: list[RecordedRun]) -> Curves:
    returns = np.full((len(members), len(grid)), np.nan)
    complete = np.zeros(len(members), dtype=np.bool_)
    rates = np.full(returns.shape, np.nan)
    for row, member in enumerate(members):
        if member.curve is not None and member.run is not None:
            returns[row, : len(member.curve.steps)] = member.curve.returns
            if member.curve.success_rates is not None:
                rates[row, : len(member.curve.success_rates)] = member.curve.success_rates
            ended = member.run.status == "done" or member.curve.steps[-1] >= member.run.steps
            complete[row] = ended and len(member.curve.steps) == len(grid) and member.run.status != "failed"
    return Curves(
        env=env,
        method=arm,
        steps=grid,
        returns=returns,
        complete=complete,
        seeds=np.array([m.planned.seed for m in members], dtype=np.int64),
        samples=tuple(m.planned.source or f"seed {m.planned.seed}" for m in members),
        folders=tuple(m.planned.folder for m in members),
        seconds=np.array([m.run.seconds if m.run else np.nan for m in members]),
        success_rates=rates if np.isfinite(rates).any() else None,
    )
