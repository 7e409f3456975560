"""Grids of gains: what each source is worth on each target, and what each method is."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trl_suite.evidence.figures.style import FAINT, INK, grid_canvas, styled
from trl_suite.evidence.results import number_format
from trl_suite.evidence.results.budget_readings import BudgetReading
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.source_target_matrix import SourceTargetMatrix
from trl_suite.evidence.statistics.estimates import Estimate

STRONGEST_GAIN = 1.0  # gain or loss of the darkest cell, in units of the way from random to reference
MOST_BOUNDED_COLUMNS = 8  # columns up to which a cell has room for its interval
MOST_BOUNDED_LINES = 20  # lines up to which a cell has room for its interval


class GainCell(NamedTuple):
    """One place of a grid."""

    line: str
    column: str
    gain: Estimate  # over scratch or another baseline, in units of the target's scale
    claimed: bool


class GainGrid(NamedTuple):
    """Gains by lines and columns, with the words for either."""

    lines: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[GainCell, ...]
    down: str = "target"
    across: str = "method"


def by_source(table: SourceTargetMatrix) -> GainGrid:
    """Return the grid of one method's sources by targets."""
    cells = [GainCell(cell.source, cell.target, cell.area, _is_claimed(cell.area_claim)) for cell in table.cells]
    return GainGrid(table.sources, table.targets, tuple(cells), "source", "target")


def by_method(rows: Sequence[MeasureRow]) -> GainGrid:
    """Return the grid of targets by methods, of all that have a gain in score."""
    scored = [row for row in rows if row.area_gain.n]
    cells = [GainCell(row.env, row.method, row.area_gain, _is_claimed(row.area_claim)) for row in scored]
    lines, columns = (tuple(dict.fromkeys(getattr(cell, name) for cell in cells)) for name in ("line", "column"))
    return GainGrid(lines, columns, tuple(cells))


def by_budget(readings: Sequence[BudgetReading], baseline: str) -> GainGrid:
    """Return the grid of methods by targets and budgets: the gains in end return over the baseline, with a scale."""
    scored = [row for row in readings if row.baseline == baseline and row.scaled]
    envs = list(dict.fromkeys(row.env for row in scored))
    order = sorted({(envs.index(row.env), row.step) for row in scored})
    columns = tuple(f"{envs[place]}, {step:,}" for place, step in order)
    cells = [GainCell(row.method, f"{row.env}, {row.step:,}", row.end, _is_claimed(row.end_claim)) for row in scored]
    lines = tuple(dict.fromkeys(row.method for row in scored))
    return GainGrid(lines, columns, tuple(cells), "method", "target, and steps on it")


def _is_claimed(claim: str) -> bool:
    return claim in ("better", "worse")


def gain_grid(grid: GainGrid) -> Figure:
    """Return a picture of a grid: a gain in each cell, hatched where nothing is claimed of it."""
    lines, columns = grid.lines, grid.columns
    bounded = len(columns) <= MOST_BOUNDED_COLUMNS and len(lines) <= MOST_BOUNDED_LINES
    wide, high = (1.35, 0.62) if bounded else (0.62, 0.4 if len(lines) <= MOST_BOUNDED_LINES else 0.25)
    slanted = max(map(len, columns)) > 14 or not bounded
    turn = (25 if bounded else 60) if slanted else 0
    with styled():
        figure = grid_canvas(lines, columns, turn, (wide, high))
        axis: Axes = figure.subplots()
        for cell in grid.cells:
            _draw(axis, columns.index(cell.column), lines.index(cell.line), cell, bounded)
        axis.set_xlim(-0.5, len(columns) - 0.5)
        axis.set_ylim(len(lines) - 0.5, -0.5)
        axis.set_xticks(range(len(columns)), columns, rotation=turn, ha="right" if slanted else "center")
        axis.set_yticks(range(len(lines)), lines)
        axis.tick_params(length=0)
        axis.set_xlabel(grid.across)
        axis.set_ylabel(grid.down)
        for spine in axis.spines.values():
            spine.set_visible(False)
    return figure


def _draw(axis: Axes, x: int, y: int, cell: GainCell, bounded: bool) -> None:
    strength = float(np.clip(np.nan_to_num(cell.gain.value) / STRONGEST_GAIN, -1, 1))
    colour = mpl.colormaps["PuOr_r"](0.5 - 0.42 * strength)  # orange worse, violet better: safe for the colour-blind
    hatch = None if cell.claimed else "////"
    axis.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour, edgecolor=FAINT, hatch=hatch,
                             linewidth=0.6))  # fmt: skip
    ink = "white" if cell.claimed and abs(strength) > 0.72 else INK
    box = None if cell.claimed else {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0}
    title = number_format.number(cell.gain.value, signed=True)
    up = 0.12 if bounded else 0.0
    axis.text(x, y - up, title, ha="center", va="center", color=ink, fontweight="bold",
              fontsize=10 if bounded else 7.5, bbox=box)  # fmt: skip
    if bounded:
        bounds = number_format.bounds(cell.gain)
        axis.text(x, y + 0.22, bounds, ha="center", va="center", color=ink, fontsize=7.5, bbox=box)
