"""Effects and their intervals: of the methods on one env, of all methods on all envs (a forest), or a panel an env."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trl_suite.evidence.figures.style import FAINT, INK, SOFT, Look, canvas, intervals, ratio_axis, styled, wrapped
from trl_suite.evidence.results import number_format
from trl_suite.evidence.results.across_targets import Overall
from trl_suite.evidence.results.comparison import MeasureRow

HANDLE_INCHES, LETTER_INCHES = 0.75, 0.095  # widths in a legend: of a line's sample with its gaps, and of a letter


def speed_ups(rows: list[MeasureRow], style: dict[str, Look]) -> Figure:
    """Return each method's speed-up, its 95 % interval, and each pair as a dot, on a log axis.

    Args:
        rows: the methods of one env that have a speed-up.
        style: the look of each method.
    """
    with styled():
        figure = canvas(0.85 + 0.5 * len(rows))
        axis: Axes = figure.subplots()
        for height, row in enumerate(reversed(rows)):
            look = style[row.method]
            dots = np.full(len(row.ratios), height)
            axis.plot(row.ratios, dots, "o", color="none", markeredgecolor=look.colour, markersize=5, alpha=0.7)
            intervals(axis, [height], [row.speed_up], look, size=9)
        _finish(axis, [row.method for row in reversed(rows)])
    return figure


def forest(rows: Sequence[MeasureRow], overall: Sequence[Overall], style: dict[str, Look]) -> Figure:
    """Return the speed-up of each method on each env, and over all envs, with 95 % intervals on a log axis.

    Args:
        rows: those that have a speed-up, in the order of the envs.
        overall: the methods over all envs, drawn below.
        style: the look of each method.
    """
    envs = list(dict.fromkeys(row.env for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    step = 1.0 / (len(methods) + 0.6)
    summed = [overall_row for overall_row in overall if overall_row.speed_up.n]
    with styled():
        figure = canvas(1.3 + 0.24 * (len(rows) + 1.2 * len(summed)) + 0.14 * len(envs))
        axis: Axes = figure.subplots()
        for method in methods:
            method_rows = [row for row in rows if row.method == method]
            heights = [-envs.index(row.env) - step * methods.index(method) for row in method_rows]
            intervals(axis, heights, [row.speed_up for row in method_rows], style[method], size=6)
        for overall_row in summed:
            _diamond(
                axis,
                -len(envs) - step * methods.index(overall_row.method),
                overall_row,
                style[overall_row.method],
                step,
            )
        middle = step * (len(methods) - 1) / 2
        axis.axhline(-len(envs) + 0.5 * (1 - step * (len(methods) - 1)), color=SOFT, linewidth=0.8)
        names = [*envs, *(["all targets"] if summed else [])]
        _finish(axis, names, heights=[-i - middle for i in range(len(names))])
        axis.set_ylim(-len(names) + 1 - middle * 2 - step, step)
        _legend(figure, axis, methods, style)
    return figure


def gains(rows: Sequence[MeasureRow], look: Look, columns: int = 2) -> Figure:
    """Return the gain in score of each method with its 95 % interval; a panel for each env, a line for each method.

    Args:
        rows: in the order of the envs; those of which nothing is claimed are drawn in grey.
        look: of the others.
        columns: panels side by side; panels of one line share their scale.
    """
    envs = list(dict.fromkeys(row.env for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))[::-1]
    lines = -(-len(envs) // columns)
    with styled():
        figure = canvas(0.8 + lines * (0.5 + 0.21 * len(methods)))
        panels = figure.subplots(lines, columns, sharex="row", sharey=True, squeeze=False).ravel()
        for panel, env in zip(panels, envs, strict=False):
            for row in (row for row in rows if row.env == env):
                claimed = look if row.area_claim in ("better", "worse") else look._replace(colour=FAINT)
                intervals(panel, [methods.index(row.method)], [row.area_gain], claimed, size=7)
            panel.axvline(0, color=INK, linewidth=1)
            panel.set_title(env, fontsize=10.5)
            panel.set_yticks(range(len(methods)), list(map(wrapped, methods)))
            panel.tick_params(axis="y", length=0)
        for panel in panels[len(envs) :]:
            panel.remove()
        figure.supxlabel("gain in score over scratch  (right of 0: more)", fontsize=10.5)
    return figure


def _diamond(axis: Axes, height: float, overall_row: Overall, look: Look, step: float) -> None:
    """Draw an overall effect: as wide as its interval over these envs, a line for envs like these."""
    effect, wider = overall_row.speed_up, overall_row.speed_up_elsewhere
    if wider.has_interval:
        axis.plot([wider.low, wider.high], [height, height], color=look.colour, linewidth=1.0)
    if effect.has_interval:
        x, y = [effect.low, effect.value, effect.high, effect.value], [0, 0.3 * step, 0, -0.3 * step]
        axis.fill(x, [height + dy for dy in y], facecolor=look.colour, edgecolor=INK, linewidth=0.7, zorder=3)
    else:
        axis.plot(effect.value, height, marker="D", color=look.colour, markersize=6)


def _legend(figure: Figure, axis: Axes, methods: list[str], style: dict[str, Look]) -> None:
    """Name the methods above the picture, in as many columns as their names leave room for."""
    for method in methods:
        look = style[method]
        axis.plot([], [], marker=look.marker, color=look.colour, label=method, markeredgecolor="white", linewidth=2)
    name_inches = HANDLE_INCHES + LETTER_INCHES * max(map(len, methods))
    columns = max(1, min(4, len(methods), int(figure.get_figwidth() / name_inches)))
    figure.legend(loc="outside upper center", ncols=columns, frameon=False)


def _finish(axis: Axes, names: list[str], heights: Sequence[float] | None = None) -> None:
    axis.axvline(1, color=INK, linewidth=1)
    axis.set_yticks(list(heights) if heights is not None else range(len(names)), list(map(wrapped, names)))
    if heights is None:
        axis.set_ylim(-0.6, len(names) - 0.4)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    ratio_axis(axis)
    axis.set_xlabel(f"speed-up over scratch  (right of {number_format.times(1).replace('.00', '')}: sooner)")
