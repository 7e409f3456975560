"""Both ways of evaluating side by side: the deterministic and the stochastic policy can rank methods differently."""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results


class ModeRank(NamedTuple):
    """One method in both ways of evaluating."""

    method: str
    deterministic: MeasureRow
    stochastic: MeasureRow
    places: tuple[int, int]  # by mean return over the budget, 1 is best


class ModeRanking(NamedTuple):
    """The methods of one env in both ways of evaluating."""

    env: str
    places: tuple[ModeRank, ...]
    reversed: tuple[tuple[str, str], ...]  # pairs of methods: the first is ahead deterministically, and only so


def rankings(results: Results) -> list[ModeRanking]:
    """Return the ranking of each env where methods were evaluated both ways; by the mean return over the budget."""
    if not results.stochastic:
        return []
    modes = [{(row.env, row.method): row for row in results.measures(mode)} for mode in ("deterministic", "stochastic")]
    env_rankings = [
        _ranking(env, [(modes[0][key], modes[1][key]) for key in modes[1] if key[0] == env]) for env in results.envs
    ]
    return [ranking for ranking in env_rankings if ranking.places]


def _ranking(env: str, rows: list[tuple[MeasureRow, MeasureRow]]) -> ModeRanking:
    evaluated = [pair for pair in rows if all(row.area.n for row in pair)]
    heights = [[pair[mode].area.value for pair in evaluated] for mode in (0, 1)]
    places = [[1 + sum(other > height for other in mode) for height in mode] for mode in heights]
    swapped = tuple(
        (evaluated[i][0].method, evaluated[j][0].method)
        for a, b in combinations(range(len(evaluated)), 2)
        for i, j in (((a, b) if heights[0][a] > heights[0][b] else (b, a)),)
        if np.sign(heights[0][i] - heights[0][j]) * np.sign(heights[1][i] - heights[1][j]) < 0
    )
    ranks = tuple(
        ModeRank(det.method, det, sto, (places[0][i], places[1][i])) for i, (det, sto) in enumerate(evaluated)
    )
    return ModeRanking(env, tuple(sorted(ranks, key=lambda place: place.places)), swapped)
