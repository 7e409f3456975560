"""Plasticity and distance from the source against target env steps, a panel for each measure."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from trl_suite.evidence.figures.style import Look, canvas, styled
from trl_suite.evidence.results.network_curves import NetworkCurves

TITLES = {  # of the panels, by measure
    "dormant": "share of dormant units",
    "effective_rank": "effective rank",
    "weight_norm": "weight norm",
    "source_kl": "KL to the source",
}


def plasticity_curves(methods: Sequence[NetworkCurves], style: dict[str, Look]) -> Figure:
    """Return the mean of each measure with its interval, a line for each method.

    Args:
        methods: of one env, at least one.
        style: the look of each method.
    """
    with styled():
        figure = canvas(5.6)
        axes = figure.subplots(2, 2, sharex=True)
        for axis, (measure, title) in zip(axes.flat, TITLES.items(), strict=True):
            _panel(axis, methods, measure, style)
            axis.set_title(title, fontsize=10.5, loc="left")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
        figure.supxlabel("target env steps", fontsize=10.5)
    return figure


def _panel(axis: Axes, methods: Sequence[NetworkCurves], measure: str, style: dict[str, Look]) -> None:
    for curves in methods:
        band, look = curves.band(measure), style[curves.method]
        if np.isfinite(band.value).any():  # scratch has no source
            axis.fill_between(curves.steps, band.low, band.high, color=look.colour, alpha=0.13, linewidth=0)
            axis.plot(
                curves.steps, band.value, color=look.colour, linestyle=look.dash, linewidth=1.6, label=curves.method
            )
    axis.set_xlim(0)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.grid(axis="y", color="#e8e8e8", linewidth=0.7)
