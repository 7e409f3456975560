"""Learning curves: return against target env steps."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from trl_suite.evidence.figures.style import (
    FAINT,
    SOFT,
    WIDTH,
    Look,
    ShownFigure,
    canvas,
    figure_width,
    label_ends,
    label_room,
    styled,
)
from trl_suite.evidence.reading.curve import Curves, Floats
from trl_suite.evidence.results import number_format
from trl_suite.evidence.results.return_scale import ReturnScale
from trl_suite.evidence.statistics import estimates
from trl_suite.evidence.statistics.estimates import Band

PANEL_HEIGHT = 4.7  # inches, of a single panel as wide as a page
TOGETHER = 5  # methods that one panel can show; more get a panel each, beside scratch
NAME_PLACE = 0.02  # where the vertical axis's name begins, of the figure's width
NAME_ROOM = 0.3  # inches, for that name and the ticks
SINGLES = 60  # runs of a target whose single lines are drawn; of more, only mean and interval


def successes(curves: list[Curves], style: dict[str, Look]) -> Figure:
    """Return success rate against target env steps: mean and 95 % t interval, single runs faint.

    Args:
        curves: the methods of one env, scratch first, all of them with success rates.
        style: the look of each method.
    """
    rated = [replace(judged, returns=judged.success_rates) for judged in curves if judged.success_rates is not None]
    return learning(rated, None, style, "success rate")


def learning(
    curves: list[Curves], reference: ReturnScale | None, style: dict[str, Look], label: str = "evaluation return"
) -> Figure:
    """Return return against target env steps: mean and 95 % t interval, single runs faint, the threshold.

    Args:
        curves: the methods of one env, scratch first.
        reference: where the threshold comes from, or None.
        style: the look of each method.
        label: of the vertical axis.
    """
    singles = sum(len(method_curves.seeds) for method_curves in curves) <= SINGLES
    with styled():
        figure, axes = panels(curves)
        for axis, panel in axes:
            _panel(axis, panel, style, small=len(axes) > 1, singles=singles)
            if reference is not None and reference.usable:
                axis.axhline(reference.threshold, color=FAINT, linewidth=1.1, linestyle=(0, (1, 2)))
        for axis, panel in axes:  # labels need the limits that all panels share
            ends = [_end(method_curves) for method_curves in panel]
            name_lines(axis, panel, ends, style, small=len(axes) > 1, also=_threshold(reference))
        if len(axes) > 1:
            _widen(figure, axes[0][0])
        figure.supxlabel("target env steps", fontsize=10.5)
        figure.supylabel(label, x=NAME_PLACE, fontsize=10.5)
    return figure


def panels(curves: list[Curves]) -> tuple[Figure, list[tuple[Axes, list[Curves]]]]:
    """Return a figure with one panel for all methods, or one per method beside scratch where there are many."""
    together = len(curves) <= TOGETHER
    groups = [curves] if together else [[curves[0], other] for other in curves[1:]]
    columns = 1 if together else round(figure_width() / 3)
    rows = -(-len(groups) // columns)
    figure = canvas(PANEL_HEIGHT * min(1.0, 1.25 * figure_width() / WIDTH)) if together else _spaced(2.7 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    for axis in axes.flat[: len(groups)][-columns:]:  # the last of every column, also above a place that is empty
        axis.tick_params(labelbottom=True)
    for axis in axes.flat:
        axis.xaxis.set_major_locator(MaxNLocator(4 if len(groups) > 1 else 8))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.grid(axis="y", color="#e8e8e8", linewidth=0.7)
        axis.set_axisbelow(True)
        axis.set_xlim(0, max(1.0, *(float(method_curves.steps[-1]) for method_curves in curves)))
    return figure, list(zip(axes.flat, groups, strict=False))


def _spaced(height: float) -> Figure:
    """Return a figure with fixed margins: to measure every tick of many panels takes longer than to draw them."""
    width = figure_width()
    figure = ShownFigure(figsize=(width, height))
    margins = {"left": 0.85 / width, "right": 1 - 0.25 / width, "bottom": 0.6 / height, "top": 1 - 0.3 / height}
    figure.subplots_adjust(**margins, hspace=0.22, wspace=0.1)
    return figure


def _widen(figure: Figure, axis: Axes) -> None:
    """Widen a fixed left margin where the numbers beside the panels would stand in the name of their axis."""
    numbers = axis.yaxis.get_major_formatter().format_ticks(list(axis.get_yticks()))
    _, wide = label_room(numbers, 0)
    figure.subplots_adjust(left=max(figure.subplotpars.left, NAME_PLACE + (NAME_ROOM + wide) / figure_width()))


def name_lines(
    axis: Axes,
    panel: list[Curves],
    ends: list[float],
    style: dict[str, Look],
    small: bool,
    also: Sequence[tuple[float, str, Look]] = (),
) -> None:
    """Write the methods' names at the ends of their lines, or as the title of a small panel; `also` names what else is.

    Nothing is written on the panel itself, where a curve might run under it.
    """
    if small:
        last = panel[-1].method
        axis.set_title(last, color=style[last].colour, fontsize=10.5, fontweight="bold", loc="left")
        return
    label_ends(
        axis,
        [
            (end, method_curves.method, style[method_curves.method])
            for end, method_curves in zip(ends, panel, strict=True)
        ]
        + list(also),
    )


def mean(curves: Curves) -> Band:
    """Return the mean of the complete runs and its interval, or of all runs as far as every one of them came."""
    returns, units = curves.returns[curves.complete], np.array(curves.samples)[curves.complete]
    if not len(returns):
        together = int(np.isfinite(curves.returns).all(axis=0).sum())
        returns, units = curves.returns[:, :together], np.array(curves.samples)
    return estimates.band(_by_unit(returns, units.tolist()))


def _by_unit(returns: Floats, units: list[str]) -> Floats:
    names = list(dict.fromkeys(units))
    if len(names) == len(units):
        return returns
    place = {name: row for row, name in enumerate(names)}
    rows = np.array([place[name] for name in units])
    return np.stack([returns[rows == row].mean(axis=0) for row in range(len(names))])


def _panel(axis: Axes, curves: list[Curves], style: dict[str, Look], small: bool, singles: bool) -> None:
    for method_curves in curves:
        _curve(axis, method_curves, style[method_curves.method], small, singles)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}".replace("-", "\u2212"))


def _threshold(reference: ReturnScale | None) -> list[tuple[float, str, Look]]:
    """Return the label of the dotted line, beside those of the methods."""
    if reference is None or not reference.usable:
        return []
    return [(reference.threshold, f"threshold {number_format.number(reference.threshold)}", Look(SOFT, "", ""))]


def _curve(axis: Axes, curves: Curves, look: Look, small: bool, singles: bool) -> None:
    for row, whole in zip(curves.returns, curves.complete, strict=True):
        if singles:
            axis.plot(curves.steps, row, color=look.colour, alpha=0.45, linewidth=0.8, gid="single")
        if not whole and (last := int(np.isfinite(row).sum())):
            axis.plot(curves.steps[last - 1], row[last - 1], marker="x", color=look.colour, markersize=6)
    band = mean(curves)
    steps = curves.steps[: len(band.value)]
    axis.fill_between(steps, band.low, band.high, color=look.colour, alpha=0.13, linewidth=0)
    axis.plot(steps, band.value, **_line(look, len(steps), small))


def _line(look: Look, points: int, small: bool) -> dict[str, Any]:
    return {
        "color": look.colour,
        "linestyle": look.dash,
        "linewidth": 1.6 if small else 2.1,
        "marker": look.marker,
        "markevery": max(1, points // (4 if small else 8)),
        "markersize": 4.5 if small else 5.5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.7,
    }


def _end(curves: Curves) -> float:
    """Return the height where the mean ends."""
    centre = mean(curves).value
    finite = centre[np.isfinite(centre)]
    return float(finite[-1]) if len(finite) else math.nan
