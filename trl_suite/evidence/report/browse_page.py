"""One page without a server that holds every run of several experiments: filter, draw, compare, and read a record.

The page is `browse.html`, in whose place of data stand all runs as columns. A repeated text is written once and then
named by its number, so that 10,000 runs stay a few megabytes.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import numpy as np

from trl_suite.errors import InputError
from trl_suite.evidence.reading.conditions import address, robot
from trl_suite.evidence.reading.curve import Curves, Floats
from trl_suite.evidence.reading.run_records import RecordedRun
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import film_cast
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.number_format import printable
from trl_suite.evidence.statistics import claim, estimates, measures
from trl_suite.files import storing
from trl_suite.record import RunRecord

TEMPLATE = Path(__file__).parent / "browse.html"
DATA_MARK = "/*DATA*/"
DIGITS = 4  # of a return, significant
MOST_PAIRS = 400  # whose Student quantile the page holds
RECORD_FACTS = ("digest", "started", "seconds", "steps", "device", "physics", "cohort_size", "attempts", "failures",
                "commit", "dirty", "unstable_episodes", "error")  # fmt: skip


class RunMeasures(NamedTuple):
    """Measures of one run: undiscounted returns, NaN where they were not measured."""

    start: float
    area: float
    end: float


class TextTable:
    """Texts by number: each is kept once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text."""
        return self._numbers.setdefault(printable(text), len(self._numbers))

    @property
    def texts(self) -> list[str]:
        """All texts, in the order of their numbers."""
        return list(self._numbers)


def write(experiments: Sequence[Results], path: Path) -> Path:
    """Write the page and return where it is.

    Raises:
        InputError: it does not end in .html.
        StorageError: it cannot be written.
    """
    if path.suffix != ".html":
        raise InputError(f"{path}: the page that browses runs ends in .html")
    page = TEMPLATE.read_text(encoding="utf-8")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        report_files.replace_text(path, page.replace(DATA_MARK, _as_script(page_data(experiments, path.parent))))
    return path


def page_data(experiments: Sequence[Results], folder: Path) -> dict[str, Any]:
    """Return all that the page shows, as JSON has it: experiments, texts, grids of steps, and a row per run.

    Args:
        experiments: whose runs are shown.
        folder: of the page, from where links start.
    """
    texts, grids = TextTable(), TextTable()
    runs = [
        _row(place, recorded, curve, texts, grids)
        for place, results in enumerate(experiments)
        for recorded, curve in _with_measures(results)
    ]
    return {
        "version": version("trl-suite"),
        "level": claim.LEVEL,
        "fewest": claim.FEWEST_CLAIM_PAIRS,
        "exact": estimates.EXACT,
        "quantiles": [round(estimates.student_quantile(0.975, n), 6) for n in range(1, MOST_PAIRS)],
        "experiments": [_experiment(results, folder) for results in experiments],
        "fields": list(RECORD_FACTS),
        "runs": runs,
        "grids": [json.loads(grid) for grid in grids.texts],
        "texts": texts.texts,
    }


def _experiment(results: Results, folder: Path) -> dict[str, Any]:
    """Return an experiment's name, question and film, and the returns that score 0 and 1 on each env."""
    film = film_cast.find(results).path
    return {
        "name": results.plan.name,
        "question": printable(results.plan.question),
        "command": printable(results.plan.command),
        "scales": {env: [scale.random, scale.reference] for env, scale in results.scales.items() if scale.usable},
        "film": quote(os.path.relpath(film, folder)) if film.is_file() else "",
    }


class _Drawn(NamedTuple):
    """A run's curve on its grid, its measures, and how its env departs from nominal."""

    steps: Sequence[int]
    returns: Floats
    numbers: RunMeasures
    axis: str
    severity: float


def _with_measures(results: Results) -> Iterable[tuple[RecordedRun, _Drawn]]:
    """Yield every recorded run with its curve: those of the targets on the grid of their env."""
    numbers = {folder: row for curves in results.curves.values() for folder, row in _numbers(curves).items()}
    nothing = RunMeasures(np.nan, np.nan, np.nan)
    for recorded in results.recorded:
        env, curve = recorded.planned.target, recorded.curve
        shift = results.shifts.get(env)
        yield (
            recorded,
            _Drawn(
                [] if curve is None else curve.steps.tolist(),
                np.zeros(0) if curve is None else curve.returns,
                numbers.get(recorded.planned.folder, nothing),
                shift.axis if shift else ("other" if address(env) != robot(env) else "nominal"),
                shift.value if shift else 1.0 if address(env) == robot(env) else np.nan,
            ),
        )


def _numbers(curves: Curves) -> dict[str, RunMeasures]:
    """Return the measures of each run, by folder."""
    count = len(curves.folders)
    nothing = np.full(count, np.nan)
    several = len(curves.steps) > 1
    area = measures.area(curves.steps, curves.whole) if several else nothing
    end = measures.asymptote(curves.steps, curves.whole) if several else nothing
    start = measures.zero_shot(curves.returns)
    return {
        folder: RunMeasures(float(start[i]), float(area[i]), float(end[i])) for i, folder in enumerate(curves.folders)
    }


def _row(place: int, recorded: RecordedRun, drawn: _Drawn, texts: TextTable, grids: TextTable) -> list[Any]:
    """Return a run as the page reads it; see the names in `browse.html`, in the same order."""
    planned, run = recorded.planned, recorded.run
    names = (
        planned.role, robot(planned.env), planned.target, drawn.axis, _brief(drawn.severity), recorded.condition.name,
        run.algorithm if run else "", run.engine if run else "", run.status if run else "missing", planned.folder,
        planned.source,
    )  # fmt: skip
    grid = grids.number(json.dumps([int(step) for step in drawn.steps]))
    return [
        place,
        planned.seed,
        *[texts.number(name) for name in names],
        grid,
        [_rounded(value) for value in drawn.returns],
        [_rounded(value) for value in drawn.numbers],
        _facts(run, texts) if run else [],
        texts.number(_proof(run)) if run else -1,
    ]


def _facts(run: RunRecord, texts: TextTable) -> list[int]:
    """Return the numbers of the texts that say how a run was made; versions and machine come last."""
    table: Mapping[str, Any] = msgspec.to_builtins(run)
    values = [_brief(table[name]) for name in RECORD_FACTS]
    return [texts.number(value) for value in (*values, _pairs(run.versions), _pairs(run.machine))]


def _proof(run: RunRecord) -> str:
    """Return the copied and frozen components, with the hashes before and after, as JSON."""
    freeze, transplant = run.freeze, run.transplant
    facts = {
        "transplant": msgspec.to_builtins(transplant) if transplant else {},
        "before": {name: sha[:16] for name, sha in freeze.before.items()} if freeze else {},
        "after": {name: sha[:16] for name, sha in freeze.after.items()} if freeze else {},
    }
    return json.dumps(facts)


def _pairs(table: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in table.items())


def _brief(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None


def _as_script(data: Mapping[str, Any]) -> str:
    """Return the data as JSON that can end neither the script nor a string of it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
