"""How well what was known before training predicted the speed-up: each probe against what was measured, null or not."""

import math
from typing import NamedTuple

import msgspec
import numpy as np

from trl_suite.errors import InputError
from trl_suite.evidence import similarity
from trl_suite.evidence.collection import SEED, Collection
from trl_suite.evidence.comparison import Row
from trl_suite.evidence.similarity import Pair, Probed, Probes
from trl_suite.evidence.statistics import Estimate

FILE = "probes.json"  # in the experiment's folder, a list of `Probed`
FEWEST = 3  # pairs of source and target
REPLICATES = 2_000  # of the interval, whose width alone is taken from them


class Prediction(NamedTuple):
    """One probe and one method over all pairs of source and target."""

    probe: str
    method: str
    correlation: Estimate  # Spearman's, with the log speed-up
    without_one: tuple[float, float]  # least and greatest where one pair is left out


def predictions(results: Collection) -> list[Prediction]:
    """Return every probe's rank correlation with the log speed-up of each method, over pairs of source and target.

    The return at step 0 is always known; the other probes come from `probes.json`.

    Raises:
        InputError: `probes.json` is there and cannot be read.
    """
    known = {(found.env, found.source): found.probes for found in probed(results)}
    methods: dict[str, list[Row]] = {}
    for row in results.measures():
        if row.speed_up.n:
            methods.setdefault(row.base or row.method, []).append(row)
    generator = np.random.default_rng(SEED)
    found: list[Prediction] = []
    for method, rows in methods.items():
        for probe in ("return at step 0", "zero_shot", "dynamics", "critic"):
            pairs = [Pair(_value(results, row, probe, known), math.log(row.speed_up.value)) for row in rows]
            if sum(math.isfinite(pair.probe) for pair in pairs) >= FEWEST:
                correlation = similarity.prediction(pairs, generator, REPLICATES)
                found.append(Prediction(probe, method, correlation, similarity.leave_one_out(pairs)))
    return found


def _value(results: Collection, row: Row, probe: str, probes: dict[tuple[str, str], Probes]) -> float:
    """Return a probe's value for a row, NaN where it was not made."""
    if probe == "return at step 0":
        reference = results.references.get(row.env)
        if reference is None or not reference.usable:
            return math.nan
        return (row.zero_shot.value - reference.random) / (reference.reference - reference.random)
    known = probes.get((row.env, row.source)) or probes.get((row.env, ""))
    return float(getattr(known, probe)) if known is not None else math.nan


def probed(results: Collection) -> list[Probed]:
    """Return the probes that were made, in the file's order; none where there is no `probes.json`.

    Raises:
        InputError: it cannot be read.
    """
    path = results.folder / FILE
    if not path.is_file():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Probed])
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: {error}") from None
