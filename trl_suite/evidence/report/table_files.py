"""Tables of results as files: CSV, LaTeX and Parquet."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from trl_suite.errors import InputError, NotInstalledError
from trl_suite.evidence.results import dataframes, number_format
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results

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
        dataframes.summary(results).to_csv(path, index=False)
    elif path.suffix == ".tex":
        path.write_text(latex(results.measures()), encoding="utf-8")
    elif path.suffix == ".parquet":
        parquet(results, path, "summary")
    else:
        raise InputError(f"{path}: a table ends in {', '.join(ENDINGS)}")


def parquet(results: Results, path: Path, table: str) -> None:
    """Write one of the tables summary, runs, evaluations and irregularities as Parquet.

    Raises:
        NotInstalledError: pyarrow is missing.
    """
    if find_spec("pyarrow") is None:
        raise NotInstalledError("Parquet needs pyarrow: pip install 'trl-suite[parquet]'")
    getattr(dataframes, table)(results).to_parquet(path, index=False)


def write_all(results: Results, folder: Path) -> None:
    """Write every table as CSV, the measures as LaTeX, and all as Parquet too where pyarrow is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("summary", "runs", "evaluations", "irregularities"):
        getattr(dataframes, name)(results).to_csv(folder / f"{name}.csv", index=False)
        try:
            parquet(results, folder / f"{name}.parquet", name)
        except NotInstalledError:
            continue
    write(results, folder / "summary.tex")


def latex(rows: Sequence[MeasureRow]) -> str:
    """Return the measures as a LaTeX tabular with booktabs' rules: means with 95 % intervals."""
    lines = [r"\begin{tabular}{llrrrrr}", r"\toprule"]
    lines += [
        "Target & Method & Runs & Return at step 0 & Return at the end & Area gained & Speed-up \\\\",
        r"\midrule",
    ]
    for i, row in enumerate(rows):
        if i and rows[i - 1].env != row.env:
            lines.append(r"\addlinespace")
        cells = (
            row.env,
            row.method,
            f"{row.complete}/{row.planned}",
            number_format.estimate(row.zero_shot),
            number_format.estimate(row.asymptote),
            number_format.estimate(row.area_difference, signed=True),
            number_format.speed_up(row.speed_up),
        )
        lines.append(" & ".join(_escape(cell) for cell in cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _escape(text: str) -> str:
    return "".join(_SIGNS.get(sign, _ESCAPES.get(sign, sign)) for sign in text)
