"""The transfer matrix: what each source is worth on each target."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trl_suite.evidence.figures.style import FAINT, INK, canvas, styled
from trl_suite.evidence.results import number_format
from trl_suite.evidence.results.comparison import MeasureRow

STRONGEST = 4.0  # speed-up, or slow-down, of the darkest cell


def matrices(rows: Sequence[MeasureRow]) -> dict[str, list[MeasureRow]]:
    """Return the rows with a speed-up by method; only methods of which a target has several sources."""
    rows_by_method: dict[str, list[MeasureRow]] = {}
    for row in rows:
        if row.source and row.speed_up.n:
            rows_by_method.setdefault(row.base or row.method, []).append(row)
    return {
        method: method_rows
        for method, method_rows in rows_by_method.items()
        if len({(row.env, row.source) for row in method_rows}) > len({row.env for row in method_rows})
    }


def matrix(rows: Sequence[MeasureRow]) -> Figure:
    """Return a grid of source by target: speed-up, its 95 % interval, hatched where nothing is claimed of it.

    Args:
        rows: one method's, of all its sources and targets.
    """
    sources, targets = (list(dict.fromkeys(getattr(row, name) for row in rows)) for name in ("source", "env"))
    with styled():
        figure = canvas(1.2 + 0.62 * len(sources), width=max(5.0, min(16.0, 2.4 + 1.35 * len(targets))))
        axis: Axes = figure.subplots()
        for row in rows:
            _cell(axis, targets.index(row.env), sources.index(row.source), row)
        axis.set_xlim(-0.5, len(targets) - 0.5)
        axis.set_ylim(len(sources) - 0.5, -0.5)
        slanted = max(len(name) for name in targets) > 14
        axis.set_xticks(
            range(len(targets)), targets, rotation=25 if slanted else 0, ha="right" if slanted else "center"
        )
        axis.set_yticks(range(len(sources)), sources)
        axis.tick_params(length=0)
        axis.set_xlabel("target")
        axis.set_ylabel("source")
        for spine in axis.spines.values():
            spine.set_visible(False)
    return figure


def _cell(axis: Axes, x: int, y: int, row: MeasureRow) -> None:
    effect = row.speed_up
    strength = float(np.clip(np.log(max(effect.value, 1e-9)) / np.log(STRONGEST), -1, 1))
    colour = mpl.colormaps["PuOr_r"](0.5 - 0.42 * strength)  # orange slower, violet sooner: safe for the colour-blind
    claimed = row.counted_claim in ("sooner", "later")
    hatch = None if claimed else "////"
    axis.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour, edgecolor=FAINT, hatch=hatch,
                             linewidth=0.6))  # fmt: skip
    ink = "white" if abs(strength) > 0.72 else INK
    box = None if claimed else {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0}
    title = number_format.ratio(effect)
    axis.text(x, y - 0.12, title, ha="center", va="center", color=ink, fontweight="bold",
              bbox=box)  # fmt: skip
    axis.text(x, y + 0.22, number_format.bounds(effect), ha="center", va="center", color=ink, fontsize=7.5, bbox=box)
