"""The matrix from each source to each target: what each source is worth, by one claim rule over all cells.

Sources and targets stand beside those that they resemble. Everything is of the gain in area over scratch, in units of
the target's scale, and paired by seed.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from scipy.cluster import hierarchy

from trl_suite.evidence.reading.curve import Floats
from trl_suite.evidence.results import comparison
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.statistics import estimates
from trl_suite.evidence.statistics.claim import BETTER, SOONER, Claim, claim
from trl_suite.evidence.statistics.estimates import NAN, Estimate, holm
from trl_suite.record import SCRATCH

if TYPE_CHECKING:
    import pandas as pd


class MatrixCell(msgspec.Struct, frozen=True, kw_only=True):
    """One source on one target."""

    source: str
    target: str
    zero_shot: Estimate  # return before any update
    trained: Estimate = Estimate()  # return after training on the target, mean of the last tenth
    area: Estimate  # gain over scratch, in units of the target's scale
    end: Estimate  # the same of the end
    speed_up: Estimate
    p_area: float = NAN  # of the gain in area, adjusted by Holm for all cells of the matrix
    p_end: float = NAN  # likewise
    p_speed_up: float = NAN  # likewise

    @property
    def area_claim(self) -> Claim:
        """The claim on the gain in area."""
        return claim(self.area, self.p_area, words=BETTER)

    @property
    def end_claim(self) -> Claim:
        """The claim on the gain at the end."""
        return claim(self.end, self.p_end, words=BETTER)

    @property
    def time_claim(self) -> Claim:
        """The claim on the time to threshold."""
        return claim(self.speed_up, self.p_speed_up, null=1.0, words=SOONER)


class Asymmetry(msgspec.Struct, frozen=True, kw_only=True):
    """How much more a to b gains than b to a, paired by seed."""

    first: str
    second: str
    difference: Estimate  # gain from first to second minus gain from second to first
    p: float = NAN  # adjusted by Holm for all pairs


class SourceTargetMatrix(msgspec.Struct, frozen=True, kw_only=True):
    """One method from every source to every target."""

    method: str
    sources: tuple[str, ...]  # those that help alike stand side by side
    targets: tuple[str, ...]  # those that are helped alike stand side by side
    cells: tuple[MatrixCell, ...]
    best: dict[str, str]  # target -> source of the largest mean gain
    reference_transfer: Estimate  # mean over targets of the gain from the source that is best on the other seeds
    asymmetries: tuple[Asymmetry, ...] = ()

    def cell(self, source: str, target: str) -> MatrixCell | None:
        """Return a cell; None where it was not run."""
        return next((cell for cell in self.cells if (cell.source, cell.target) == (source, target)), None)


def matrices(results: Results, rows: Sequence[MeasureRow]) -> list[SourceTargetMatrix]:
    """Return a matrix for each method of which a target has several sources."""
    by_method: dict[str, list[MeasureRow]] = {}
    for row in rows:
        if row.source and row.primary.n:
            by_method.setdefault(row.base or row.method, []).append(row)
    return [
        _matrix(results, method, method_rows)
        for method, method_rows in by_method.items()
        if len({(row.env, row.source) for row in method_rows}) > len({row.env for row in method_rows})
    ]


def frame(results: Results) -> "pd.DataFrame":
    """Return one row per cell of every matrix: method, source, target, estimates with their ends, and claims."""
    import pandas as pd

    return pd.DataFrame(
        [
            {"method": table.method, "source": cell.source, "target": cell.target, "best": table.best.get(cell.target)}
            | _columns(cell)
            for table in matrices(results, results.measures())
            for cell in table.cells
        ]
    )


def _columns(cell: MatrixCell) -> dict[str, Any]:
    names = ("zero_shot", "trained", "area", "end", "speed_up")
    estimates_by_name: dict[str, Estimate] = {name: getattr(cell, name) for name in names}
    columns: dict[str, Any] = {}
    for name, value in estimates_by_name.items():
        columns |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
    return columns | {"area_claim": cell.area_claim, "end_claim": cell.end_claim, "time_claim": cell.time_claim}


def _matrix(results: Results, method: str, rows: Sequence[MeasureRow]) -> SourceTargetMatrix:
    gains = {(row.source, row.env): _gains_by_seed(results, row) for row in rows}
    sources, targets = (tuple(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("source", "env"))
    means = np.array([[_mean(gains.get((source, target), {})) for target in targets] for source in sources])
    return SourceTargetMatrix(
        method=method,
        sources=_side_by_side(sources, means),
        targets=_side_by_side(targets, means.T),
        cells=_cells(rows),
        best={
            target: sources[int(np.nanargmax(means[:, column]))]
            for column, target in enumerate(targets)
            if np.isfinite(means[:, column]).any()
        },
        reference_transfer=_reference_transfer(gains, sources, targets),
        asymmetries=_asymmetries(gains, [name for name in sources if name in targets]),
    )


def _cells(rows: Sequence[MeasureRow]) -> tuple[MatrixCell, ...]:
    """Return the cells, their p values adjusted for all of them and not for the methods of one target."""
    ends = [row.end_gain if row.end_gain.n else row.asymptote_difference for row in rows]
    adjusted = zip(
        holm([row.primary.p for row in rows]),
        holm([end.p for end in ends]),
        holm([row.speed_up.p for row in rows]),
        strict=True,
    )
    return tuple(
        MatrixCell(
            source=row.source, target=row.env, zero_shot=row.zero_shot, trained=row.asymptote, area=row.primary,
            end=end, speed_up=row.speed_up, p_area=p_area, p_end=p_end, p_speed_up=p_time,
        )
        for row, end, (p_area, p_end, p_time) in zip(rows, ends, adjusted, strict=True)
    )  # fmt: skip


def _gains_by_seed(results: Results, row: MeasureRow) -> dict[int, float]:
    """Return the gain in area over scratch of each seed, in units of the target's scale where it has one."""
    runs, scratch = results.curves[row.env, row.method], results.curves[row.env, SCRATCH]
    scale = results.scales.get(row.env)
    width = scale.width if scale is not None and scale.usable else 1.0
    return {seed: gain / width for seed, gain in comparison.area_differences_by_seed(runs, scratch).items()}


def _reference_transfer(
    gains: Mapping[tuple[str, str], Mapping[int, float]], sources: Sequence[str], targets: Sequence[str]
) -> Estimate:
    """Return how much is gained where the best source is chosen for each target, with its interval over seeds.

    RT = 1/N sum over targets of max over sources of the gain (Malagon et al. 2024, CompoNet, section 5). The maximum of
    noisy means is too high, so that a seed's source is chosen on the other seeds: its own noise has no say.
    """
    seeds = sorted({seed for by_seed in gains.values() for seed in by_seed})
    by_seed = np.full((len(seeds), len(targets)), np.nan)
    for row, seed in enumerate(seeds):
        for column, target in enumerate(targets):
            others = {
                source: _mean({s: gain for s, gain in gains.get((source, target), {}).items() if s != seed})
                for source in sources
            }
            finite = {source: mean for source, mean in others.items() if np.isfinite(mean)}
            if finite:
                by_seed[row, column] = gains[max(finite, key=finite.__getitem__), target].get(seed, np.nan)
    whole = by_seed[np.isfinite(by_seed).all(axis=1)]
    return estimates.mean(whole.mean(axis=1)) if len(whole) else Estimate()


def _asymmetries(gains: Mapping[tuple[str, str], Mapping[int, float]], names: Sequence[str]) -> tuple[Asymmetry, ...]:
    """Return every pair of envs of which either was the source of the other."""
    pairs: list[Asymmetry] = []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            there, back = gains.get((first, second), {}), gains.get((second, first), {})
            differences = np.array([there[seed] - back[seed] for seed in there if seed in back])
            if len(differences):
                pairs.append(Asymmetry(first=first, second=second, difference=estimates.effect(differences)))
    adjusted = holm([pair.difference.p for pair in pairs])
    return tuple(msgspec.structs.replace(pair, p=p) for pair, p in zip(pairs, adjusted, strict=True))


def _side_by_side(names: Sequence[str], vectors: Floats) -> tuple[str, ...]:
    """Return the names in the order of the leaves of an average-linkage tree over their rows of gains."""
    if len(names) < 3:
        return tuple(names)
    filled = np.where(np.isfinite(vectors), vectors, 0.0)
    tree = hierarchy.linkage(filled, method="average", optimal_ordering=True)
    return tuple(names[int(leaf)] for leaf in hierarchy.leaves_list(tree))


def _mean(by_seed: Mapping[int, float]) -> float:
    values = [value for value in by_seed.values() if np.isfinite(value)]
    return float(np.mean(values)) if values else NAN
