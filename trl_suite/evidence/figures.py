"""Vector pictures of results, as SVG text to be set into a page; the only module of evidence that imports matplotlib.

Every line differs in colour (Okabe & Ito's, safe for the colour-blind), dash and marker, so that print will do.
"""

import io
import re
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullLocator

from trl_suite.evidence import statistics, wording
from trl_suite.evidence.comparison import Row
from trl_suite.evidence.curve import Curves, Floats
from trl_suite.evidence.references import Reference

INK, FAINT = "#1a1a1a", "#8a8a8a"
TOGETHER = 5  # methods that one panel can show; more get a panel each, beside scratch


class Look(NamedTuple):
    """How the line of a method is drawn."""

    colour: str
    dash: Any
    marker: str


SCRATCH_LOOK = Look(INK, (0, (5, 2)), "o")
LOOKS = (
    Look("#0072b2", "-", "s"),
    Look("#d55e00", (0, (7, 1.5, 1.5, 1.5)), "^"),
    Look("#009e73", (0, (1.5, 1.2)), "D"),
    Look("#cc79a7", (0, (3, 1.2)), "v"),
    Look("#8a6d00", (0, (9, 2, 2, 2, 2, 2)), "P"),
    Look("#56b4e9", (0, (2, 1, 6, 1)), "X"),
)
STYLE: Any = {
    "font.family": ["DejaVu Sans"],  # matplotlib brings it; the page's own fonts, no wider, take its place
    "font.size": 10.5,
    "text.color": INK,
    "text.parse_math": False,  # a name with two dollar signs is a name
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",  # text stays text: it can be searched and is small
}


def looks(methods: tuple[str, ...], scratch: str) -> dict[str, Look]:
    """Return the look of each method: the same in every figure of a report."""
    others = [method for method in methods if method != scratch]
    return {scratch: SCRATCH_LOOK} | {method: LOOKS[i % len(LOOKS)] for i, method in enumerate(others)}


def learning_curves(curves: list[Curves], reference: Reference | None, style: dict[str, Look]) -> str:
    """Return an SVG of return against target env steps: mean and 95 % t interval, each run faint, the threshold.

    Args:
        curves: the methods of one env, scratch first.
        reference: where the threshold comes from, or None.
        style: the look of each method.
    """
    together = len(curves) <= TOGETHER
    panels = [curves] if together else [[curves[0], other] for other in curves[1:]]
    columns = 1 if together else 3
    rows = -(-len(panels) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 4.7 if together else 2.7 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axis, panel in zip(axes.flat, panels, strict=False):
            _panel(axis, panel, reference, style, small=not together)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis in axes.flat:
            axis.xaxis.set_major_locator(MaxNLocator(4 if len(panels) > 1 else 8))
        figure.supxlabel("target env steps", fontsize=10.5)
        figure.supylabel("evaluation return", fontsize=10.5)
        return _svg(figure, f"learning-{curves[0].env}")


def speed_ups(rows: list[Row], style: dict[str, Look]) -> str:
    """Return an SVG with each method's speed-up, its 95 % interval, and each pair as a dot, on a log axis.

    Args:
        rows: the methods of one env that have a speed-up.
        style: the look of each method.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 0.85 + 0.5 * len(rows)), layout="constrained")
        axis: Axes = figure.subplots()
        for height, row in enumerate(reversed(rows)):
            _effect(axis, height, row, style[row.method])
        axis.axvline(1, color=INK, linewidth=1)
        axis.set_xscale("log")
        axis.set_ylim(-0.6, len(rows) - 0.4)
        axis.set_yticks(range(len(rows)), [row.method for row in reversed(rows)])
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        _ratio_ticks(axis)
        axis.set_xlabel("speed-up over scratch  (right of 1: sooner)")
        return _svg(figure, f"speed-up-{rows[0].env}")


def _panel(axis: Axes, curves: list[Curves], reference: Reference | None, style: dict[str, Look], small: bool) -> None:
    ends: list[tuple[float, str, str]] = []  # height, label, colour
    for found in curves:
        end = _curve(axis, found, style[found.method], small)
        ends.append((end, found.method, style[found.method].colour))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}".replace("-", "\u2212"))
    axis.grid(axis="y", color="#e8e8e8", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.set_xlim(0, max(1.0, *(float(found.steps[-1]) for found in curves)))
    if reference is not None and np.isfinite(reference.threshold):
        _threshold(axis, reference.threshold, label=not small)
    if small:
        axis.set_title(ends[-1][1], color=ends[-1][2], fontsize=10.5, fontweight="bold", loc="left")
    else:
        _label_ends(axis, ends)


def _threshold(axis: Axes, height: float, label: bool) -> None:
    axis.axhline(height, color=FAINT, linewidth=1.1, linestyle=(0, (1, 2)))
    if label:
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        text, at = f"threshold {wording.number(height)}", (1, height)
        axis.annotate(text, at, xytext=(-4, -4), ha="right", va="top", color="#5a5a5a", fontsize=9, **place)


def _curve(axis: Axes, curves: Curves, look: Look, small: bool) -> float:
    """Draw one method and return the height where its mean ends."""
    for row, whole in zip(curves.returns, curves.complete, strict=True):
        axis.plot(curves.steps, row, color=look.colour, alpha=0.45, linewidth=0.8, gid="single")
        if not whole and (last := int(np.isfinite(row).sum())):
            axis.plot(curves.steps[last - 1], row[last - 1], marker="x", color=look.colour, markersize=6)
    centre, low, high = _mean(curves)
    axis.fill_between(curves.steps[: len(centre)], low, high, color=look.colour, alpha=0.13, linewidth=0)
    every = max(1, len(centre) // (4 if small else 8))
    axis.plot(
        curves.steps[: len(centre)],
        centre,
        color=look.colour,
        linestyle=look.dash,
        linewidth=1.6 if small else 2.1,
        marker=look.marker,
        markevery=every,
        markersize=4.5 if small else 5.5,
        markeredgecolor="white",
        markeredgewidth=0.7,
    )
    known = centre[np.isfinite(centre)]
    return float(known[-1]) if len(known) else float("nan")


def _mean(curves: Curves) -> tuple[Floats, Floats, Floats]:
    """Return the mean of the complete runs and its interval, or of all runs as far as every one of them came."""
    returns = curves.returns[curves.complete]
    if not len(returns):
        together = int(np.isfinite(curves.returns).all(axis=0).sum())
        returns = curves.returns[:, :together]
    found = [statistics.mean(statistics.by_unit(column, _units(curves, len(returns)))) for column in returns.T]
    return (
        np.array([estimate.value for estimate in found]),
        np.array([estimate.low for estimate in found]),
        np.array([estimate.high for estimate in found]),
    )


def _units(curves: Curves, rows: int) -> list[str]:
    if rows == len(curves.units):
        return list(curves.units)
    return [unit for unit, whole in zip(curves.units, curves.complete, strict=True) if whole]


def _label_ends(axis: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write each method's name at the end of its line, pushed apart where they would cover one another."""
    low, high = axis.get_ylim()
    gap = 0.055 * (high - low)  # of the panel's height: a line of text in the large one
    placed: list[float] = []
    for height, label, colour in sorted((end for end in ends if np.isfinite(end[0])), key=lambda end: end[0]):
        y = max(height, placed[-1] + gap) if placed else height
        placed.append(y)
        axis.annotate(
            label,
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold",
            annotation_clip=False,
        )


def _effect(axis: Axes, height: int, row: Row, look: Look) -> None:
    effect = row.speed_up
    dots = np.full(len(row.ratios), height)
    axis.plot(row.ratios, dots, "o", color="none", markeredgecolor=look.colour, markersize=5, alpha=0.7)
    if effect.has_interval:
        axis.plot([effect.low, effect.high], [height, height], color=look.colour, linewidth=2.2, solid_capstyle="butt")
    axis.plot(effect.value, height, marker=look.marker, color=look.colour, markersize=9, markeredgecolor="white")


def _ratio_ticks(axis: Axes) -> None:
    """Put readable ticks on a log axis of ratios: 1/4, 1/2, 1, 2, 5, 10."""
    low, high = axis.get_xlim()
    low, high = min(low, 0.8), max(high, 1.25)
    axis.set_xlim(low, high)
    ladder = [step * 10.0**decade for decade in range(-4, 6) for step in (1, 2, 5)]
    ticks = [tick for tick in ladder if low <= tick <= high]
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}\u00d7")


def _svg(figure: Figure, name: str) -> str:
    """Return the figure as an svg element: no prologue, no date, identifiers of its own."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata=nothing, transparent=True)
    body = text.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "Helvetica, Arial, 'Liberation Sans', sans-serif", body)
    return re.sub(r'\s(?:width|height)="[\d.]+pt"', "", body, count=2)
