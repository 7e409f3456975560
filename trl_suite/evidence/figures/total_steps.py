"""Return against all env steps that were paid for, the source's among them: what a transfer is worth to one target."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from trl_suite.evidence.figures.learning_curves import mean
from trl_suite.evidence.figures.style import FAINT, Look, canvas, figure_width, styled
from trl_suite.evidence.reading.curve import Curves

PANELS_MAX = 6  # targets of one robot that are drawn
PANEL_INCHES, LEGEND_INCHES = 3.0, 2.3  # widths of a panel, and of a name in the legend


class PaidCurves(NamedTuple):
    """Runs of one method, and what the policy that they start from cost."""

    curves: Curves
    source_steps: float  # env steps; 0 without a source


def total_steps(targets: Sequence[Sequence[PaidCurves]], style: dict[str, Look]) -> Figure:
    """Return the mean curves of a robot's targets against total env steps, a panel for each target.

    Args:
        targets: for each target its methods, scratch first.
        style: the look of each method.
    """
    panels = targets[:PANELS_MAX]
    columns = min(round(figure_width() / PANEL_INCHES), len(panels))
    rows = -(-len(panels) // columns)
    with styled():
        figure = canvas(2.9 * rows + 0.5)
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis, methods in zip(axes.flat, panels, strict=False):
            _panel(axis, methods, style)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside upper center",
            ncols=min(4, round(figure_width() / 2.3)),
            frameon=False,
            fontsize=9,
        )
        figure.supxlabel("env steps, source and target", fontsize=10.5)
        figure.supylabel("evaluation return", fontsize=10.5)
    return figure


def _panel(axis: Axes, methods: Sequence[PaidCurves], style: dict[str, Look]) -> None:
    for paid in methods:
        band, look = mean(paid.curves), style[paid.curves.method]
        steps = paid.source_steps + paid.curves.steps[: len(band.value)]
        axis.fill_between(steps, band.low, band.high, color=look.colour, alpha=0.13, linewidth=0)
        axis.plot(steps, band.value, color=look.colour, linestyle=look.dash, linewidth=1.6, label=paid.curves.method)
        if paid.source_steps:
            axis.axvline(paid.source_steps, color=FAINT, linewidth=0.9, linestyle=(0, (1, 2)))
    axis.set_title(methods[0].curves.env, fontsize=10.5, loc="left")
    axis.set_xlim(0)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}".replace("-", "\u2212"))
    axis.grid(axis="y", color="#e8e8e8", linewidth=0.7)
