"""A picture for a paper and, beside it, the table of its numbers in LaTeX."""

from pathlib import Path

from trl_suite import files
from trl_suite.errors import InputError
from trl_suite.evidence.figures import transfer_matrix
from trl_suite.evidence.figures.style import document, drawn_for_cards, png
from trl_suite.evidence.figures.transfer_matrix import GainGrid
from trl_suite.evidence.reading.conditions import FULL
from trl_suite.evidence.report import plots, table_files
from trl_suite.evidence.results import number_format
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.source_target_matrix import matrices
from trl_suite.record import SCRATCH

DOCUMENTS = (".eps", ".pdf", ".svg")
PICTURE = ".png"
PICTURE_DPI = 300  # of a PNG
NARROWEST, WIDEST = 3.0, 20.0  # inches of a figure


def write(results: Results, kind: str, path: Path, env: str | None = None, width: float = 5.5) -> tuple[Path, Path]:
    """Write a picture of an experiment and the LaTeX table of the same numbers; return where both are.

    Args:
        results: the experiment.
        kind: as of `Results.plot`.
        path: `fig.pdf`; `fig.tex` is written beside it.
        env: the target, where the picture is of one.
        width: inches; matrices and maps are as wide as their columns need.

    Raises:
        InputError: no such kind or target, an ending that is no picture's, a width that no page has, or too few runs.
        StorageError: it cannot be written.
    """
    endings = (*DOCUMENTS, PICTURE)
    if path.suffix not in endings:
        raise InputError(f"{path}: a figure ends in {', '.join(endings)}")
    if not NARROWEST <= width <= WIDEST:
        raise InputError(f"width: {width:g} inches; {NARROWEST:g} to {WIDEST:g} expected")
    with drawn_for_cards(width):
        figure = plots.plot(results, kind, env)
    content = png(figure, PICTURE_DPI) if path.suffix == PICTURE else document(figure, path.suffix)
    table = path.with_suffix(".tex")
    with files.storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(path, content)
        files.write_atomically(table, _table(results, kind, env).encode())
    return path, table


def _table(results: Results, kind: str, env: str | None) -> str:
    """Return the table of the numbers that the picture draws."""
    rows = results.measures()
    if kind == "map":
        return _grid(transfer_matrix.by_method(rows))
    if kind in ("budget", f"{FULL}-budget"):
        return _grid(transfer_matrix.by_budget(results.budgets(), SCRATCH if kind == "budget" else FULL))
    if kind.partition("-")[0] == "matrix":
        tables = {f"matrix-{table.method}": table for table in matrices(results, rows)}
        return _grid(transfer_matrix.by_source(tables.get(kind) or next(iter(tables.values()))))
    if kind in plots.OF_A_TARGET:
        target = plots.target(results, env)
        rows = tuple(row for row in rows if row.env == target)
    return table_files.latex(rows)


def _grid(grid: GainGrid) -> str:
    texts = {(cell.line, cell.column): number_format.estimate(cell.gain, signed=True) for cell in grid.cells}
    lines = [
        [line, *(texts.get((line, column), number_format.NOTHING) for column in grid.columns)] for line in grid.lines
    ]
    return table_files.tabular("l" + "r" * len(grid.columns), [grid.down.capitalize(), *grid.columns], lines)
