"""The results of one experiment: its curves, its measures, and everything that is missing or odd.

Nothing is dropped silently: what is not counted stands in `Results.irregularities` with what was done about it.
"""

import importlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from trl_suite.evidence.reading import conditions
from trl_suite.evidence.reading.common_grid import gather, once, stochastic
from trl_suite.evidence.reading.conditions import Condition, Shift
from trl_suite.evidence.reading.curve import MODES, Curves, Floats
from trl_suite.evidence.reading.run_records import (
    Irregularity,
    RecordedRun,
    files,
    irregularity,
    plan_of,
    recorded_run,
    step_labels,
    surplus,
)
from trl_suite.evidence.results import budget_readings, comparison, dataframes, method_contrasts, return_scale
from trl_suite.evidence.results.budget_readings import BudgetReading
from trl_suite.evidence.results.comparison import MeasureRow, SourceCost
from trl_suite.evidence.results.method_contrasts import MethodContrast
from trl_suite.evidence.results.return_scale import ReturnScale
from trl_suite.evidence.statistics import measures
from trl_suite.record import SCRATCH, Plan, PlannedRun, RunRecord

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_VIEWS = (
    "trl_suite.evidence.report"  # the floor above: loaded when a view is asked for, since Matplotlib takes a second
)
LISTED_MAX = 6  # names of targets or methods in a line
SEED = 0  # of the resampling in a report: the same runs give the same page


@dataclass(frozen=True, kw_only=True, repr=False)
class Results:
    """An experiment's plan, its runs in planned order, the curves by env and arm, and all findings.

    `measures()`, `contrasts()` and `budgets()` are its numbers as objects; `summary()`, `runs()` and `frame()` are data
    frames; `plot(kind)` draws.
    """

    folder: Path
    plan: Plan
    recorded: tuple[RecordedRun, ...]
    curves: dict[tuple[str, str], Curves]  # of the deterministic policy
    stochastic: dict[tuple[str, str], Curves]  # the same runs; empty where only the deterministic one was evaluated
    scales: dict[str, ReturnScale]
    irregularities: tuple[Irregularity, ...]

    def __repr__(self) -> str:
        """Return a line: how many runs are done, on which targets, by which methods."""
        done = sum(m.run is not None and m.run.status == "done" for m in self.recorded)
        methods = list(dict.fromkeys(method for env in self.envs for method in self.methods(env)))
        names = [f"{len(all_)} {kind}s" if len(all_) > LISTED_MAX else ", ".join(all_)
                 for kind, all_ in (("target", self.envs), ("method", methods))]  # fmt: skip
        return f"<Results of {self.plan.name}: {done} of {len(self.recorded)} runs done; {names[0]}; {names[1]}>"

    def _repr_html_(self) -> str:
        """Return the headline, and one row per target and method, for a notebook."""
        return _view("notebook_page").page(self)

    @classmethod
    def read(cls, runs: Path) -> Self:
        """Return the experiment in a folder, complete or not.

        Raises:
            InputError: the folder holds no plan, or one that cannot be read, or its archive of runs is damaged.
        """
        plan = plan_of(runs)
        arms = conditions.conditions_of(plan)
        files_by_run = files(runs)
        findings = surplus(files_by_run, plan)
        members = tuple(
            recorded_run(runs, files_by_run, planned, arms[planned.folder], plan, findings) for planned in plan.runs
        )
        targets = [m for m in members if m.planned.role == "target"]
        curves = _gather(targets, findings)
        findings += step_labels(targets, plan.every)
        cohorts = _gather([m for m in members if m.planned.role == "reference"], findings)
        _compare(curves, plan, findings)
        scratch = {env: env_curves for (env, arm), env_curves in curves.items() if arm == SCRATCH}
        apart = {env: env_curves for (env, arm), env_curves in cohorts.items() if arm == SCRATCH}
        envs = tuple(dict.fromkeys(env for env, _ in curves))
        scales = return_scale.find(plan, envs, scratch, apart, findings)
        return cls(
            folder=runs,
            plan=plan,
            recorded=members,
            curves=curves,
            stochastic=_stochastic(curves, members),
            scales=scales,
            irregularities=tuple(findings),
        )

    @property
    def envs(self) -> tuple[str, ...]:
        """The target envs, in planned order."""
        return tuple(self._conditions)

    def methods(self, env: str) -> tuple[str, ...]:
        """Return the arms planned on an env: scratch first, then in planned order."""
        return tuple(sorted(self._conditions.get(env, {}), key=lambda name: name != SCRATCH))

    def condition(self, curves: Curves) -> Condition:
        """Return method and source of some curves."""
        return self._conditions[curves.env][curves.method][0]

    def measures(self, mode: str = MODES[0]) -> tuple[MeasureRow, ...]:
        """Return one row per env and method that has a curve, scratch first.

        Args:
            mode: `deterministic`, or `stochastic` for the other way of evaluating; thresholds are the same.
        """
        return self._deterministic if mode == MODES[0] else self._rows(self.stochastic)

    def contrasts(self) -> tuple[MethodContrast, ...]:
        """Return the pairs of methods that the experiment contrasts, the first minus the second, on every target."""
        return self._contrasts

    def budgets(self) -> tuple[BudgetReading, ...]:
        """Return the gains over scratch and over fine-tuning as if the budget had ended at each step of `read_at`."""
        return self._budgets

    def reading_at(self, steps: Sequence[int]) -> Self:
        """Return the same results, read off at other steps.

        Raises:
            InputError: nothing is evaluated at one of them on any target.
        """
        budget_readings.check(self, steps)
        specification = self.plan.specification | {"read_at": sorted(steps)}
        return replace(self, plan=msgspec.structs.replace(self.plan, specification=specification))

    @cached_property
    def _contrasts(self) -> tuple[MethodContrast, ...]:
        return method_contrasts.contrasts(self, SEED)

    @cached_property
    def _budgets(self) -> tuple[BudgetReading, ...]:
        return budget_readings.readings(self, SEED)

    @cached_property
    def _deterministic(self) -> tuple[MeasureRow, ...]:
        return self._rows(self.curves)

    @cached_property
    def _conditions(self) -> dict[str, dict[str, tuple[Condition, int]]]:
        """The conditions of each target env with the number of runs planned."""
        conditions_by_run = {m.planned.folder: m.condition for m in self.recorded}
        conditions_by_env: dict[str, dict[str, tuple[Condition, int]]] = {}
        counts = Counter((p.target, conditions_by_run[p.folder]) for p in self.plan.runs if p.role == "target")
        for (env, arm), count in counts.items():
            conditions_by_env.setdefault(env, {})[arm.name] = (arm, count)
        return conditions_by_env

    @cached_property
    def shifts(self) -> dict[str, Shift]:
        """How far each target is from its nominal form, of those that depart from it along one axis."""
        worlds = {m.planned.target: m.run.specification.get("env_spec", {}) for m in self.recorded if m.run is not None}
        shift_by_env = {env: conditions.shift(env, world.get("variation", {})) for env, world in worlds.items()}
        return {env: shift for env, shift in shift_by_env.items() if shift is not None}

    @cached_property
    def _sources(self) -> dict[str, RecordedRun]:
        return {m.planned.folder: m for m in self.recorded if m.planned.role == "source"}

    @cached_property
    def _members(self) -> dict[str, RecordedRun]:
        return {m.planned.folder: m for m in self.recorded}

    def source_cost(self, curves: Curves) -> SourceCost:
        """Return the cost of one source policy of these runs: 0 without a source, NaN where unknown."""
        folders = {self._members[folder].planned.source for folder in curves.folders} - {""}
        chains = [chain for folder in folders if (chain := self._chain(folder))]
        if not folders:
            return SourceCost()
        if not chains:
            return SourceCost(float("nan"), float("nan"))
        return SourceCost(
            float(np.mean([sum(run.steps for run in chain) for chain in chains])),
            float(np.mean([sum(run.seconds for run in chain) for chain in chains])),
        )

    def _chain(self, folder: str) -> list[RunRecord]:
        """Return the run in a folder and those that it builds on, of a sequence's stage all before; [] if unknown."""
        chain: list[RunRecord] = []
        while folder:
            member = self._members.get(folder)
            if member is None or member.run is None:
                return []
            chain.append(member.run)
            folder = member.planned.source
        return chain

    def frame(self) -> "pd.DataFrame":
        """Return one row per run and evaluation as a data frame: see `dataframes.evaluations` for its columns."""
        return dataframes.evaluations(self)

    def runs(self) -> "pd.DataFrame":
        """Return one row per planned run: how it ended, and its own measures."""
        return dataframes.runs(self)

    def summary(self) -> "pd.DataFrame":
        """Return one row per env and method: the measures with their intervals."""
        return dataframes.summary(self)

    def report(self, path: str | Path) -> Path:
        """Write the report and return where it is: .html, .md, .csv, .tex, .parquet, or a folder of all of them.

        Raises:
            InputError: another ending.
            StorageError: it cannot be written.
            NotInstalledError: Parquet without pyarrow.
        """
        return _view("report_files").save(self, Path(path))

    def plot(self, kind: str = "curves", env: str | None = None) -> "Figure":
        """Return one of the report's pictures as a Matplotlib figure, which a notebook shows and `savefig` stores.

        Args:
            kind: of a target `curves`, `speed-up`, `survival`, `components` or `networks`; of all targets `forest`,
                `matrix`, `sequence`, `stages`, `severity`, `freeze-depth`, `profile`, `map`, `total-steps`, `budget` or
                `finetune-budget`.
            env: the target; needed where there are several.

        Raises:
            InputError: no such kind or target, or what is done does not suffice for the picture.
        """
        return _view("plots").plot(self, kind, env)

    def tensorboard(self) -> Path:
        """Write what TensorBoard shows of the experiment as a whole into its folder and return where it is.

        Raises:
            StorageError: it cannot be written.
        """
        return _view("tensorboard_events").write(self)

    def _rows(self, curves: dict[tuple[str, str], Curves]) -> tuple[MeasureRow, ...]:
        generator = np.random.default_rng(SEED)
        rows = [row for env in self.envs for row in self._rows_of(env, curves, generator)]
        return tuple(comparison.adjusted_over_envs(rows))

    def _rows_of(
        self, env: str, curves: dict[tuple[str, str], Curves], generator: np.random.Generator
    ) -> list[MeasureRow]:
        scratch, scale = curves.get((env, SCRATCH)), self.scales.get(env)
        rows: list[MeasureRow] = []
        for method in self.methods(env):
            if (runs := curves.get((env, method))) is None:
                continue
            condition, planned = self._conditions[env][method]
            row = comparison.alone(runs, scale, planned, condition, self.source_cost(runs), self._retained(runs))
            networks = [next(reversed(self._members[folder].networks), None) for folder in runs.folders]
            row = comparison.with_networks(row, networks, runs.samples)
            if scratch is not None and method != SCRATCH:
                row = comparison.against(row, runs, scratch, scale, generator)
            if (finetune := self._finetune(env, method, curves)) is not None:
                row = comparison.over_finetune(row, runs, finetune, scale, generator)
            rows.append(msgspec.structs.replace(row, failed=self._failed(env, method)))
        return comparison.adjusted_on_env(rows)

    def _failed(self, env: str, method: str) -> int:
        """Count the failed runs of a method and of scratch on an env: a cut that may depend on the return."""
        return sum(
            m.run is not None and m.run.status == "failed" and m.planned.env == env
            for m in self.recorded
            if m.planned.role == "target" and m.condition.name in (method, SCRATCH)
        )

    def _finetune(self, env: str, method: str, curves: dict[tuple[str, str], Curves]) -> Curves | None:
        """Return the fine-tuned runs that a method is compared with too: those of its source, if there are several."""
        source = self._conditions[env][method][0].source
        others = [condition for condition, _ in self._conditions[env].values() if condition.method == conditions.FULL]
        fitting = [other.name for other in others if other.source == source or not source]
        if method in (SCRATCH, *fitting) or len(fitting) != 1:
            return None
        return curves.get((env, fitting[0]))

    def _retained(self, curves: Curves) -> Floats:
        """Return the share of the source's gain on its own env that each policy kept: (runs,), NaN if not measured."""
        retained = np.full(len(curves.folders), np.nan)
        for row, folder in enumerate(curves.folders):
            member = self._members[folder]
            source = self._sources.get(member.planned.source)
            if member.home is None or not len(member.home.steps) or source is None or source.curve is None:
                continue
            if len(source.curve.steps):
                before, after = member.home.returns[[0]], member.home.returns[[-1]]
                retained[row] = measures.retention(before, after, random=float(source.curve.returns[0]))[0]
        return retained


def load(runs: str | Path) -> Results:
    """Return the results of the experiment in a folder, complete or not.

    Raises:
        InputError: the folder holds no plan, or one that cannot be read.
    """
    return Results.read(Path(runs))


def _view(name: str) -> Any:
    return importlib.import_module(f"{_VIEWS}.{name}")


def _gather(members: list[RecordedRun], findings: list[Irregularity]) -> dict[tuple[str, str], Curves]:
    """Return the curves of all envs, each on its own grid."""
    envs: dict[str, list[RecordedRun]] = {}
    for member in members:
        envs.setdefault(member.planned.target, []).append(member)
    return {
        (env, arm): curves
        for env, env_members in envs.items()
        for arm, curves in gather(env, once(env_members, findings), findings).items()
    }


def _stochastic(
    curves: dict[tuple[str, str], Curves], members: tuple[RecordedRun, ...]
) -> dict[tuple[str, str], Curves]:
    folders = {m.planned.folder: m for m in members}
    stochastic_curves = {key: stochastic(method_curves, folders) for key, method_curves in curves.items()}
    return {key: method_curves for key, method_curves in stochastic_curves.items() if method_curves is not None}


def _compare(curves: dict[tuple[str, str], Curves], plan: Plan, findings: list[Irregularity]) -> None:
    """Note every run that has no scratch run of its seed."""
    folders: dict[str, PlannedRun] = {p.folder: p for p in plan.runs}
    for (env, method), method_curves in curves.items():
        scratch = curves.get((env, SCRATCH))
        seeds = set() if scratch is None else set(scratch.seeds.tolist())
        for folder, seed in zip(method_curves.folders, method_curves.seeds.tolist(), strict=True):
            if method != SCRATCH and seed not in seeds:
                treatment = "in the method's own measures, not in the comparison"
                findings.append(irregularity("no pair", folders[folder], f"no scratch run with seed {seed}", treatment))
