"""Component attribution: what copying or freezing one more component adds."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trl_suite.evidence.figures.style import INK, LOOKS, Look, canvas, intervals, styled
from trl_suite.evidence.results.attribution import Contrast

COPY, FREEZE = LOOKS[0], LOOKS[1]


def components(contrasts: Sequence[Contrast], unit: str) -> Figure:
    """Return the gain of each contrast between two methods that differ in one respect, with 95 % intervals.

    Args:
        contrasts: of one env.
        unit: what the gain is measured in.
    """
    with styled():
        figure = canvas(1.0 + 0.66 * len(contrasts))
        axis: Axes = figure.subplots()
        for height, contrast in enumerate(reversed(contrasts)):
            look: Look = COPY if contrast.kind == "copying" else FREEZE
            intervals(axis, [height], [contrast.effect], look)
        axis.axvline(0, color=INK, linewidth=1)
        names = [f"{c.kind} {', '.join(c.components)}\n{c.more}\nover {c.less}" for c in reversed(contrasts)]
        axis.set_yticks(range(len(names)), names, fontsize=8.5)
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.4g}".replace("-", "\u2212"))
        axis.set_xlabel(f"gain in {unit}  (right of 0: better)")
    return figure
