"""Contrasts of factors: what another engine, algorithm, preset or simulator changes, method by method."""

from dataclasses import replace

import numpy as np

from trl_suite.evidence.reading import conditions
from trl_suite.evidence.reading.curve import Curves
from trl_suite.evidence.results import comparison, paired_contrast
from trl_suite.evidence.results.experiment_results import SEED, Results
from trl_suite.evidence.results.paired_contrast import PairedContrast


class FactorContrast(PairedContrast, frozen=True, kw_only=True):
    """One method on one env in two cells that differ in one factor, paired by seed.

    `env` is an address, and the scale is that of the baseline.
    """

    factor: str
    value: str
    baseline: str  # the first value of the factor in the experiment's file
    rest: str = ""  # values that the two cells share


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
            rows += paired_contrast.adjusted(
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
    usable = paired_contrast.usable_scale(results, baseline)
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
