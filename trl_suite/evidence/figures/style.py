"""How pictures look: every line differs in colour (Okabe & Ito's, safe for the colour-blind), dash and marker.

So that print in black and white will do. A function of this room returns a figure; `svg` and `png` write it.
"""

import io
import math
import re
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from trl_suite.evidence.statistics.estimates import Estimate
from trl_suite.record import SCRATCH

INK, FAINT, SOFT = "#1a1a1a", "#8a8a8a", "#5a5a5a"
WIDTH, CARD_WIDTH = 9.2, 5.4  # inches, of every figure on a page, and on a card that is half as wide
POINTS_PER_INCH = 72
EMS_PER_LETTER = 0.64  # width of a digit, of the font's size: more than the mean of a name
GRID_INCHES_MIN, GRID_INCHES_MAX = 2.6, 13.6  # width of all cells of a grid
LABEL_INCHES = 0.22  # height of a line of text at the end of a curve
LABEL_SHARE = 0.42  # most of a figure's width that the names beside a panel may take


class Look(NamedTuple):
    """How the line of a method is drawn."""

    colour: str
    dash: Any
    marker: str


STYLE_FILE = Path(__file__).parents[2] / "paper.mplstyle"
STYLE: Any = mpl.rc_params_from_file(STYLE_FILE, use_default_template=False)
DASHES: tuple[Any, ...] = (
    "-", (0, (7, 1.5, 1.5, 1.5)), (0, (1.5, 1.2)), (0, (3, 1.2)), (0, (9, 2, 2, 2, 2, 2)), (0, (2, 1, 6, 1)),
)  # fmt: skip
MARKERS = ("s", "^", "D", "v", "P", "X")
SCRATCH_LOOK = Look(INK, (0, (5, 2)), "o")
LOOKS = tuple(
    Look(line["color"], dash, marker)
    for line, dash, marker in zip(STYLE["axes.prop_cycle"], DASHES, MARKERS, strict=True)
)
_OTHERS = "#9a9a9a"  # the colour of what comes after the last one of `LOOKS`
_width: ContextVar[float] = ContextVar("width of figures", default=WIDTH)


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """Return the look of each method: the same in every figure of a report."""
    others = [method for method in dict.fromkeys(methods) if method != SCRATCH]
    return {SCRATCH: SCRATCH_LOOK} | {method: _look(i) for i, method in enumerate(others)}


def _look(place: int) -> Look:
    """Return the look of the method at a place; behind the last colour all are grey, with other dashes and markers."""
    if place < len(LOOKS):
        return LOOKS[place]
    turn, column = divmod(place - len(LOOKS), len(LOOKS))
    return Look(_OTHERS, LOOKS[column].dash, LOOKS[(column + turn) % len(LOOKS)].marker)


def styled() -> AbstractContextManager[None]:
    """Return the context in which figures are made."""
    return mpl.rc_context(STYLE)


@contextmanager
def drawn_for_cards(width: float = CARD_WIDTH) -> Generator[None]:
    """Draw figures as wide as a card of TensorBoard, of a notebook, or a column of a paper: their words stay legible.

    Args:
        width: inches.
    """
    token = _width.set(width)
    try:
        yield
    finally:
        _width.reset(token)


def figure_width() -> float:
    """Return how wide figures are here, in inches."""
    return _width.get()


class ShownFigure(Figure):
    """A figure that a notebook shows where it stands at the end of a cell."""

    def _repr_png_(self) -> bytes:
        return png(self)


def canvas(height: float, width: float | None = None) -> Figure:
    """Return an empty figure, sizes in inches."""
    return ShownFigure(figsize=(width or figure_width(), height), layout="constrained")


def label_room(names: Collection[str], turn: float) -> tuple[float, float]:
    """Return how high and how wide names beside an axis are, in inches, where they stand at an angle.

    A layout that is not told of them gives the axis what is left of the figure, which may be nothing.

    Args:
        names: one tick's each, a line.
        turn: degrees from the horizontal.
    """
    size = STYLE["font.size"] / POINTS_PER_INCH
    length = EMS_PER_LETTER * size * max(map(len, names), default=0)
    angle = math.radians(turn)
    return length * math.sin(angle) + size * math.cos(angle), length * math.cos(angle) + size * math.sin(angle)


def grid_canvas(lines: Collection[str], columns: Collection[str], turn: float, cell: tuple[float, float]) -> Figure:
    """Return an empty figure for a grid with names left of it and below it.

    Args:
        lines: names of the lines.
        columns: names of the columns.
        turn: degrees by which the names below are turned; they end at their column.
        cell: width and height, in inches.
    """
    below, beside = label_room(columns, turn)
    _, left = label_room(lines, 0)
    cells = min(GRID_INCHES_MAX, max(GRID_INCHES_MIN, cell[0] * len(columns)))
    return canvas(0.8 + below + cell[1] * len(lines), width=0.8 + max(left, beside) + cells)


def ratio_axis(axis: Axes, vertical: bool = False) -> None:
    """Make an axis one of ratios, logarithmic, with ticks that can be read: 1/4, 1/2, 1, 2, 5, 10."""
    (axis.set_yscale if vertical else axis.set_xscale)("log")  # first, so that margins are ratios too
    low, high = axis.get_ylim() if vertical else axis.get_xlim()
    low, high = max(min(low, 0.8), 1e-4), min(max(high, 1.25), 1e5)
    ladder = next((ticks for ticks in _ladders(low, high) if len(ticks) <= 8), [1.0])
    (axis.set_ylim if vertical else axis.set_xlim)(low, high)
    line = axis.yaxis if vertical else axis.xaxis
    line.set_major_locator(FixedLocator(ladder))
    line.set_minor_locator(NullLocator())
    line.set_major_formatter(lambda value, _: f"{value:g}\u00d7")


def _ladders(low: float, high: float) -> Iterator[list[float]]:
    """Yield the ticks of ever coarser ladders of ratios."""
    for rungs in ((1, 1.2, 1.5, 2, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)):
        ladder = (rung * 10.0**decade for decade in range(-4, 6) for rung in rungs)
        yield [tick for tick in ladder if low <= tick <= high]


def wrapped(name: str) -> str:
    """Return a name in lines that leave a panel its place: broken at spaces and at the signs of an address."""
    letters = int(LABEL_SHARE * figure_width() / (EMS_PER_LETTER * STYLE["font.size"] / POINTS_PER_INCH))
    lines = [""]
    for piece in re.split(r"(?<=[ :/])|(?=[?&])", name):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > letters:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def label_ends(axis: Axes, ends: list[tuple[float, str, Look]]) -> None:
    """Write each method's marker and name at the end of its line, pushed apart where they would cover one another.

    Args:
        axis: with its limits set.
        ends: height in data units, label and look of each line; a height that is NaN has no label.
    """
    low, high = axis.get_ylim()
    figure = axis.get_figure(root=True)
    figure_height = float(figure.get_size_inches()[1]) if figure is not None else WIDTH
    ends = [(end, wrapped(label), look) for end, label, look in ends]
    most = 1 + max((label.count("\n") for _, label, _ in ends), default=0)  # lines of a name
    dense: dict[str, Any] = {"fontsize": 7, "linespacing": 1.0} if most > 1 else {}
    panel_inches = 0.85 * figure_height  # about so much of the figure
    gap = LABEL_INCHES * (1 + 0.6 * (most - 1)) / panel_inches * (high - low)
    finite_ends = sorted((end for end in ends if np.isfinite(end[0])), key=lambda end: end[0])
    for (_, label, look), y in zip(finite_ends, _apart([end[0] for end in finite_ends], gap, high), strict=True):
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        weight = "bold" if look.marker else "normal"  # of a method, or of what is no method
        axis.annotate(label, (1, y), xytext=(15, 0), va="center", color=look.colour, fontweight=weight,
                      annotation_clip=False, **place, **dense)  # fmt: skip
        axis.plot(1.015, y, marker=look.marker, color=look.colour, markersize=5, clip_on=False,
                  transform=axis.get_yaxis_transform(), scalex=False, scaley=False)  # fmt: skip


def _apart(heights: Sequence[float], gap: float, top: float) -> list[float]:
    """Return rising heights with a gap between any two: pushed up, and back down where they would leave the panel."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else height)
    for i in range(len(placed) - 1, -1, -1):
        placed[i] = min(placed[i], top - gap * (len(placed) - 1 - i))
    return placed


def intervals(axis: Axes, heights: Sequence[float], estimates: Sequence[Estimate], look: Look, size: float = 8) -> None:
    """Draw estimates and their intervals, each at its height; in two strokes, because a forest has hundreds."""
    with_interval = [
        (height, estimate) for height, estimate in zip(heights, estimates, strict=True) if estimate.has_interval
    ]
    if with_interval:
        low, high = [estimate.low for _, estimate in with_interval], [estimate.high for _, estimate in with_interval]
        axis.hlines([height for height, _ in with_interval], low, high, color=look.colour, linewidth=2.0)
    for height, estimate in zip(heights, estimates, strict=True):
        if estimate.at_least != estimate.at_most:  # a bound has an arrow towards where the number may lie
            _arrow(axis, height, estimate, look)
    values = [estimate.value for estimate in estimates]
    axis.plot(values, heights, linestyle="none", marker=look.marker, color=look.colour, markersize=size,
              markeredgecolor="white")  # fmt: skip


def _arrow(axis: Axes, height: float, bound: Estimate, look: Look) -> None:
    end = (16, 0) if bound.at_least else (-16, 0)
    shape = {"arrowstyle": "<-", "color": look.colour, "linewidth": 1.2}
    start = (bound.high if bound.at_least else bound.low) if bound.has_interval else bound.value
    axis.annotate("", (start, height), xytext=end, textcoords="offset points", arrowprops=shape)


def svg(figure: Figure, name: str) -> str:
    """Return the figure as an svg element: no prologue, no date, identifiers of its own."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata=nothing, transparent=True)
    body = text.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "Helvetica, Arial, 'Liberation Sans', sans-serif", body)
    return re.sub(r'\s(?:width|height)="[\d.]+pt"', "", body, count=2)


def document(figure: Figure, ending: str) -> bytes:
    """Return the figure as a file for a paper, `.pdf`, `.svg` or `.eps`: vectors, with all that its text needs in it.

    TrueType in PDF and EPS, since publishers refuse fonts of Type 3; outlines in SVG. The same figure, the same bytes.
    """
    data = io.BytesIO()
    dates: dict[str, Any] = {".pdf": {"CreationDate": None, "Creator": None, "Producer": None}, ".svg": {"Date": None}}
    with mpl.rc_context({**STYLE, "svg.fonttype": "path", "svg.hashsalt": ending}):
        figure.savefig(data, format=ending[1:], metadata=dates.get(ending), facecolor="white")
    return data.getvalue()


def png(figure: Figure, dpi: int = 110) -> bytes:
    """Return the figure as a PNG on white, for viewers that show no vector graphics."""
    data = io.BytesIO()
    with styled():
        figure.savefig(data, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return data.getvalue()
