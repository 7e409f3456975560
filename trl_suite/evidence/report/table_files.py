"""Tables of results as files: CSV, LaTeX and Parquet."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trl_suite.errors import InputError, NotInstalledError
from trl_suite.evidence.results import (
    budget_readings,
    dataframes,
    method_contrasts,
    number_format,
    source_target_matrix,
    task_sequence,
)
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.number_format import printable
from trl_suite.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # that open a formula in a spreadsheet
ENDINGS = (".csv", ".parquet", ".tex")

_ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    sign: f"\\{sign}" for sign in "&%$#_{}"
}
_SIGNS = {
    "\u2212": "$-$",
    "\u00d7": r"$\times$",
    "\u2265": r"$\geq$",
    "\u221e": r"$\infty$",
    number_format.NOTHING: "--",
}


def write(results: Results, path: Path) -> None:
    """Write the table of measures, one row per env and method; the file's ending says how.

    Raises:
        InputError: the ending is none of .csv, .tex and .parquet.
        NotInstalledError: Parquet without pyarrow.
    """
    if path.suffix == ".csv":
        _csv(dataframes.summary(results), path)
    elif path.suffix == ".tex":
        write_atomically(path, latex(results.measures()).encode())
    elif path.suffix == ".parquet":
        parquet(results, path, "summary")
    else:
        raise InputError(f"{path}: a table ends in {', '.join(ENDINGS)}")


BRIEF = ("env", "method", "complete", "planned", "asymptote", "area_gain", "end_gain", "area_over_finetune", "speed_up")


def write_brief(results: Results, path: Path) -> None:
    """Write the few columns of the summary that a reader of a repository looks for, to four digits, as CSV."""
    table = dataframes.summary(results)
    names = [name for name in table.columns if name.removesuffix("_low").removesuffix("_high") in BRIEF]
    names += [name for name in table.columns if name.endswith("_claim")]
    _csv(table.filter(items=names), path, digits="%.4g")


def _csv(table: "pd.DataFrame", path: Path, digits: str | None = None) -> None:
    """Write a table as CSV in which no text can be taken for a formula by a spreadsheet."""
    safe = table.copy()
    for name in safe.columns:
        if safe[name].dtype.name in ("object", "str", "string", "category"):
            safe[name] = safe[name].astype(object).map(_no_formula)
    write_atomically(path, safe.to_csv(None, index=False, float_format=digits).encode())


def _no_formula(value: object) -> object:
    """Return a text that a spreadsheet shows as it is and takes for no formula (OWASP, CSV injection)."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip()[:1] in FORMULA_SIGNS and text.strip() else text


def parquet(results: Results, path: Path, table: str) -> None:
    """Write one of the tables summary, runs, evaluations and irregularities as Parquet.

    Raises:
        NotInstalledError: pyarrow is missing.
    """
    if find_spec("pyarrow") is None:
        raise NotInstalledError("Parquet needs pyarrow: pip install 'trl-suite[parquet]'")
    content: pd.DataFrame = getattr(dataframes, table)(results)
    write_atomically(path, content.to_parquet(None, index=False))


def write_all(results: Results, folder: Path) -> None:
    """Write every table as CSV, the measures as LaTeX, and all as Parquet too where pyarrow is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("summary", "runs", "evaluations", "irregularities"):
        _csv(getattr(dataframes, name)(results), folder / f"{name}.csv")
        try:
            parquet(results, folder / f"{name}.parquet", name)
        except NotInstalledError:
            continue
    if len(cells := source_target_matrix.frame(results)):
        _csv(cells, folder / "matrix.csv")
    if len(methods := task_sequence.frame(results)):
        _csv(methods, folder / "sequence.csv")
    if contrasts := results.contrasts():
        _csv(method_contrasts.frame(contrasts), folder / "contrasts.csv")
    if budgets := results.budgets():
        _csv(budget_readings.frame(budgets), folder / "budgets.csv")
    write(results, folder / "summary.tex")


HEAD = ("Target", "Method", "Runs", "Return at step 0", "Return at the end", "Area gained", "Speed-up")


def latex(rows: Sequence[MeasureRow]) -> str:
    """Return the measures as a LaTeX tabular with booktabs' rules: means with 95 % intervals."""
    lines: list[Sequence[str]] = []
    for i, row in enumerate(rows):
        if i and rows[i - 1].env != row.env:
            lines.append(())
        cells = (
            row.env,
            row.method,
            f"{row.complete}/{row.planned}",
            number_format.estimate(row.zero_shot),
            number_format.estimate(row.asymptote),
            number_format.estimate(row.area_difference, signed=True),
            number_format.speed_up(row.speed_up),
        )
        lines.append(cells)
    return tabular("llrrrrr", HEAD, lines)


def tabular(columns: str, head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a LaTeX tabular with booktabs' rules; a line without cells is a gap.

    Args:
        columns: `l` and `r`, one for each column.
        head: the columns' names.
        lines: cells as they are read; signs that LaTeX would obey are escaped.
    """
    body = [" & ".join(map(_escape, line)) + r" \\" if line else r"\addlinespace" for line in (head, *lines)]
    opening = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule"]
    return "\n".join([*opening, *body[1:], r"\bottomrule", r"\end{tabular}", ""])


def _escape(text: str) -> str:
    return "".join(_SIGNS.get(sign, _ESCAPES.get(sign, sign)) for sign in printable(text))
