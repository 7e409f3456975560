"""The picture of a transfer matrix: what each source is worth on each target."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trl_suite.evidence.figures.style import FAINT, INK, canvas, styled
from trl_suite.evidence.results import number_format
from trl_suite.evidence.results.source_target_matrix import MatrixCell, SourceTargetMatrix

STRONGEST_GAIN = 1.0  # gain or loss of the darkest cell, in units of the way from random to reference
MOST_BOUNDED_COLUMNS = 8  # targets up to which a cell has room for its interval


def matrix(table: SourceTargetMatrix) -> Figure:
    """Return a grid of source by target: the gain in area over scratch, hatched where nothing is claimed of it."""
    sources, targets = table.sources, table.targets
    bounded = len(targets) <= MOST_BOUNDED_COLUMNS
    column, line = (1.35, 0.62) if bounded else (0.62, 0.4)
    with styled():
        figure = canvas(1.2 + line * len(sources), width=max(5.0, min(16.0, 2.4 + column * len(targets))))
        axis: Axes = figure.subplots()
        for cell in table.cells:
            _draw(axis, targets.index(cell.target), sources.index(cell.source), cell, bounded)
        axis.set_xlim(-0.5, len(targets) - 0.5)
        axis.set_ylim(len(sources) - 0.5, -0.5)
        slanted = max(len(name) for name in targets) > 14 or not bounded
        turn = (25 if bounded else 60) if slanted else 0
        axis.set_xticks(range(len(targets)), targets, rotation=turn, ha="right" if slanted else "center")
        axis.set_yticks(range(len(sources)), sources)
        axis.tick_params(length=0)
        axis.set_xlabel("target")
        axis.set_ylabel("source")
        for spine in axis.spines.values():
            spine.set_visible(False)
    return figure


def _draw(axis: Axes, x: int, y: int, cell: MatrixCell, bounded: bool) -> None:
    strength = float(np.clip(np.nan_to_num(cell.area.value) / STRONGEST_GAIN, -1, 1))
    colour = mpl.colormaps["PuOr_r"](0.5 - 0.42 * strength)  # orange worse, violet better: safe for the colour-blind
    claimed = cell.area_claim in ("better", "worse")
    hatch = None if claimed else "////"
    axis.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour, edgecolor=FAINT, hatch=hatch,
                             linewidth=0.6))  # fmt: skip
    ink = "white" if abs(strength) > 0.72 else INK
    box = None if claimed else {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0}
    title = f"{cell.area.value:+.2f}" if np.isfinite(cell.area.value) else "–"
    up = 0.12 if bounded else 0.0
    axis.text(x, y - up, title, ha="center", va="center", color=ink, fontweight="bold",
              fontsize=10 if bounded else 7.5, bbox=box)  # fmt: skip
    if bounded:
        bounds = number_format.bounds(cell.area)
        axis.text(x, y + 0.22, bounds, ha="center", va="center", color=ink, fontsize=7.5, bbox=box)
