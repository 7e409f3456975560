"""All pictures that an experiment has the data for, with what stands below each."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from trl_suite.evidence.figures import (
    component_gains,
    effect_intervals,
    learning_curves,
    plasticity_curves,
    profiles,
    sequence_stages,
    survival,
    total_steps,
    transfer_matrix,
)
from trl_suite.evidence.figures.style import LOOKS, Look, looks
from trl_suite.evidence.figures.total_steps import PaidCurves
from trl_suite.evidence.reading import conditions
from trl_suite.evidence.reading.conditions import robot
from trl_suite.evidence.results import across_targets, attribution, source_target_matrix, task_sequence
from trl_suite.evidence.results.across_targets import Overall
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.network_curves import network_curves
from trl_suite.record import SCRATCH


class CaptionedFigure(NamedTuple):
    """A figure with its words."""

    name: str  # of a file, without its ending
    env: str  # the target that it is about, "" for all
    title: str
    caption: str
    figure: Figure


def style(results: Results) -> dict[str, Look]:
    """Return the look of each method in all pictures of an experiment."""
    return looks([method for env in results.envs for method in results.methods(env)])


def across(results: Results, rows: Sequence[MeasureRow], overall: Sequence[Overall]) -> list[CaptionedFigure]:
    """Return the pictures of the whole experiment."""
    return [picture for draw in ACROSS.values() for picture in draw(results, rows, overall)]


def of_target(results: Results, env: str, rows: Sequence[MeasureRow]) -> list[CaptionedFigure]:
    """Return the pictures of one target; `rows` are its own."""
    return list(each_of_target(results, env, rows))


def each_of_target(results: Results, env: str, rows: Sequence[MeasureRow]) -> Iterator[CaptionedFigure]:
    """Yield the pictures of one target, each as it is drawn; `rows` are its own."""
    curves = [results.curves[env, method] for method in results.methods(env) if (env, method) in results.curves]
    reference, looked = results.scales.get(env), style(results)
    if curves:
        figure = learning_curves.learning(curves, reference, looked)
        yield CaptionedFigure(f"learning-{env}", env, "", _learning(results, env, len(curves)), figure)
    if curves and all(method_curves.success_rates is not None for method_curves in curves):
        figure = learning_curves.successes(curves, looked)
        yield CaptionedFigure(f"success-{env}", env, "Success rate", SUCCESS_RATE, figure)
    if timed := [row for row in rows if row.speed_up.n]:
        figure = effect_intervals.speed_ups(timed, looked)
        yield CaptionedFigure(f"speed-up-{env}", env, "Speed-up over scratch", SPEED_UP, figure)
    whole = [method_curves for method_curves in curves if method_curves.complete.any()]
    if whole and reference is not None and reference.usable and len(whole[0].steps) > 1:
        figure = survival.survival(whole, reference.threshold, looked)
        yield CaptionedFigure(f"survival-{env}", env, "Who has reached the threshold when", SURVIVAL, figure)
    yield from _components(results, env)
    if methods := network_curves(results, env):
        figure = plasticity_curves.plasticity_curves(methods, looked)
        yield CaptionedFigure(f"networks-{env}", env, "The networks along the runs", ALONG_CAPTION, figure)


def _forest(results: Results, rows: Sequence[MeasureRow], overall: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    timed = [row for row in rows if row.speed_up.n]
    if len({row.env for row in timed}) < 2:
        return
    if len(timed) > LONGEST:  # one method then, the plan's first: a picture of hundreds of lines shows none
        timed = [row for row in timed if row.method == timed[0].method][:LONGEST]
        overall = [overall_row for overall_row in overall if overall_row.method == timed[0].method]
    yield CaptionedFigure(
        "forest", "", "Speed-up on every target", FOREST, effect_intervals.forest(timed, overall, style(results))
    )


def _matrices(results: Results, rows: Sequence[MeasureRow], _: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    for table in source_target_matrix.matrices(results, rows):
        yield CaptionedFigure(
            f"matrix-{table.method}",
            "",
            f"From each source to each target: {table.method}",
            MATRIX,
            transfer_matrix.gain_grid(transfer_matrix.by_source(table)),
        )


def _map(_: Results, rows: Sequence[MeasureRow], __: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    """Yield the picture of all methods on all targets, where there are several of either."""
    grid = transfer_matrix.by_method(rows)
    if len(grid.lines) > 1 and len(grid.columns) > 1:
        yield CaptionedFigure("map", "", "Where each method gains", MAP, transfer_matrix.gain_grid(grid))


def _sequence(results: Results, _: Sequence[MeasureRow], __: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    if (sequence := task_sequence.find(results)) is not None:
        figure = sequence_stages.stages(sequence, style(results))
        yield CaptionedFigure("sequence", "", "Every task after each stage", SEQUENCE, figure)


def _stages(results: Results, _: Sequence[MeasureRow], __: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    sequence = task_sequence.find(results)
    if sequence is None:
        return
    for method in sequence.performance:
        figure = sequence_stages.performance_matrix(sequence, method)
        yield CaptionedFigure(f"stages-{method}", "", f"After each stage, on each task: {method}", STAGES, figure)


def _severities(results: Results, rows: Sequence[MeasureRow], _: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    for (env, axis), methods in profiles.severities(rows, results.shifts).items():
        figure = profiles.severity(methods, axis, style(results))
        yield CaptionedFigure(
            f"severity-{env}-{axis}", "", f"Benefit against the shift in {axis} of {env}", SEVERITY, figure
        )


def _depths(_: Results, rows: Sequence[MeasureRow], overall: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    envs = profiles.depths(rows)
    if len(envs) > len(LOOKS):
        envs = profiles.overall_depths(overall)
    if envs:
        figure = profiles.freeze_depth(envs, looks(["", *envs]))
        yield CaptionedFigure("freeze-depth", "", "Benefit against the number of frozen layers", DEPTH_CAPTION, figure)


def _profile(results: Results, _: Sequence[MeasureRow], __: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    method_scores = {method: values for method, values in across_targets.scores(results).items() if len(values)}
    if len(results.envs) > 1 and method_scores:
        yield CaptionedFigure(
            "profile", "", "Scores of all runs", PROFILE, profiles.scores(method_scores, style(results))
        )


def _totals(results: Results, _: Sequence[MeasureRow], __: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    """Yield a picture for each robot whose methods have sources."""
    robots: dict[str, list[list[PaidCurves]]] = {}
    for env in results.envs:
        methods = [results.curves[env, name] for name in results.methods(env) if (env, name) in results.curves]
        paid = [PaidCurves(curves, results.source_cost(curves).steps) for curves in methods]
        finite = [method for method in paid if math.isfinite(method.source_steps) and method.curves.complete.any()]
        if any(method.source_steps for method in finite):
            robots.setdefault(robot(env), []).append(finite)
    for name, targets in robots.items():
        title = f"After equal total steps: {name}"
        yield CaptionedFigure(f"total-steps-{name}", "", title, TOTAL, total_steps.total_steps(targets, style(results)))


def _budgets(results: Results, _: Sequence[MeasureRow], __: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    yield from _budget_grid(results, SCRATCH, "budget")


def _finetune_budgets(results: Results, _: Sequence[MeasureRow], __: Sequence[Overall]) -> Iterator[CaptionedFigure]:
    yield from _budget_grid(results, conditions.FULL, f"{conditions.FULL}-budget")


def _budget_grid(results: Results, baseline: str, name: str) -> Iterator[CaptionedFigure]:
    """Yield the picture of all methods by target and budget, where the plan says at which steps it is read."""
    grid = transfer_matrix.by_budget(results.budgets(), baseline)
    if grid.cells:
        title = f"By budget and target, against {baseline}"
        yield CaptionedFigure(name, "", title, BUDGET, transfer_matrix.gain_grid(grid))


def _components(results: Results, env: str) -> Iterator[CaptionedFigure]:
    if contrasts := attribution.contrasts(results, env):
        reference = results.scales.get(env)
        unit = "score" if reference is not None and reference.usable else "return"
        figure = component_gains.components(contrasts, unit)
        yield CaptionedFigure(f"components-{env}", env, "What each component adds", COMPONENTS, figure)


def _learning(results: Results, env: str, methods: int) -> str:
    reference = results.scales.get(env)
    dotted = " Dotted: the threshold." if reference is not None and reference.usable else ""
    panels = " Black, dashed: scratch, the same in every panel." if methods > learning_curves.TOGETHER else ""
    return LEARNING + dotted + panels


LONGEST = 60  # lines of a forest plot
LEARNING = (
    "Undiscounted evaluation return of the deterministic policy against env steps on the target; step 0 is before any "
    "update. Thick line: mean over complete runs. Band: pointwise 95 % t interval of that mean (none below 3 runs). "
    f"Thin lines, where there are {learning_curves.SINGLES} runs at most: single runs; a cross marks where an "
    "unfinished one stops."
)
SUCCESS_RATE = "Share of evaluation episodes that are a success: mean over runs with 95 % t interval."
SPEED_UP = (
    "Time to the threshold from scratch over time with the method. Open circles: one pair of runs each. Filled: "
    "geometric mean; bar: 95 % interval on the logarithms of the paired ratios."
)
SURVIVAL = (
    "Share of complete runs that are still below the threshold; a marker where a run reaches it, a line that stays up "
    "for runs that never do. The area below a line is the restricted mean time. Lines are set apart by a hair."
)
FOREST = (
    "Marker and bar: geometric mean of the paired ratios on one target and its 95 % interval. Diamond: the mean over "
    "all targets, as wide as its 95 % interval for these targets; the line through it is the interval for targets like "
    "these, which are then drawn anew too."
)
MATRIX = (
    "Gain in area over scratch, where 1 is the way from random to reference, and its 95 % interval. Violet: better, "
    "orange: worse. Hatched: nothing is claimed. A claim needs six pairs, an interval without 0, and p < 0.05 after "
    "Holm for all cells. Sources and targets that resemble one another stand side by side."
)
MAP = (
    "Gain in area over scratch, where 1 is the way from random to reference. Violet: better, orange: worse. Hatched: "
    "nothing is claimed, by the same rule as in the tables."
)
SEQUENCE = (
    "Performance on each task before the first stage and after every one, 95 % bands over seeds. A task's own stages "
    "are shaded. 0 is an untrained policy, 1 the reference where there is a scale. Scratch is reset before each stage."
)
STAGES = "Mean performance over seeds after each stage (rows) on each task (columns); a stage's own task is framed."
SEVERITY = "Speed-up over scratch on variants of one env that differ along one axis. Bars: 95 % intervals, each alone."
DEPTH_CAPTION = (
    "Speed-up over scratch where everything is copied and the first layers are held. Bars: 95 % intervals, each alone."
)
PROFILE = (
    "Share of the runs of all targets that score higher than the value on the horizontal axis (performance profile)."
)
TOTAL = (
    "The same curves against all env steps that were paid for: a method begins where its source policy was trained "
    "(dotted), scratch at 0. It is the view of somebody with one target; with N targets a source costs each an Nth."
)
ALONG_CAPTION = (
    "Of the actor at each evaluation, on states of the target that the trained policy visits: units with less than "
    "2.5 % of their layer's mean activity, srank of the last trunk layer, norm of all weights, and the mean KL "
    "divergence of the source's action distribution from the policy's. Bands: pointwise 95 % t intervals."
)
BUDGET = (
    "Gain in the return of the last tenth of the budget, read as if it had ended at each step, where 1 is the way from "
    "random to reference. Violet: better, orange: worse. Hatched: nothing is claimed, by the rule of all tables."
)
COMPONENTS = (
    "Two methods that differ in one respect, seed by seed: the gain in the mean over the budget from copying "
    "(squares) or freezing (triangles) what one of them copies or freezes and the other does not. 95 % t intervals."
)
ACROSS: dict[str, Callable[[Results, Sequence[MeasureRow], Sequence[Overall]], Iterator[CaptionedFigure]]] = {
    "forest": _forest,
    "map": _map,
    "matrix": _matrices,
    "sequence": _sequence,
    "stages": _stages,
    "severity": _severities,
    "freeze-depth": _depths,
    "profile": _profile,
    "total-steps": _totals,
    "budget": _budgets,
    "finetune-budget": _finetune_budgets,
}  # kind of picture of the whole experiment -> those that it has the data for
