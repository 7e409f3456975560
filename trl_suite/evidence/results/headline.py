"""The headline of an experiment: one sentence that claims no more than its seeds allow.

The sentence is about the method that the plan names first after scratch: to pick the best one afterwards would be
to pick the luckiest. It opens with the primary measure, the return earned over the budget; times come second.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.number_format import bound_sign, bounds, estimate, number, plural, probability, speed_up
from trl_suite.evidence.results.number_format import steps as format_steps
from trl_suite.evidence.results.source_target_matrix import SourceTargetMatrix, matrices
from trl_suite.evidence.statistics.claim import FEWEST_CLAIM_PAIRS, LEVEL, RULES_SINCE, Claim, counted
from trl_suite.record import SCRATCH

HeadlineKind = Literal["better", "worse", "not shown", "too few", "nothing"]


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence and what must be known with it."""

    kind: HeadlineKind
    sentence: str
    caveats: tuple[str, ...]


def headline(results: Results, rows: tuple[MeasureRow, ...]) -> Headline:
    """Return the headline on the plan's first method; over several envs or sources it counts claims."""
    method = primary(results)
    compared = [row for row in rows if row.method == method]
    if method is None or all(row.jumpstart.n == 0 for row in compared):
        sentence = "Nothing to compare yet: no run of a method has a finished scratch run of its seed beside it."
        return Headline(kind="nothing", sentence=sentence, caveats=_caveats(results, compared))
    base = compared[0].base or method
    if crossed := next((table for table in matrices(results, rows) if table.method == base), None):
        kind, sentence = _over_matrix(crossed)
        return Headline(kind=kind, sentence=sentence, caveats=_caveats(results, []))
    kind, sentence = _on_one(compared[0], results) if len(compared) == 1 else _over_several(method, compared)
    return Headline(kind=kind, sentence=sentence, caveats=_caveats(results, compared))


def primary(results: Results) -> str | None:
    """Return the method that the headline is about: the first of the plan that has a source, else the first."""
    targets = [m for m in results.recorded if m.planned.role == "target" and m.planned.method != SCRATCH]
    first = next((m.condition.name for m in targets if m.planned.source), None)
    return first or next((m.condition.name for m in targets), None)


def _on_one(row: MeasureRow, results: Results) -> tuple[HeadlineKind, str]:
    gain = row.primary
    if gain.n == 0:
        return "nothing", f"Nothing to compare yet for {row.method} on {row.env}: no pair of runs is complete."
    kind, pairs = _kind(row.area_claim), plural(gain.n, "pair")
    if kind == "too few":
        least = f"where {FEWEST_CLAIM_PAIRS} are the fewest and 10 the default"
        sentence = f"Too few seeds for a claim: {pairs} of {row.method} and scratch on {row.env}, {least}."
        times = f", speed-up {speed_up(row.speed_up)}" if row.speed_up.n else ""
        return kind, f"{sentence} Measured: {estimate(gain, signed=True)} {_unit(row)} over the budget{times}."
    p = f"p = {probability(row.p_area_holm)}".replace("= <", "<")
    sure = f"(95 % interval {number(gain.low, signed=True)} to {number(gain.high, signed=True)}; {pairs} of runs; {p})"
    amount = f"{number(abs(gain.value))} {_unit(row)}"
    verb = {"better": f"earns {amount} more than", "worse": f"earns {amount} less than"}.get(kind)
    if verb is None:
        sentence = f"It could not be shown that {row.method} and scratch differ over the budget on {row.env}"
        return kind, f"{sentence}: {number(gain.value, signed=True)} {_unit(row)} {sure}.{_timing(row, results)}"
    return kind, f"Over the budget, {row.method} {verb} scratch on {row.env} {sure}.{_timing(row, results)}"


def _kind(claim: Claim) -> HeadlineKind:
    kinds: dict[Claim, HeadlineKind] = {"better": "better", "worse": "worse", "too few": "too few"}
    return kinds.get(claim, "not shown")


def _unit(row: MeasureRow) -> str:
    return "of the way from untrained to the reference" if row.area_gain.n else "in mean return"


def _timing(row: MeasureRow, results: Results) -> str:
    """Say what the times to threshold allow."""
    effect = row.speed_up
    if not effect.n:
        scale = results.scales.get(row.env)
        untimed = scale is None or math.isnan(scale.threshold)
        return " No speed-up could be measured: scratch set no threshold." if untimed else ""
    goal = f"a return of {number(results.scales[row.env].threshold)}"
    if row.time_claim in ("sooner", "later"):
        ratio = number(effect.value if effect.value >= 1 else 1 / effect.value)
        return f" It reaches {goal} {bound_sign(effect)}{ratio} times {row.time_claim} {bounds(effect)}."
    return f" It is not shown to reach {goal} sooner or later: speed-up {speed_up(effect)}."


def _over_several(method: str, rows: Sequence[MeasureRow]) -> tuple[HeadlineKind, str]:
    areas: list[Claim] = [row.counted_area_claim for row in rows]
    times: list[Claim] = [row.counted_claim for row in rows]
    sentence = f"Over {len(rows)} targets, {method} against scratch earns over the budget: {counted(areas)}"
    rule = f"(p < {LEVEL}, Holm and Benjamini & Hochberg)"
    return _most(areas), f"{sentence}. To the threshold: {counted(times)} {rule}."


def _over_matrix(table: SourceTargetMatrix) -> tuple[HeadlineKind, str]:
    areas: list[Claim] = [cell.area_claim for cell in table.cells]
    times: list[Claim] = [cell.time_claim for cell in table.cells]
    ends = f"from {plural(len(table.sources), 'source')} to {plural(len(table.targets), 'target')}"
    earns = f"{table.method} against scratch earns over the budget: {counted(areas)}"
    rule = f"(p < {LEVEL}, Holm over all cells)"
    return _most(areas), f"Over {len(table.cells)} cells {ends}, {earns}. To the threshold: {counted(times)} {rule}."


def _most(claims: Sequence[Claim]) -> HeadlineKind:
    """Return the claim that is made most often."""
    if all(claim == "not measured" for claim in claims):
        return "nothing"
    return _kind(max(("better", "worse", "not shown", "too few"), key=claims.count))


def _caveats(results: Results, rows: list[MeasureRow]) -> tuple[str, ...]:
    limits = _limits(rows[0]) if len(rows) == 1 else []  # over several envs, each section says its own
    return tuple(text for text in (_completeness(results), *limits, _post_hoc(results)) if text)


def _post_hoc(results: Results) -> str:
    """Say where the rules are younger than the runs."""
    begun = min((m.run.started for m in results.recorded if m.run is not None and m.run.started), default="")
    if not begun or begun >= RULES_SINCE:
        return ""
    return (
        f"Post hoc: the primary measure and the rule for a claim were fixed on {RULES_SINCE[:10]}, after these runs "
        "had been seen."
    )


def _completeness(results: Results) -> str:
    """Say how much of the plan stands behind the sentence."""
    planned = len(results.plan.runs)
    statuses = [m.run.status for m in results.recorded if m.run is not None]
    done, failed = statuses.count("done"), statuses.count("failed")
    if done == planned:
        return ""
    lost = f", {failed} failed" if failed else ""
    return f"The experiment is incomplete: {done} of {plural(planned, 'run')} done{lost}. The list is below."


def _limits(row: MeasureRow) -> list[str]:
    """Say what the seeds, the grid and the source's cost leave open."""
    limits = [_lost(row)] if row.failed else list[str]()
    effect = row.speed_up
    if effect.at_least and row.at_once:
        limits.append(
            f"{row.at_once} of {row.timed} runs of {row.method} were above the threshold before any update; they are "
            "timed as the first evaluation after it, so the speed-up is a lower bound."
        )
    if row.timed > row.reached:
        never = f"{row.timed - row.reached} of {row.timed} runs of {row.method} never reached the threshold"
        limits.append(f"{never}; they are counted with the whole budget.")
    if effect.has_interval and effect.high - effect.low < 1e-9 * effect.high:
        limits.append("All pairs gave the same ratio: times are read off the grid of evaluations, and no finer.")
    if 0 < row.partners < row.primary.n:
        shared = plural(row.partners, "scratch run")
        limits.append(f"The {row.primary.n} pairs share {shared}: the luck of those is in every pair.")
    if row.source_steps and effect.n:
        limits.append(_earned(row))
    return limits


def _lost(row: MeasureRow) -> str:
    """Say why nothing is claimed where runs failed."""
    return (
        f"{plural(row.failed, 'run')} of {row.method} or scratch failed: which ones may have depended on their "
        "returns, so that nothing is claimed."
    )


def _earned(row: MeasureRow) -> str:
    """Say what the sentence leaves out: the source's own training."""
    cost = f"The source's own {format_steps(row.source_steps)} env steps are not in this number"
    if not math.isfinite(row.break_even.value):
        return f"{cost}, and the time to the threshold earns none of them back."
    return f"{cost}: they are earned back from {plural(math.ceil(row.break_even.value), 'such target')} on."
