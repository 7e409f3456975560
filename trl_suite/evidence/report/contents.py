"""The contents of a report, as plain data: the same for HTML and Markdown; knows no markup."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from trl_suite.evidence.figures import gallery
from trl_suite.evidence.figures.gallery import CaptionedFigure
from trl_suite.evidence.reading.curve import Curves, Floats
from trl_suite.evidence.reading.run_records import Irregularity
from trl_suite.evidence.results import (
    across_targets,
    film_cast,
    mode_ranking,
    probe_prediction,
    run_accounts,
    task_sequence,
    tuning_account,
)
from trl_suite.evidence.results.across_targets import Overall
from trl_suite.evidence.results.budget_readings import BudgetReading
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.factor_contrasts import FactorContrast, contrasts
from trl_suite.evidence.results.film_cast import FilmFile
from trl_suite.evidence.results.headline import Headline, headline
from trl_suite.evidence.results.method_contrasts import MethodContrast
from trl_suite.evidence.results.mode_ranking import ModeRanking
from trl_suite.evidence.results.probe_prediction import Prediction
from trl_suite.evidence.results.return_scale import ReturnScale
from trl_suite.evidence.results.run_accounts import Circumstance, Cost, Treatment
from trl_suite.evidence.results.source_target_matrix import SourceTargetMatrix, matrices
from trl_suite.evidence.results.task_sequence import TaskSequence
from trl_suite.evidence.results.tuning_account import TuningAccount
from trl_suite.evidence.statistics import estimates, measures
from trl_suite.evidence.statistics.estimates import Estimate
from trl_suite.evidence.statistics.similarity import Probed
from trl_suite.record import Plan

DETAILED = 6  # targets with pictures of their own
LARGE = 2_000  # runs of an experiment of which the first target only has pictures
MOST_LISTED_RUNS = 300  # runs whose own numbers a page holds; a page of thousands would be read by nobody
EXAMPLES = 20  # findings of one kind that a page lists where there are many


class RunNumbers(NamedTuple):
    """One run's numbers, so that no picture has to be trusted."""

    method: str
    seed: int
    start: float  # return
    area: float  # return
    end: float  # return
    time: float  # env steps, NaN where it was not timed
    reached: bool
    evaluations: int


class SuccessRates(NamedTuple):
    """Success rates of a method's complete runs: means over samples with 95 % t intervals, cut off at 0 and 1."""

    method: str
    runs: int
    start: Estimate  # of the first evaluation: zero-shot
    area: Estimate  # mean over the budget
    end: Estimate  # of the last evaluation
    forward_transfer: Estimate  # (A - A_scratch) / (1 - A_scratch) of areas (Wolczyk et al. 2021, section 4)


class TargetSection(NamedTuple):
    """The part of the page about one env."""

    env: str
    rows: list[MeasureRow]
    reference: ReturnScale | None
    horizon: int  # env steps
    evaluations: int
    figures: list[CaptionedFigure]
    ranking: ModeRanking | None
    successes: list[SuccessRates]
    singles: list[RunNumbers]


class IrregularityGroup(NamedTuple):
    """The findings of one kind: examples, and how many there are."""

    examples: list[Irregularity]
    total: int


class ReportContents(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report shows."""

    plan: Plan
    headline: Headline
    overall: list[Overall]
    figures: list[CaptionedFigure]  # of the whole experiment
    film: FilmFile
    probed: list[Probed]
    predictions: list[Prediction]
    targets: list[TargetSection]
    treatments: list[Treatment]
    matrices: list[SourceTargetMatrix]
    sequence: TaskSequence | None
    contrasts: list[FactorContrast]
    method_contrasts: tuple[MethodContrast, ...]
    budgets: tuple[BudgetReading, ...]
    sourced: list[MeasureRow]
    retained: list[MeasureRow]
    networks: list[MeasureRow]  # those whose runs' networks were measured
    tuning: TuningAccount
    costs: list[Cost]
    circumstances: list[Circumstance]
    findings: list[IrregularityGroup]
    statuses: dict[str, int]
    seconds: float
    started: str
    unstable: int
    undrawn: int  # targets without pictures of their own
    hashes: bool  # whether every hash is shown


def contents(results: Results, detailed: int | None = None) -> ReportContents:
    """Return a report's contents, with the pictures of the first `detailed` targets, or of as many as is sensible."""
    if detailed is None:
        detailed = DETAILED if len(results.plan.runs) <= LARGE else 1
    rows = results.measures()
    overall = across_targets.overall(results)
    runs = [m.run for m in results.recorded if m.run is not None]
    tuning = tuning_account.account(results)
    ranked = {ranking.env: ranking for ranking in mode_ranking.rankings(results)}
    by_env: dict[str, list[MeasureRow]] = {}
    for row in rows:
        by_env.setdefault(row.env, []).append(row)
    small = len(results.plan.runs) <= MOST_LISTED_RUNS
    targets = [_target(results, env, by_env.get(env, []), ranked.get(env), place < detailed, small)
               for place, env in enumerate(results.envs)]  # fmt: skip
    return ReportContents(
        plan=results.plan,
        headline=headline(results, rows),
        overall=overall,
        figures=gallery.across(results, rows, overall),
        film=film_cast.find(results),
        probed=probe_prediction.probed(results),
        predictions=probe_prediction.predictions(results),
        targets=targets,
        treatments=run_accounts.treatments(results),
        matrices=matrices(results, rows),
        sequence=task_sequence.find(results),
        contrasts=contrasts(results),
        method_contrasts=results.contrasts(),
        budgets=results.budgets(),
        sourced=[row for row in rows if row.source_steps],
        retained=[row for row in rows if row.retention.n],
        networks=[row for row in rows if row.weight_norm.n],
        tuning=tuning,
        costs=run_accounts.costs(results) + tuning.costs,
        circumstances=run_accounts.circumstances(results),
        findings=_findings(results.irregularities),
        statuses=dict(Counter("missing" if m.run is None else m.run.status for m in results.recorded)),
        seconds=sum(run.seconds for run in runs),
        started=min((run.started for run in runs if run.started), default=""),
        unstable=sum(run.unstable_episodes for run in runs),
        undrawn=max(0, len(targets) - detailed),
        hashes=small,
    )


def _findings(findings: Sequence[Irregularity]) -> list[IrregularityGroup]:
    """Return the findings by kind, where there are many only the first of each."""
    kinds: dict[str, list[Irregularity]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    limit = MOST_LISTED_RUNS if len(findings) <= MOST_LISTED_RUNS else EXAMPLES
    return [IrregularityGroup(irregularities[:limit], len(irregularities)) for irregularities in kinds.values()]


def _target(
    results: Results, env: str, rows: list[MeasureRow], ranked: ModeRanking | None, drawn: bool, singles: bool
) -> TargetSection:
    curves = [results.curves[env, method] for method in results.methods(env) if (env, method) in results.curves]
    reference = results.scales.get(env)
    return TargetSection(
        env=env,
        rows=rows,
        reference=reference,
        horizon=int(curves[0].steps[-1]) if curves else 0,
        evaluations=len(curves[0].steps) if curves else 0,
        figures=gallery.of_target(results, env, rows) if drawn else [],
        ranking=ranked,
        successes=[_successes(judged, rows) for judged in curves if judged.success_rates is not None],
        singles=[single for method_curves in curves for single in _singles(method_curves, reference)]
        if singles
        else [],
    )


def _successes(curves: Curves, rows: Sequence[MeasureRow]) -> SuccessRates:
    """Success rates of one method."""
    assert curves.success_rates is not None
    rates = np.where(curves.complete[:, None], curves.success_rates, np.nan)
    areas = measures.area(curves.steps, rates) if len(curves.steps) > 1 else np.full(len(rates), np.nan)
    start, area, end = (_share(values, curves.samples) for values in (rates[:, 0], areas, rates[:, -1]))
    forward = next((row.forward_transfer for row in rows if row.method == curves.method), Estimate())
    return SuccessRates(curves.method, int(curves.complete.sum()), start, area, end, forward)


def _share(values: Floats, samples: Sequence[str]) -> Estimate:
    """Mean of success rates over samples; its interval, where there is one, ends at 0 and 1."""
    mean = estimates.mean(estimates.by_sample(values, samples))
    return msgspec.structs.replace(mean, low=max(mean.low, 0.0), high=min(mean.high, 1.0))


def _singles(curves: Curves, reference: ReturnScale | None) -> list[RunNumbers]:
    threshold = reference.threshold if reference is not None else np.nan
    enough = len(curves.steps) > 1
    nothing = np.full(len(curves.seeds), np.nan)
    areas = measures.area(curves.steps, curves.whole) if enough else nothing
    ends = measures.asymptote(curves.steps, curves.whole) if enough else nothing
    timed = curves.complete & bool(enough and np.isfinite(threshold))
    times, reached = measures.time_to_threshold(curves.steps, curves.returns, threshold) if enough else (nothing, timed)
    return [
        RunNumbers(
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
