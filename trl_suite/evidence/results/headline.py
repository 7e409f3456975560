"""What an experiment shows, in one sentence that claims no more than its seeds allow.

The sentence is about the method that the plan names first after scratch: to pick the best one afterwards would be
to pick the luckiest.
"""

import math
from typing import Literal

import msgspec

from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.number_format import number, plural, ratio, steps, times
from trl_suite.evidence.statistics import estimates
from trl_suite.record import SCRATCH

Kind = Literal["sooner", "later", "undecided", "too few", "nothing"]
FEWEST_TEST_PAIRS = 6  # pairs below which the exact test cannot reach 0.05


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence and what must be known with it."""

    kind: Kind
    sentence: str
    caveats: tuple[str, ...]


def headline(results: Results, rows: tuple[MeasureRow, ...]) -> Headline:
    """Return the verdict on the plan's first method; over several envs it counts them."""
    method = primary(results)
    mine = [row for row in rows if row.method == method]
    if method is None or not mine or all(row.jumpstart.n == 0 for row in mine):
        sentence = "Nothing to compare yet: no run of a method has a finished scratch run of its seed beside it."
        return Headline(kind="nothing", sentence=sentence, caveats=_caveats(results, mine))
    found = [_one(row, results) for row in mine]
    kind, sentence = found[0] if len(found) == 1 else _several(method, found)
    return Headline(kind=kind, sentence=sentence, caveats=_caveats(results, mine))


def primary(results: Results) -> str | None:
    """Return the method that the verdict is about: the first of the plan that has a source, else the first."""
    targets = [m for m in results.recorded if m.planned.role == "target" and m.planned.method != SCRATCH]
    first = next((m.condition.name for m in targets if m.planned.source), None)
    return first or next((m.condition.name for m in targets), None)


def _one(row: MeasureRow, results: Results) -> tuple[Kind, str]:
    effect = row.speed_up
    if effect.n == 0:
        return _by_area(row, results)
    pairs = plural(effect.n, "pair")
    if not effect.has_interval:
        sentence = f"Too few seeds for a claim: {pairs} of {row.method} and scratch on {row.env}, where 3 give an"
        return "too few", f"{sentence} interval and 10 are the default. Measured: speed-up {ratio(effect)}."
    goal = f"a return of {number(results.scales[row.env].threshold)} on {row.env}"
    interval = f"(95 % interval {number(effect.low)} to {number(effect.high)}; {pairs} of runs)"
    if not effect.excludes(1):
        shown = f"{row.method} and scratch differ in the time to {goal}: speed-up {ratio(effect)} {interval}."
        return "undecided", f"It could not be shown that {shown}"
    if effect.value > 1:
        least = "at least " if effect.at_least else ""
        return (
            "sooner",
            f"{row.method} reaches {goal} {least}{number(effect.value)} times sooner than scratch {interval}.",
        )
    return "later", f"{row.method} reaches {goal} later than scratch: speed-up {times(effect.value)} {interval}."


def _by_area(row: MeasureRow, results: Results) -> tuple[Kind, str]:
    """Say what the area says where there is no time to threshold."""
    effect, reference = row.area_difference, results.scales.get(row.env)
    untimed = reference is None or math.isnan(reference.threshold)
    why = "scratch set no threshold" if untimed else "no pair of runs is complete"
    if effect.n == 0:
        return "nothing", f"Nothing to time yet for {row.method} on {row.env}: {why}."
    gain = (
        f"{row.method}'s mean return over the budget on {row.env} differs by {number(effect.value, signed=True)} from"
    )
    pairs = plural(effect.n, "pair")
    if not effect.has_interval:
        return "too few", f"Too few seeds for a claim, and no speed-up ({why}): {gain} scratch's, in {pairs}."
    interval = (
        f"(95 % interval {number(effect.low, signed=True)} to {number(effect.high, signed=True)}; {pairs} of runs)"
    )
    kind: Kind = "undecided" if not effect.excludes(0) else "sooner" if effect.value > 0 else "later"
    shown = ", which shows no difference" if kind == "undecided" else ""
    return kind, f"No speed-up could be measured ({why}): {gain} scratch's {interval}{shown}."


def _several(method: str, found: list[tuple[Kind, str]]) -> tuple[Kind, str]:
    counts = {kind: sum(k == kind for k, _ in found) for kind in ("sooner", "later", "undecided")}
    rest = len(found) - sum(counts.values())
    words = f"sooner in {counts['sooner']}, later in {counts['later']}, undecided in {counts['undecided']}"
    more = f", not measurable in {rest}" if rest else ""
    best = max(counts, key=lambda kind: counts[kind])
    kind: Kind = "nothing" if rest == len(found) else "sooner" if best == "sooner" else "undecided"
    kind = "later" if best == "later" and rest < len(found) else kind
    return (
        kind,
        f"Over {len(found)} targets, {method} reaches the threshold {words}{more} (95 % intervals, each alone).",
    )


def _caveats(results: Results, rows: list[MeasureRow]) -> tuple[str, ...]:
    limits = _limits(rows[0]) if len(rows) == 1 else []  # over several envs, each section says its own
    return tuple(text for text in (_completeness(results), *limits) if text)


def _completeness(results: Results) -> str:
    """Say how much of the plan stands behind the sentence."""
    wanted = len(results.plan.runs)
    statuses = [m.run.status for m in results.recorded if m.run is not None]
    done, failed = statuses.count("done"), statuses.count("failed")
    if done == wanted:
        return ""
    lost = f", {failed} failed" if failed else ""
    return f"The experiment is incomplete: {done} of {plural(wanted, 'run')} done{lost}. The list is below."


def _limits(row: MeasureRow) -> list[str]:
    """Say what the seeds, the grid and the source's cost leave open."""
    said: list[str] = []
    effect = row.speed_up
    if effect.has_interval and effect.n < FEWEST_TEST_PAIRS:
        least = estimates.smallest_p(effect.n)
        said.append(f"With {effect.n} pairs no exact test can go below p = {least:.3g}: a direction, not a proof.")
    if effect.at_least:
        said.append(
            f"{row.at_once} of {row.timed} runs of {row.method} were above the threshold before any update; they are "
            "timed as the first evaluation after it, so the speed-up is a lower bound."
        )
    if effect.has_interval and effect.high - effect.low < 1e-9 * effect.high:
        said.append("All pairs gave the same ratio: times are read off the grid of evaluations, and no finer.")
    if 0 < row.partners < effect.n:
        shared = plural(row.partners, "scratch run")
        said.append(f"The {effect.n} pairs share {shared}: the luck of those is in every pair.")
    if row.source_steps and effect.n:
        said.append(_earned(row))
    return said


def _earned(row: MeasureRow) -> str:
    """Say what the sentence leaves out: the source's own training."""
    cost = f"The source's own {steps(row.source_steps)} env steps are not in this number"
    if not math.isfinite(row.break_even.value):
        return f"{cost}, and the time to the threshold earns none of them back."
    return f"{cost}: they are earned back from {plural(math.ceil(row.break_even.value), 'such target')} on."
