"""State of the networks along the runs of a method: plasticity and distance from the source against env steps."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trl_suite.evidence.reading.curve import Curves, Floats, Ints
from trl_suite.evidence.reading.run_records import NETWORK_MEASURES, NetworkState
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.statistics import estimates
from trl_suite.evidence.statistics.estimates import Band


class NetworkCurves(NamedTuple):
    """Runs of one method on one env whose networks were measured at the same steps."""

    method: str
    steps: Ints  # (evaluations,)
    states: Floats  # (runs, evaluations, measures), in the order of `NETWORK_MEASURES`
    samples: tuple[str, ...]  # (runs,)

    def band(self, measure: str) -> Band:
        """Mean of a measure over samples at each step, with its pointwise 95 % interval: (evaluations,) each."""
        values = self.states[:, :, NETWORK_MEASURES.index(measure)]
        return estimates.band(np.stack([estimates.by_sample(column, self.samples) for column in values.T], axis=1))


def network_curves(results: Results, env: str) -> list[NetworkCurves]:
    """Methods on an env of whose runs the networks were measured along the way; none where only at the end."""
    states = {member.planned.folder: member.networks for member in results.recorded}
    curves = [results.curves[env, name] for name in results.methods(env) if (env, name) in results.curves]
    measured = [_of_method(runs, [states.get(folder, ()) for folder in runs.folders]) for runs in curves]
    return [method for method in measured if len(method.steps) > 1]


def _of_method(runs: Curves, states: Sequence[tuple[NetworkState, ...]]) -> NetworkCurves:
    """Runs whose states are of the same steps as those of the run with most of them."""
    grid = max((tuple(state.step for state in run) for run in states), key=len, default=())
    rows = [row for row, run in enumerate(states) if grid and tuple(state.step for state in run) == grid]
    values = [[[getattr(state, name) for name in NETWORK_MEASURES] for state in states[row]] for row in rows]
    return NetworkCurves(
        method=runs.method,
        steps=np.array(grid, dtype=np.int64),
        states=np.array(values, dtype=np.float64).reshape(len(rows), len(grid), len(NETWORK_MEASURES)),
        samples=tuple(runs.samples[row] for row in rows),
    )
