"""One task after another: what a method knows of every task after each stage, and what that says of its memory.

R[k, j] is the performance on task j after stage k, in units of the way from random to reference, or in returns where
a task has no scale. Every measure is made per seed and meaned over tasks; intervals are over seeds. The scale's own
luck is in none of them: it is the same for all methods.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from trl_suite.evidence.reading.curve import Floats
from trl_suite.evidence.reading.run_records import RecordedRun
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.statistics import estimates, measures
from trl_suite.evidence.statistics.claim import BETTER, Claim, claim
from trl_suite.evidence.statistics.estimates import NAN, Estimate, holm
from trl_suite.record import SCRATCH

if TYPE_CHECKING:
    import pandas as pd

LEARNED_ALONE = 0.95  # score of scratch's area from which on forward transfer divides by next to nothing
MEASURES = ("average", "average_gain", "forward_area", "forward_transfer", "zero_shot", "backward", "forgetting")


class SequenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One method over a whole sequence; scratch stands for a policy that is reset before each stage."""

    method: str
    average: Estimate = Estimate()  # performance after the last stage, mean over tasks (Lopez-Paz & Ranzato 2017, ACC)
    average_gain: Estimate = Estimate()  # the same minus that of scratch, paired
    forward_area: Estimate = Estimate()  # area of a later task's curve minus that of scratch
    forward_transfer: Estimate = Estimate()  # (A - A_scratch) / (1 - A_scratch) of areas (Wolczyk et al. 2021, sec. 4)
    zero_shot: Estimate = Estimate()  # of a task just before its stage, minus the untrained policy (Powers et al. 2022)
    backward: Estimate = Estimate()  # R[last, j] - R[stage of j, j] (Lopez-Paz & Ranzato 2017, BWT)
    forgetting: Estimate = Estimate()  # max over stages before the last of R[k, j], minus R[last, j] (Chaudhry 2018)
    p_average: float = NAN  # of the average's gain, adjusted by Holm for all methods

    @property
    def claim(self) -> Claim:
        """The claim on the average performance against scratch."""
        return claim(self.average_gain, self.p_average, words=BETTER)


class TaskSequence(msgspec.Struct, frozen=True, kw_only=True):
    """A sequence's stages, every method's performance after each, and the measures."""

    stages: tuple[str, ...]  # env of each
    tasks: tuple[str, ...]  # envs, each once
    steps: int  # of a stage
    scored: bool  # whether performance is in units of the way from random to reference
    performance: dict[str, Floats]  # method -> (seeds, 1 + stages, tasks); place 0 is the untrained policy
    rows: tuple[SequenceRow, ...]


class _Stage(NamedTuple):
    env: str
    area: float  # of its learning curve
    success: float  # area of its success rates; NaN where the env speaks of none
    tasks: Mapping[str, float]  # env -> return after it


def find(results: Results) -> TaskSequence | None:
    """Return the sequence of an experiment; None where it has none, or no seed of it is whole."""
    table = results.plan.specification.get("sequence")
    if not table:
        return None
    stages = tuple(table["envs"]) * int(table.get("repeat", 1))
    tasks = tuple(dict.fromkeys(stages))
    scored = all(env in results.scales and results.scales[env].usable for env in tasks)
    reader = _Reader(results, stages, tasks, scored)
    chains = {method: chain for method in results.plan.specification["methods"] if (chain := reader.chains(method))}
    if SCRATCH not in chains:
        return None
    return TaskSequence(
        stages=stages,
        tasks=tasks,
        steps=int(table["steps"]),
        scored=scored,
        performance={method: np.stack([reader.matrix(seed, chain) for seed, chain in by_seed.items()])
                     for method, by_seed in chains.items()},
        rows=_rows(reader, chains, scored),
    )  # fmt: skip


def frame(results: Results) -> "pd.DataFrame":
    """Return one row per method: every measure with the ends of its interval; empty without a sequence."""
    import pandas as pd

    sequence = find(results)
    rows: list[dict[str, object]] = []
    for row in sequence.rows if sequence else ():
        columns: dict[str, object] = {"method": row.method}
        for name in MEASURES:
            value: Estimate = getattr(row, name)
            columns |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        rows.append(columns | {"seeds": row.average.n, "average_claim": row.claim})
    return pd.DataFrame(rows)


class _Reader:
    """Follows the chains of a sequence through an experiment's runs."""

    def __init__(self, results: Results, stages: tuple[str, ...], tasks: tuple[str, ...], scored: bool) -> None:
        self.stages, self.tasks = stages, tasks
        self._scales = {env: (results.scales[env].random, results.scales[env].width) for env in tasks} if scored else {}
        runs = [m for m in results.recorded if m.planned.role in ("target", "revisit")]
        self._after = {(m.planned.source, m.planned.method): m for m in runs if m.planned.source}
        self._scratch = {(m.planned.env, m.planned.seed): m for m in runs if m.planned.method == SCRATCH}
        self._first = {(m.planned.method, m.planned.seed): m for m in runs if not m.planned.source}  # if not scratch's
        self._seeds = list(dict.fromkeys(m.planned.seed for m in runs))

    def chains(self, method: str) -> dict[int, list[_Stage]]:
        """Return the stages of each seed whose chain is whole."""
        chains = {seed: self._chain(method, seed) for seed in self._seeds}
        return {seed: chain for seed, chain in chains.items() if chain}

    def matrix(self, seed: int, chain: list[_Stage]) -> Floats:
        """Return the performance after each stage on each task: (1 + stages, tasks); place 0 is untrained."""
        after = [[self._score(env, stage.tasks[env]) for env in self.tasks] for stage in chain]
        return np.array([[self.untrained(env, seed) for env in self.tasks], *after], dtype=np.float64)

    def untrained(self, env: str, seed: int) -> float:
        """Return the performance before any update."""
        member = self._scratch.get((env, seed))
        curve = member.curve if member else None
        return self._score(env, float(curve.returns[0])) if curve is not None and len(curve.steps) else NAN

    def scratch_area(self, env: str, seed: int) -> float:
        """Return the area of scratch's curve; NaN where its run is not whole."""
        stage = self._stage(self._scratch.get((env, seed)))
        return stage.area if stage else NAN

    def scratch_success(self, env: str, seed: int) -> float:
        """Return the area of scratch's success rates; NaN where its run is not whole, or nothing is a success."""
        stage = self._stage(self._scratch.get((env, seed)))
        return stage.success if stage else NAN

    def _chain(self, method: str, seed: int) -> list[_Stage]:
        begins = self._first.get((method, seed)) if method != SCRATCH else None
        member = begins or self._scratch.get((self.stages[0], seed))
        chain: list[_Stage] = []
        for env in self.stages:
            if method == SCRATCH:
                member = self._scratch.get((env, seed))
            elif chain:
                member = self._after.get((member.planned.folder if member else "", method))
            if (stage := self._stage(member)) is None:
                return []
            chain.append(stage)
        return chain

    def _stage(self, member: RecordedRun | None) -> _Stage | None:
        if member is None or member.run is None or member.run.status != "done" or member.tasks is None:
            return None
        if member.curve is None or len(member.curve.steps) < 2 or not set(self.tasks) <= member.tasks.keys():
            return None
        area = float(measures.area(member.curve.steps, member.curve.returns[None])[0])
        rates = member.curve.success_rates
        success = float(measures.area(member.curve.steps, rates[None])[0]) if rates is not None else NAN
        return _Stage(member.planned.env, self._score(member.planned.env, area), success, member.tasks)

    def _score(self, env: str, value: float) -> float:
        random, width = self._scales.get(env, (0.0, 1.0))
        return (value - random) / width


def _rows(reader: _Reader, chains: Mapping[str, Mapping[int, list[_Stage]]], scored: bool) -> tuple[SequenceRow, ...]:
    averages = {method: {seed: float(reader.matrix(seed, chain)[-1].mean()) for seed, chain in by_seed.items()}
                for method, by_seed in chains.items()}  # fmt: skip
    rows = [_row(reader, method, chains[method], averages, scored) for method in chains]
    adjusted = holm([row.average_gain.p for row in rows])
    return tuple(msgspec.structs.replace(row, p_average=p) for row, p in zip(rows, adjusted, strict=True))


def _row(
    reader: _Reader,
    method: str,
    by_seed: Mapping[int, list[_Stage]],
    averages: Mapping[str, Mapping[int, float]],
    scored: bool,
) -> SequenceRow:
    def over_seeds(measure: Callable[[int, list[_Stage]], float]) -> Estimate:
        return estimates.mean(np.array([measure(seed, chain) for seed, chain in by_seed.items()]))

    row = SequenceRow(
        method=method,
        average=estimates.mean(np.array(list(averages[method].values()))),
        zero_shot=over_seeds(lambda seed, chain: _zero_shot(reader, seed, chain)),
        backward=over_seeds(lambda seed, chain: _backward(reader, seed, chain)),
        forgetting=over_seeds(lambda seed, chain: _forgetting(reader, seed, chain)),
    )
    if method == SCRATCH:
        return row
    pairs = [seed for seed in averages[method] if seed in averages[SCRATCH]]
    gains = np.array([averages[method][seed] - averages[SCRATCH][seed] for seed in pairs])
    return msgspec.structs.replace(
        row,
        average_gain=estimates.effect(gains),
        forward_area=estimates.effect(_over_seeds(reader, by_seed, lambda k, seed, area: area - _own(reader, k, seed))),
        forward_transfer=_forward_transfer(reader, by_seed, scored),
    )


def _forward_transfer(reader: _Reader, by_seed: Mapping[int, list[_Stage]], scored: bool) -> Estimate:
    """Return forward transfer of success rates where all later tasks have them, else of scores where there are any."""
    judged = all(math.isfinite(chain[k].success) for chain in by_seed.values() for k in _first_visits(reader))
    if judged:
        scratch = reader.scratch_success
    elif scored:
        scratch = reader.scratch_area
    else:
        return Estimate()
    alone = _scratch_means(reader, by_seed, scratch)
    if not all(area < LEARNED_ALONE for area in alone.values()):
        return Estimate()

    def transfer(k: int, chain: list[_Stage]) -> float:
        area = chain[k].success if judged else chain[k].area
        return (area - alone[k]) / (1 - alone[k])

    visits = _first_visits(reader)
    return estimates.mean(np.array([_mean([transfer(k, chain) for k in visits]) for chain in by_seed.values()]))


def _own(reader: _Reader, stage: int, seed: int) -> float:
    return reader.scratch_area(reader.stages[stage], seed)


def _over_seeds(
    reader: _Reader, by_seed: Mapping[int, list[_Stage]], measure: Callable[[int, int, float], float]
) -> Floats:
    """Return for each seed the mean over later tasks of a measure of stage, seed and the area of its curve."""
    visits = _first_visits(reader)
    by_stage = [[measure(k, seed, chain[k].area) for k in visits] for seed, chain in by_seed.items()]
    return np.array([_mean(values) for values in by_stage])


def _scratch_means(
    reader: _Reader, by_seed: Mapping[int, list[_Stage]], scratch: Callable[[str, int], float]
) -> dict[int, float]:
    """Return the mean area of scratch's curves at each later task's stage."""
    return {k: float(np.mean([scratch(reader.stages[k], seed) for seed in by_seed])) for k in _first_visits(reader)}


def _first_visits(reader: _Reader) -> list[int]:
    """Return the stages after the first in which a task is learned for the first time."""
    return [k for k, env in enumerate(reader.stages) if k and env not in reader.stages[:k]]


def _zero_shot(reader: _Reader, seed: int, chain: list[_Stage]) -> float:
    matrix = reader.matrix(seed, chain)
    columns = {env: column for column, env in enumerate(reader.tasks)}
    return float(
        np.mean([matrix[k, j] - matrix[0, j] for k in _first_visits(reader) for j in [columns[reader.stages[k]]]])
    )


def _backward(reader: _Reader, seed: int, chain: list[_Stage]) -> float:
    """Return mean over tasks not of the last stage of R[last, j] - R[last stage of j, j]."""
    after = reader.matrix(seed, chain)[1:]
    last = {env: k for k, env in enumerate(reader.stages)}
    return _mean([after[-1, j] - after[last[env], j] for j, env in enumerate(reader.tasks) if env != reader.stages[-1]])


def _forgetting(reader: _Reader, seed: int, chain: list[_Stage]) -> float:
    """Return mean over tasks not of the last stage of max over k from its first stage to the last but one."""
    after = reader.matrix(seed, chain)[1:]
    first = {env: reader.stages.index(env) for env in reader.tasks}
    return _mean(
        [
            after[first[env] : -1, j].max() - after[-1, j]
            for j, env in enumerate(reader.tasks)
            if env != reader.stages[-1]
        ]
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
