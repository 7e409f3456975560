"""Speed-up against a quantity: severity of a shift, number of frozen layers; and scores against a threshold."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from trl_suite.evidence.figures.style import FAINT, INK, Look, canvas, label_ends, ratio_axis, styled, wrapped
from trl_suite.evidence.reading import conditions
from trl_suite.evidence.reading.conditions import Shift
from trl_suite.evidence.reading.curve import Floats
from trl_suite.evidence.results.across_targets import Overall
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.statistics import estimates
from trl_suite.evidence.statistics.estimates import Estimate

TICKS = 9  # values that an axis can name
Point = tuple[float, Estimate]  # where, and the speed-up or gain there
Robots = Mapping[str, Mapping[str, Sequence[Point]]]  # robot -> a line's name -> its points


def severities(
    rows: Sequence[MeasureRow], shifts: Mapping[str, Shift]
) -> dict[tuple[str, str], dict[str, list[Point]]]:
    """Return the speed-ups by env and axis, and then by method, in order of the axis' value.

    Only axes with two values or more, the nominal env among them where it is a target.
    """
    points_by_axis: dict[tuple[str, str], dict[str, list[Point]]] = {}
    timed = [row for row in rows if row.speed_up.n]
    for row in timed:
        if shift := shifts.get(row.env):
            points_by_axis.setdefault((shift.env, shift.axis), {}).setdefault(row.method, []).append(
                (shift.value, row.speed_up)
            )
    for (env, _), methods in points_by_axis.items():
        for method, points in methods.items():
            points += [(1.0, row.speed_up) for row in timed if (row.env, row.method) == (env, method)]
            points.sort(key=lambda point: point[0])
    several = {
        key: {m: points for m, points in methods.items() if len(points) > 1} for key, methods in points_by_axis.items()
    }
    return {key: methods for key, methods in several.items() if methods}


def depths(rows: Sequence[MeasureRow]) -> dict[str, list[Point]]:
    """Return the speed-ups of the freeze-depth profile by env, in order of depth; only envs with two depths or more."""
    points_by_source: dict[tuple[str, str], list[Point]] = {}
    for row in rows:
        depth = conditions.depth(row.base or row.method)
        if depth is not None and row.speed_up.n:
            points_by_source.setdefault((row.env, row.source), []).append((depth, row.speed_up))
    several = {
        key: sorted(points, key=lambda point: point[0]) for key, points in points_by_source.items() if len(points) > 1
    }
    sources = Counter(env for env, _ in several)
    return {env + (f" from {source}" if sources[env] > 1 else ""): points for (env, source), points in several.items()}


def overall_depths(overall: Sequence[Overall]) -> dict[str, list[Point]]:
    """Return the freeze-depth profile over all targets, for where they are too many to tell apart."""
    by_depth = [
        (conditions.depth(overall_row.method), overall_row) for overall_row in overall if overall_row.speed_up.n
    ]
    points: list[Point] = sorted(
        ((depth, overall_row.speed_up) for depth, overall_row in by_depth if depth is not None),
        key=lambda point: point[0],
    )
    return {f"all {overall[0].targets} targets": points} if len(points) > 1 else {}


def severity(methods: dict[str, list[Point]], axis_name: str, style: dict[str, Look]) -> Figure:
    """Return speed-up against the value of one axis, where 1 is nominal: the benefit over the distance of the shift."""
    values = sorted({value for points in methods.values() for value, _ in points} | {1.0})
    with styled():
        figure, axis = _ratios(methods, style, logarithmic=True)
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(FixedLocator(values[:: -(-len(values) // TICKS)]))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.axvline(1, color=FAINT, linewidth=1.1, linestyle=(0, (1, 2)))
        axis.set_xlabel(f"{axis_name}, as a multiple of its nominal value\n(dotted: no shift)")
    return figure


def fading(robots: Robots, style: dict[str, Look]) -> Figure:
    """Return speed-up against the rank of a shift, from the mildest on; a panel for each robot, a line for each axis.

    Args:
        robots: robot -> axis -> the speed-up at each value of the axis.
        style: the look of each axis.
    """
    ranked = {robot: {name: _ranked(points) for name, points in axes.items()} for robot, axes in robots.items()}
    figure, panels = _panels(ranked, style, "severity of the shift  (1: mildest)", nothing=1)
    panels[0].set_ylabel("speed-up over scratch")
    ratio_axis(panels[0], vertical=True)
    return figure


def gains(robots: Robots, style: dict[str, Look]) -> Figure:
    """Return the gain in score against the number of frozen layers; a panel for each robot, a line for each target.

    Args:
        robots: robot -> target -> the gain at each depth.
        style: the look of each target.
    """
    figure, panels = _panels(robots, style, "frozen trunk layers  (0: everything is copied and nothing frozen)", 0)
    panels[0].set_ylabel("gain in score over scratch")
    return figure


def _panels(robots: Robots, style: dict[str, Look], below: str, nothing: float) -> tuple[Figure, Sequence[Axes]]:
    """Draw a panel for each robot, whose lines have whole numbers across, and a line where nothing is gained."""
    with styled():
        figure = canvas(4.2)
        panels: Sequence[Axes] = figure.subplots(1, len(robots), sharey=True, squeeze=False)[0]
        for panel, (robot, lines) in zip(panels, robots.items(), strict=True):
            for place, (name, points) in enumerate(lines.items()):
                _line(panel, points, style[name], 0.07 * (place - (len(lines) - 1) / 2))
            panel.set_title(robot, fontsize=10.5)
            panel.axhline(nothing, color=INK, linewidth=1)
            panel.xaxis.set_major_locator(FixedLocator(sorted({x for points in lines.values() for x, _ in points})))
        figure.supxlabel(below, fontsize=10.5)
        for name in dict.fromkeys(name for lines in robots.values() for name in lines):
            look = style[name]
            panels[-1].plot([], [], color=look.colour, linestyle=look.dash, marker=look.marker, label=wrapped(name))
        figure.legend(frameon=False, loc="outside right upper")
    return figure, panels


def _ranked(points: Sequence[Point]) -> list[Point]:
    """Return the points in order of their distance from nominal, at 1, 2, ..."""
    ordered = sorted(points, key=lambda point: abs(np.log(point[0])))
    return [(1.0 + place, estimate) for place, (_, estimate) in enumerate(ordered)]


def _line(axis: Axes, points: Sequence[Point], look: Look, shift: float) -> None:
    """Draw a line of points with their intervals, a little beside the others."""
    x, y = [place + shift for place, _ in points], [estimate.value for _, estimate in points]
    axis.plot(x, y, color=look.colour, linestyle=look.dash, linewidth=1.7, marker=look.marker, markersize=6,
              markeredgecolor="white")  # fmt: skip
    low, high = ([getattr(estimate, end) for _, estimate in points] for end in ("low", "high"))
    axis.vlines(x, low, high, color=look.colour, linewidth=1.3)


def freeze_depth(envs: dict[str, list[Point]], style: dict[str, Look]) -> Figure:
    """Return speed-up against the number of frozen trunk layers, one line per env; depth 0 is plain fine-tuning."""
    values = sorted({value for points in envs.values() for value, _ in points})
    with styled():
        figure, axis = _ratios(envs, style, logarithmic=False)
        axis.xaxis.set_major_locator(FixedLocator(values))
        axis.set_xlabel("frozen trunk layers\n(0: everything is copied and nothing frozen)")
    return figure


def scores(methods: dict[str, Floats], style: dict[str, Look]) -> Figure:
    """Return the share of runs of all targets whose score exceeds a threshold (performance profile).

    Args:
        methods: score of each run, any shape; 0 is untrained and 1 the reference.
        style: the look of each method.
    """
    everything = np.concatenate([method_scores[np.isfinite(method_scores)] for method_scores in methods.values()])
    low, high = np.quantile(everything, [0.01, 0.99])
    thresholds = np.linspace(min(0.0, float(low)), max(1.0, float(high)), 101)
    with styled():
        figure = canvas(3.6)
        axis: Axes = figure.subplots()
        for method, method_scores in methods.items():
            look = style[method]
            share = estimates.performance_profile(method_scores, thresholds)
            axis.plot(thresholds, share, color=look.colour, linestyle=look.dash, linewidth=2.1, marker=look.marker,
                      markevery=12, markersize=5, markeredgecolor="white", label=wrapped(method))  # fmt: skip
        axis.set_ylim(-0.03, 1.03)
        axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axis.set_ylabel("runs above the score")
        axis.set_xlabel("score: mean return over the budget\n0: untrained, 1: the reference")
        axis.grid(axis="y", color="#e8e8e8", linewidth=0.7)
        figure.legend(frameon=False, loc="outside right upper")
    return figure


def _ratios(lines: dict[str, list[Point]], style: dict[str, Look], logarithmic: bool) -> tuple[Figure, Axes]:
    """Draw lines of speed-ups with their intervals, each a little beside the others."""
    figure = canvas(max(3.7, 0.9 + 0.36 * len(lines)))
    axis: Axes = figure.subplots()
    values = [value for points in lines.values() for value, _ in points]
    width = 0.012 * (np.log(max(values) / min(values)) if logarithmic else max(values) - min(values))
    for place, (name, points) in enumerate(lines.items()):
        look, shift = style[name], width * (place - (len(lines) - 1) / 2)
        x = [value * np.exp(shift) if logarithmic else value + shift for value, _ in points]
        y = [estimate.value for _, estimate in points]
        axis.plot(x, y, color=look.colour, linestyle=look.dash, linewidth=1.9, marker=look.marker, markersize=7,
                  markeredgecolor="white")  # fmt: skip
        low, high = ([getattr(estimate, end) for _, estimate in points] for end in ("low", "high"))
        axis.vlines(x, low, high, color=look.colour, linewidth=1.4)
    axis.axhline(1, color=INK, linewidth=1)
    axis.set_ylabel("speed-up over scratch")
    ratio_axis(axis, vertical=True)
    _names(axis, lines, style)
    return figure, axis


def _names(axis: Axes, lines: dict[str, list[Point]], style: dict[str, Look]) -> None:
    """Write the names beside the ends, pushed apart on the log scale."""
    twin = axis.twinx()
    twin.set_ylim(*np.log(axis.get_ylim()))
    twin.set_yticks([])
    twin.spines["right"].set_visible(False)
    ends = [(float(np.log(points[-1][1].value)), name, style[name]) for name, points in lines.items()]
    label_ends(twin, ends)
