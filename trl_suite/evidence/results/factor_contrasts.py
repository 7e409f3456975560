"""Contrasts of factors: what another engine, algorithm, preset or simulator changes, method by method."""

from dataclasses import replace

import msgspec
import numpy as np

from trl_suite.evidence.reading import conditions
from trl_suite.evidence.reading.curve import Curves
from trl_suite.evidence.results import comparison
from trl_suite.evidence.results.experiment_results import SEED, Results
from trl_suite.evidence.statistics.claim import Claim, claim
from trl_suite.evidence.statistics.estimates import NAN, Estimate, holm


class FactorContrast(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one env in two cells that differ in one factor, paired by seed."""

    env: str  # address
    method: str
    factor: str
    value: str
    baseline: str  # the first value of the factor in the experiment's file
    rest: str = ""  # values that the two cells share
    area: Estimate  # mean return over the budget, in units of the baseline's scale where it has one
    end: Estimate  # return in the last tenth of the budget, likewise
    scaled: bool  # whether there is such a scale
    p_area_holm: float = NAN  # adjusted for the methods on the env
    p_end_holm: float = NAN  # likewise

    @property
    def area_claim(self) -> Claim:
        """The claim on the mean return over the budget: better or worse than the baseline."""
        return claim(self.area, self.p_area_holm)

    @property
    def end_claim(self) -> Claim:
        """The claim on the return at the end."""
        return claim(self.end, self.p_end_holm)


def contrasts(results: Results) -> list[FactorContrast]:
    """Return every method of every cell beside the cell that has the factor's first value instead; none without."""
    factors: dict[str, list[str]] = results.plan.specification.get("factors") or {}
    rows: list[FactorContrast] = []
    for target in results.envs:
        values = conditions.cell_values(target)
        for factor, several in factors.items():
            if values.get(factor) in (None, several[0]):
                continue
            baseline = conditions.target_of(conditions.address(target), values | {factor: several[0]})
            rows += _adjusted(
                [
                    row
                    for method in results.methods(target)
                    if (row := _contrast(results, target, baseline, method, factor)) is not None
                ]
            )
    return rows


def _contrast(results: Results, target: str, baseline: str, method: str, factor: str) -> FactorContrast | None:
    runs, others = results.curves.get((target, method)), results.curves.get((baseline, method))
    if runs is None or others is None or not np.array_equal(runs.steps, others.steps) or len(runs.steps) < 2:
        return None
    scale = results.scales.get(baseline)
    usable = scale if scale is not None and scale.usable else None
    area, end = comparison.gains(_by_seed(runs), _by_seed(others), usable, np.random.default_rng(SEED))
    values = conditions.cell_values(target)
    return FactorContrast(
        env=conditions.address(target),
        method=method,
        factor=factor,
        value=values[factor],
        baseline=conditions.cell_values(baseline)[factor],
        rest=", ".join(f"{name}={value}" for name, value in values.items() if name != factor),
        area=area,
        end=end,
        scaled=usable is not None,
    )


def _by_seed(curves: Curves) -> Curves:
    """Return the runs with their seeds as units: two cells share no source, and pairs are those of a seed."""
    return replace(curves, samples=tuple(f"seed {seed}" for seed in curves.seeds.tolist()))


def _adjusted(rows: list[FactorContrast]) -> list[FactorContrast]:
    areas, ends = holm([row.area.p for row in rows]), holm([row.end.p for row in rows])
    return [
        msgspec.structs.replace(row, p_area_holm=area, p_end_holm=end)
        for row, area, end in zip(rows, areas, ends, strict=True)
    ]
