"""What a report shows, as plain data: the same for HTML and Markdown; knows no markup."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from trl_suite.evidence import account, film, measures, pictures, prediction, ranking, suite
from trl_suite.evidence.account import Circumstance, Cost, Treatment
from trl_suite.evidence.collection import Collection
from trl_suite.evidence.comparison import Row
from trl_suite.evidence.curve import Curves
from trl_suite.evidence.film import Film
from trl_suite.evidence.members import Finding
from trl_suite.evidence.pictures import Picture
from trl_suite.evidence.prediction import Prediction
from trl_suite.evidence.ranking import Ranking
from trl_suite.evidence.references import Reference
from trl_suite.evidence.similarity import Probed
from trl_suite.evidence.suite import Overall
from trl_suite.evidence.verdict import Verdict, verdict
from trl_suite.record import Plan

DETAILED = 6  # targets with pictures of their own
LARGE = 2_000  # runs of an experiment of which the first target only has pictures
SINGLES = 300  # runs whose own numbers a page holds; a page of thousands would be read by nobody
EXAMPLES = 20  # findings of one kind that a page lists where there are many


class Single(NamedTuple):
    """One run's numbers, so that no picture has to be trusted."""

    method: str
    seed: int
    start: float  # return
    area: float  # return
    end: float  # return
    time: float  # env steps, NaN where it was not timed
    reached: bool
    evaluations: int


class Target(NamedTuple):
    """What the page shows of one env."""

    env: str
    rows: list[Row]
    reference: Reference | None
    horizon: int  # env steps
    evaluations: int
    pictures: list[Picture]
    ranking: Ranking | None
    singles: list[Single]


class Found(NamedTuple):
    """The findings of one kind: examples, and how many there are."""

    shown: list[Finding]
    total: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report shows."""

    plan: Plan
    verdict: Verdict
    overall: list[Overall]
    pictures: list[Picture]  # of the whole experiment
    film: Film
    probed: list[Probed]
    predictions: list[Prediction]
    targets: list[Target]
    treatments: list[Treatment]
    sourced: list[Row]
    retained: list[Row]
    costs: list[Cost]
    circumstances: list[Circumstance]
    findings: list[Found]
    statuses: dict[str, int]
    seconds: float
    started: str
    unstable: int
    undrawn: int  # targets without pictures of their own
    hashes: bool  # whether every hash is shown


def page(results: Collection, detailed: int | None = None) -> Page:
    """Return what a report shows, with the pictures of the first `detailed` targets, or of as many as is sensible."""
    if detailed is None:
        detailed = DETAILED if len(results.plan.runs) <= LARGE else 1
    rows = results.measures()
    overall = suite.overall(results)
    runs = [m.run for m in results.members if m.run is not None]
    ranked = {found.env: found for found in ranking.rankings(results)}
    by_env: dict[str, list[Row]] = {}
    for row in rows:
        by_env.setdefault(row.env, []).append(row)
    small = len(results.plan.runs) <= SINGLES
    targets = [_target(results, env, by_env.get(env, []), ranked.get(env), place < detailed, small)
               for place, env in enumerate(results.envs)]  # fmt: skip
    return Page(
        plan=results.plan,
        verdict=verdict(results, rows),
        overall=overall,
        pictures=pictures.across(results, rows, overall),
        film=film.find(results),
        probed=prediction.probed(results),
        predictions=prediction.predictions(results),
        targets=targets,
        treatments=account.treatments(results),
        sourced=[row for row in rows if row.source_steps],
        retained=[row for row in rows if row.retention.n],
        costs=account.costs(results),
        circumstances=account.circumstances(results),
        findings=_findings(results.findings),
        statuses=dict(Counter("missing" if m.run is None else m.run.status for m in results.members)),
        seconds=sum(run.seconds for run in runs),
        started=min((run.started for run in runs if run.started), default=""),
        unstable=sum(run.unstable_episodes for run in runs),
        undrawn=max(0, len(targets) - detailed),
        hashes=small,
    )


def _findings(findings: Sequence[Finding]) -> list[Found]:
    """Return the findings by kind, where there are many only the first of each."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    limit = SINGLES if len(findings) <= SINGLES else EXAMPLES
    return [Found(mine[:limit], len(mine)) for mine in kinds.values()]


def _target(
    results: Collection, env: str, rows: list[Row], ranked: Ranking | None, drawn: bool, singles: bool
) -> Target:
    curves = [results.curves[env, method] for method in results.methods(env) if (env, method) in results.curves]
    reference = results.references.get(env)
    return Target(
        env=env,
        rows=rows,
        reference=reference,
        horizon=int(curves[0].steps[-1]) if curves else 0,
        evaluations=len(curves[0].steps) if curves else 0,
        pictures=pictures.of_target(results, env, rows) if drawn else [],
        ranking=ranked,
        singles=[single for found in curves for single in _singles(found, reference)] if singles else [],
    )


def _singles(curves: Curves, reference: Reference | None) -> list[Single]:
    threshold = reference.threshold if reference is not None else np.nan
    enough = len(curves.steps) > 1
    nothing = np.full(len(curves.seeds), np.nan)
    areas = measures.area(curves.steps, curves.whole) if enough else nothing
    ends = measures.asymptote(curves.steps, curves.whole) if enough else nothing
    timed = curves.complete & bool(enough and np.isfinite(threshold))
    times, reached = measures.time_to_threshold(curves.steps, curves.returns, threshold) if enough else (nothing, timed)
    return [
        Single(
            method=curves.method,
            seed=int(curves.seeds[i]),
            start=float(curves.returns[i, 0]),
            area=float(areas[i]),
            end=float(ends[i]),
            time=float(times[i]) if timed[i] else float("nan"),
            reached=bool(reached[i]),
            evaluations=int(np.isfinite(curves.returns[i]).sum()),
        )
        for i in range(len(curves.seeds))
    ]
