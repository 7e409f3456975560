"""Gains of one arm over another, seed by seed, with the one claim rule: what all contrasts have in common."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from trl_suite.evidence.reading.curve import Curves
from trl_suite.evidence.results import comparison
from trl_suite.evidence.results.return_scale import ReturnScale
from trl_suite.evidence.statistics.claim import BETTER, Claim, claim
from trl_suite.evidence.statistics.estimates import NAN, Estimate, holm

if TYPE_CHECKING:
    from trl_suite.evidence.results.experiment_results import Results

Row = TypeVar("Row", bound="PairedContrast")


class PairedContrast(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of one arm minus those of another on one env, paired by seed."""

    env: str  # target
    method: str
    area: Estimate  # mean return over the budget, in units of the scale where there is one
    end: Estimate  # return in the last tenth of the budget, likewise
    scaled: bool  # whether there is such a scale
    failed: int = 0  # runs of either arm: what is left may be the better ones, and nothing is claimed of it
    p_area_holm: float = NAN  # adjusted for the contrasts beside it
    p_end_holm: float = NAN  # likewise

    @property
    def area_claim(self) -> Claim:
        """The claim on the mean return over the budget: better or worse."""
        return self._allowed(claim(self.area, self.p_area_holm))

    @property
    def end_claim(self) -> Claim:
        """The claim on the return at the end."""
        return self._allowed(claim(self.end, self.p_end_holm))

    def _allowed(self, bare: Claim) -> Claim:
        return "not shown" if self.failed and bare in BETTER else bare


def adjusted(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of one family with their p values adjusted for one another by Holm, each measure for itself."""
    areas, ends = holm([row.area.p for row in rows]), holm([row.end.p for row in rows])
    return [
        msgspec.structs.replace(row, p_area_holm=area, p_end_holm=end)
        for row, area, end in zip(rows, areas, ends, strict=True)
    ]


def arm_pairs(results: "Results", env: str, method: str, baseline: str) -> Iterator[tuple[Curves, Curves]]:
    """Yield the runs of a method beside those of another on an env: of the same source where either has several."""
    arms = [curves for name in results.methods(env) if (curves := results.curves.get((env, name))) is not None]
    for runs in arms:
        for others in arms:
            one_source, other_source = results.condition(runs).source, results.condition(others).source
            named = (results.condition(runs).method, results.condition(others).method) == (method, baseline)
            if named and (one_source == other_source or "" in (one_source, other_source)):
                yield runs, others


def gains(runs: Curves, others: Curves, scale: ReturnScale | None, seed: int) -> tuple[Estimate, Estimate] | None:
    """Return the gains in area and end of runs over others, in units of the scale; None where nothing can be compared.

    Args:
        runs: of one arm.
        others: of the other.
        scale: of the env; in units of return where it is None.
        seed: of the resampling.
    """
    shared = set(runs.seeds.tolist()) & set(others.seeds.tolist())
    if not shared or len(runs.steps) < 2 or not np.array_equal(runs.steps, others.steps):
        return None
    generator = np.random.default_rng(seed)
    if _has_source(others) and not _has_source(runs):  # pairs are looked up by the source of the first
        area, end = comparison.gains(others, runs, scale, generator)
        return _negated(area), _negated(end)
    return comparison.gains(runs, others, scale, generator)


def usable_scale(results: "Results", env: str) -> ReturnScale | None:
    """Return the scale of an env, None where it has none that can be used."""
    scale = results.scales.get(env)
    return scale if scale is not None and scale.usable else None


def failed_runs(results: "Results", env: str, arms: Sequence[str]) -> int:
    """Count the failed runs of some arms on an env."""
    return sum(
        member.run is not None and member.run.status == "failed" and member.condition.name in arms
        for member in results.recorded
        if member.planned.role == "target" and member.planned.target == env
    )


def until(curves: Curves, step: int) -> Curves | None:
    """Return the curves as if the budget had ended at a step; None where nothing was evaluated there."""
    place = int(np.searchsorted(curves.steps, step))
    if place >= len(curves.steps) or int(curves.steps[place]) != step:
        return None
    return replace(curves, steps=curves.steps[: place + 1], returns=curves.returns[:, : place + 1], success_rates=None)


def flat(row: PairedContrast) -> dict[str, Any]:
    """Return a row as columns, each estimate spread over NAME, NAME_low, NAME_high and NAME_n, and the claims."""
    columns: dict[str, Any] = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        ends = value if isinstance(value, Estimate) else None
        columns |= (
            {name: value}
            if ends is None
            else {name: ends.value, f"{name}_low": ends.low, f"{name}_high": ends.high, f"{name}_n": ends.n}
        )
    return columns | {"area_claim": row.area_claim, "end_claim": row.end_claim}


def _has_source(curves: Curves) -> bool:
    return any(sample.rpartition("seed ")[0] for sample in curves.samples)


def _negated(estimate: Estimate) -> Estimate:
    low, high = -estimate.high, -estimate.low
    value = -estimate.value
    if math.isnan(value):
        return estimate
    return msgspec.structs.replace(
        estimate, value=value, low=low, high=high, at_least=estimate.at_most, at_most=estimate.at_least
    )
