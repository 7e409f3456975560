"""Survival curves of the time to threshold: which share of the runs is not there yet."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trl_suite.evidence.figures.learning_curves import name_lines, panels
from trl_suite.evidence.figures.style import Look, styled
from trl_suite.evidence.reading.curve import Curves, Floats
from trl_suite.evidence.statistics import measures


def survival(curves: list[Curves], threshold: float, style: dict[str, Look]) -> Figure:
    """Return the share of complete runs that have not reached the threshold, against target env steps.

    Kaplan & Meier's estimate, which is a plain share here: all runs are censored at the budget and nowhere else. The
    area under a line is the restricted mean time.

    Args:
        curves: the methods of one env that have complete runs, scratch first.
        threshold: return that is to be reached.
        style: the look of each method.
    """
    with styled():
        figure, axes = panels(curves)
        for axis, panel in axes:
            ends = [
                _line(axis, method_curves, threshold, style[method_curves.method], i)
                for i, method_curves in enumerate(panel)
            ]
            axis.set_ylim(-0.04, 1.04)
            axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
            name_lines(axis, panel, ends, style, small=len(axes) > 1)
        figure.supxlabel("target env steps", fontsize=10.5)
        figure.supylabel("runs below the threshold", fontsize=10.5)
    return figure


def shares(curves: Curves, threshold: float) -> tuple[Floats, Floats]:
    """Return the steps at which runs reach the threshold and the share left after each: (steps + 2,) both."""
    times = measures.time_to_threshold(curves.steps, curves.returns[curves.complete], threshold)
    events, count = np.unique(times.steps[times.reached], return_counts=True)
    left = 1 - np.cumsum(count) / max(1, len(times.steps))
    last = left[-1] if len(left) else 1.0
    return np.concatenate([[0.0], events, [float(curves.steps[-1])]]), np.concatenate([[1.0], left, [last]])


def _line(axis: Axes, curves: Curves, threshold: float, look: Look, place: int) -> float:
    """Draw one method, a little beside the others so that none is hidden, and return where it ends."""
    steps, left = shares(curves, threshold)
    line = axis.plot(steps, left + 0.004 * place, color=look.colour, linestyle=look.dash, linewidth=2.1,
                     drawstyle="steps-post")[0]  # fmt: skip
    line.set_gid(f"survival-{place}")
    if len(steps) > 2:  # a line of no points would take a place in the layout
        axis.plot(steps[1:-1], left[1:-1] + 0.004 * place, look.marker, color=look.colour, markersize=5, clip_on=False,
                  markeredgecolor="white", markeredgewidth=0.7)  # fmt: skip
    return float(left[-1])
