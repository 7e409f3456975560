"""How well what was known before training predicted the speed-up: each probe against what was measured, null or not."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from trl_suite.errors import InputError
from trl_suite.evidence.reading import conditions
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import SEED, Results
from trl_suite.evidence.statistics import similarity
from trl_suite.evidence.statistics.estimates import Estimate
from trl_suite.evidence.statistics.similarity import Pair, Probed, Probes

PROBES = ("return at step 0", "zero_shot", "dynamics", "critic")
PROBES_FILE = "probes.json"  # in the experiment's folder, a list of `Probed`
FEWEST_PROBED_PAIRS = 3  # pairs of source and target
PREDICTION_REPLICATES = 2_000  # of the interval, whose width alone is taken from them


class Prediction(NamedTuple):
    """One probe and one method over all pairs of source and target."""

    probe: str
    method: str
    correlation: Estimate  # Spearman's, with the log speed-up, within robots
    without_one: tuple[float, float]  # least and greatest where one pair is left out


def predictions(results: Results) -> list[Prediction]:
    """Return every probe's rank correlation with the log speed-up of each method, over pairs of source and target.

    The return at step 0 is always known; the other probes come from `probes.json`.

    Raises:
        InputError: `probes.json` is there and cannot be read.
    """
    probes_by_pair = _probes_by_pair(results)
    methods: dict[str, list[MeasureRow]] = {}
    for row in results.measures():
        if row.speed_up.n:
            methods.setdefault(row.base or row.method, []).append(row)
    all_predictions: list[Prediction] = []
    for method, rows in methods.items():
        for probe in PROBES:
            those = [_pair(row, _value(results, row, probe, probes_by_pair)) for row in rows]
            if sum(math.isfinite(pair.probe) for pair in those) >= FEWEST_PROBED_PAIRS:
                all_predictions.append(prediction(probe, method, those))
    return all_predictions


def prediction(probe: str, method: str, pairs: Sequence[Pair]) -> Prediction:
    """Return how well one probe predicted one method's speed-up over some pairs."""
    correlation = similarity.prediction(
        pairs, np.random.default_rng(SEED), PREDICTION_REPLICATES
    )  # whatever else is asked
    return Prediction(probe, method, correlation, similarity.leave_one_out(pairs))


def pairs(results: Results, row: MeasureRow, probes: Sequence[str]) -> dict[str, Pair]:
    """Return the value of each probe that was made of a row's source and target, beside the log speed-up."""
    probes_by_pair = _probes_by_pair(results)
    values = {probe: _value(results, row, probe, probes_by_pair) for probe in probes}
    return {probe: _pair(row, value) for probe, value in values.items() if math.isfinite(value)}


def _pair(row: MeasureRow, value: float) -> Pair:
    return Pair(value, math.log(row.speed_up.value), conditions.robot(row.env))


def _probes_by_pair(results: Results) -> dict[tuple[str, str], Probes]:
    return {(probed_pair.env, probed_pair.source): probed_pair.probes for probed_pair in probed(results)}


def _value(results: Results, row: MeasureRow, probe: str, probes: dict[tuple[str, str], Probes]) -> float:
    """Return a probe's value for a row, NaN where it was not made."""
    if probe == "return at step 0":
        reference = results.scales.get(row.env)
        if reference is None or not reference.usable:
            return math.nan
        return (row.zero_shot.value - reference.random) / (reference.reference - reference.random)
    pair_probes = probes.get((row.env, row.source)) or probes.get((row.env, ""))
    return float(getattr(pair_probes, probe)) if pair_probes is not None else math.nan


def probed(results: Results) -> list[Probed]:
    """Return the probes that were made, in the file's order; none where there is no `probes.json`.

    Raises:
        InputError: it cannot be read.
    """
    path = results.folder / PROBES_FILE
    if not path.is_file():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Probed])
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: {error}") from None
