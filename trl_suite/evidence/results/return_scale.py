"""The returns that score 0 and 1 on an env, and the thresholds between: given, measured apart, or from scratch."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

import msgspec
import numpy as np

from trl_suite.errors import InputError
from trl_suite.evidence.reading.conditions import robot
from trl_suite.evidence.reading.curve import Curves, Floats
from trl_suite.evidence.reading.run_records import Irregularity
from trl_suite.evidence.statistics import measures
from trl_suite.evidence.statistics.estimates import NAN
from trl_suite.record import Plan

FRACTION = 0.5  # of the way from the random to the reference return, where the threshold lies
LATE = 0.9  # where the second one lies
DRAWS = 1_000  # of the reference's seeds, for intervals


class ScaleDraws(NamedTuple):
    """The scale as other seeds of the reference would have set it."""

    random: Floats  # (draws,), return
    reference: Floats  # (draws,), return
    counts: Floats  # (draws, seeds), how often each seed was drawn

    def at(self, fraction: float) -> Floats:
        """Return each draw's return at a fraction of the way, NaN where there is no such way: (draws,)."""
        return np.where(self.reference > self.random, self.random + fraction * (self.reference - self.random), np.nan)

    @property
    def width(self) -> Floats:
        """Each draw's way from random to reference, NaN where there is none: (draws,)."""
        return np.where(self.reference > self.random, self.reference - self.random, np.nan)


class ReturnScale(msgspec.Struct, frozen=True, kw_only=True):
    """The returns that score 0 and 1 on one env."""

    random: float
    reference: float
    origin: str = "given in the experiment's specification"
    paired: bool = False  # measured on the same scratch runs that the methods are compared with
    env: str = ""
    random_runs: tuple[float, ...] = ()  # of each run that it was measured on; none where it was given
    reference_runs: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()  # of these runs

    @property
    def usable(self) -> bool:
        """Whether the reference exceeds the random return, so that there is a scale."""
        return self.reference > self.random

    @property
    def width(self) -> float:
        """The way from random to reference, in units of return."""
        return self.reference - self.random

    @property
    def runs(self) -> Floats:
        """The random return of each run that it was measured on: (seeds,)."""
        return np.array(self.random_runs)

    @property
    def widths(self) -> Floats:
        """The way from random to reference of each run that it was measured on: (seeds,)."""
        return np.array(self.reference_runs) - self.runs

    @property
    def threshold(self) -> float:
        """The return whose first sustained reaching is timed; NaN where the reference does not exceed the random."""
        return self.at(FRACTION)

    def draws(self) -> ScaleDraws:
        """Return the scale as other seeds would have set it; one draw, the scale itself, where it was given.

        Scales on a robot's scratch runs share their draws, because the methods' pairs are drawn with them and start
        from the same sources; a scale measured apart has draws of its own.
        """
        if not self.seeds:
            return ScaleDraws(np.array([self.random]), np.array([self.reference]), np.ones((1, 0)))
        return _draws(self.random_runs, self.reference_runs, robot(self.env) if self.paired else self.env)

    def at(self, fraction: float) -> float:
        """Return the return at a fraction of the way from random to reference, NaN where there is no such way."""
        return self.random + fraction * (self.reference - self.random) if self.usable else NAN


def find(
    plan: Plan,
    envs: Sequence[str],
    scratch: dict[str, Curves],
    cohorts: dict[str, Curves],
    findings: list[Irregularity],
) -> dict[str, ReturnScale]:
    """Return the reference of each env: from the specification, else from reference runs, else from scratch.

    Args:
        plan: its specification may hold `references`: env -> random, reference, and origin if it is to be said.
        envs: those that have a curve.
        scratch: the paired scratch runs by env.
        cohorts: runs of the role `reference` by env, which no method is compared with.
        findings: an env without a reference, and a cohort that isn't independent, are added to them.

    Raises:
        InputError: the specification's references are malformed.
    """
    scales = _given(plan)
    for env in envs:
        if env not in scales and env in cohorts:
            scales |= _cohort(env, cohorts[env], scratch.get(env), findings)
        if env not in scales and env in scratch:
            scales |= _measured(env, scratch[env], "scratch runs of this experiment", paired=True)
        if env not in scales or not scales[env].usable:
            what = "no finished scratch run" if env not in scales else "scratch ended no better than it started"
            treatment = "no threshold, so no time to threshold and no speed-up"
            findings.append(Irregularity(kind="no reference", where=env, what=what, treatment=treatment))
    return scales


def _given(plan: Plan) -> dict[str, ReturnScale]:
    try:
        return dict(msgspec.convert(plan.specification.get("references", {}), dict[str, ReturnScale]))
    except msgspec.ValidationError as error:
        raise InputError(f"plan.json: references: {error}") from None


def _cohort(env: str, cohort: Curves, scratch: Curves | None, findings: list[Irregularity]) -> dict[str, ReturnScale]:
    """Return the reference from runs that no method is compared with; a seed that both have is left out."""
    taken = set() if scratch is None else set(scratch.seeds.tolist())
    shared = np.array([seed in taken for seed in cohort.seeds.tolist()], dtype=np.bool_)
    if shared.any():
        what = f"{int(shared.sum())} reference runs have seeds of scratch runs that methods are compared with"
        treatment = "those are left out of the reference"
        findings.append(Irregularity(kind="not independent", where=env, what=what, treatment=treatment))
    unshared = replace(cohort, complete=cohort.complete & ~shared)
    return _measured(env, unshared, "scratch runs of their own seeds, which no method is compared with", paired=False)


def _measured(env: str, runs: Curves, whose: str, paired: bool) -> dict[str, ReturnScale]:
    whole = runs.returns[runs.complete]
    finite = np.isfinite(whole).all(axis=1)
    whole = whole[finite]
    if not len(whole) or len(runs.steps) < 2:
        return {}
    starts, ends = measures.zero_shot(whole), measures.asymptote(runs.steps, whole)
    return {
        env: ReturnScale(
            random=float(starts.mean()),
            reference=float(ends.mean()),
            origin=f"the {len(whole)} {whose}",
            paired=paired,
            env=env,
            random_runs=tuple(starts.tolist()),
            reference_runs=tuple(ends.tolist()),
            seeds=tuple(runs.seeds[runs.complete][finite].tolist()),
        )
    }


@lru_cache(maxsize=256)
def _draws(random_runs: tuple[float, ...], reference_runs: tuple[float, ...], whose: str) -> ScaleDraws:
    seeds = len(random_runs)
    generator = np.random.default_rng([seeds, crc32(whose.encode())])
    counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS).astype(np.float64)
    return ScaleDraws(counts @ np.array(random_runs) / seeds, counts @ np.array(reference_runs) / seeds, counts)
