"""Results as tidy pandas data frames; pandas is imported when one is asked for, which takes half a second."""

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from trl_suite.evidence.reading.curve import MODES, Curves
from trl_suite.evidence.reading.run_records import NETWORK_MEASURES
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.statistics import measures
from trl_suite.evidence.statistics.estimates import Estimate

if TYPE_CHECKING:
    import pandas as pd

    from trl_suite.evidence.results.experiment_results import Results


def evaluations(results: "Results") -> "pd.DataFrame":
    """Return one row per run and evaluation (and way of evaluating) of the target runs that are on their env's grid.

    Columns: env, method, source (env), seed, run (folder), complete, mode, step (env steps), return (undiscounted,
    mean over episodes), score (0 is untrained and 1 the reference; NaN without a reference), and success_rate where
    an env speaks of success.
    """
    import pandas as pd

    curves_by_mode = zip(MODES, (results.curves, results.stochastic), strict=True)
    parts = [_long(results, curves, mode) for mode, mode_curves in curves_by_mode for curves in mode_curves.values()]
    columns: dict[str, Any] = {}
    judged = any(curves.success_rates is not None for curves in results.curves.values())
    for name in (*COLUMNS, "success_rate") if judged else COLUMNS:
        values = [part[name] for part in parts]
        columns[name] = np.concatenate(values) if values else np.zeros(0)
    frame = pd.DataFrame(columns)
    return frame.astype(dict.fromkeys(("env", "method", "source", "run", "mode"), "category"))


def runs(results: "Results") -> "pd.DataFrame":
    """Return one row per planned run, with how it ended and its own measures.

    Columns: run (folder), role, env, method, source (folder), seed, status, env steps, seconds, and of target runs on
    their env's grid: zero_shot, area, asymptote (return), time_to_threshold (env steps, the budget where it was not
    reached), reached; success_rate, of the last evaluation, where the env speaks of success.
    """
    import pandas as pd

    numbers = run_measures(results)
    rows: list[dict[str, Any]] = []
    for member in results.recorded:
        planned, run = member.planned, member.run
        run_columns = (
            {"status": run.status, "steps": run.steps, "seconds": run.seconds} if run else {"status": "missing"}
        )
        plan_columns = {
            "run": planned.folder,
            "role": planned.role,
            "env": planned.target,
            "method": member.condition.name,
        }
        more = {"source": planned.source, "seed": planned.seed}
        rows.append(plan_columns | more | run_columns | numbers.get(planned.folder, {}))
    return pd.DataFrame(rows)


def run_measures(results: "Results") -> dict[str, dict[str, float | bool]]:
    """Return the measures of each target run that is on its env's grid, by its folder: see `runs`."""
    rows = {folder: row for curves in results.curves.values() for folder, row in _numbers(results, curves).items()}
    states = {m.planned.folder: m.networks[-1]._asdict() for m in results.recorded if m.networks}
    return {
        folder: row | {name: states[folder][name] for name in NETWORK_MEASURES if folder in states}
        for folder, row in rows.items()
    }


def summary(results: "Results", mode: str = MODES[0]) -> "pd.DataFrame":
    """Return one row per env and method; an estimate has the columns NAME, NAME_low, NAME_high and NAME_n."""
    import pandas as pd

    return pd.DataFrame([flat(row) for row in results.measures(mode)])


def irregularities(results: "Results") -> "pd.DataFrame":
    """Return one row per finding: kind, where, what, treatment."""
    import pandas as pd

    columns = ["kind", "where", "what", "treatment"]
    return pd.DataFrame([msgspec.to_builtins(irregularity) for irregularity in results.irregularities], columns=columns)


def flat(row: MeasureRow) -> dict[str, Any]:
    """Return a row of measures with each estimate spread over four columns."""
    columns: dict[str, Any] = {}
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, Estimate):
            ends = {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high, f"{name}_n": value.n}
            columns |= ends | ({f"{name}_p": value.p} if name in ("speed_up", "area_gain", "end_gain") else {})
        elif not isinstance(value, tuple):
            columns[name] = value
    if row.jumpstart.n:
        columns |= {"area_claim": row.area_claim, "end_claim": row.end_claim, "time_claim": row.time_claim}
    return columns


COLUMNS = ("env", "method", "source", "seed", "run", "complete", "mode", "step", "return", "score")


def _long(results: "Results", curves: Curves, mode: str) -> dict[str, Any]:
    reference = results.scales.get(curves.env)
    usable = reference is not None and reference.usable
    scale = (reference.random, reference.reference) if reference is not None and usable else (np.nan, np.nan)
    run, at = np.nonzero(np.isfinite(curves.returns) | curves.complete[:, None])  # not what a run did not live to see
    returns, rates = curves.returns[run, at], curves.success_rates
    named = {"env": curves.env, "method": curves.method, "source": results.condition(curves).source, "mode": mode}
    return {name: np.full(len(run), value, dtype=object) for name, value in named.items()} | {
        "seed": curves.seeds[run],
        "run": np.array(curves.folders, dtype=object)[run],
        "complete": curves.complete[run],
        "step": curves.steps[at],
        "return": returns,
        "score": (returns - scale[0]) / (scale[1] - scale[0]),
        "success_rate": np.full(len(run), np.nan) if rates is None else rates[run, at],
    }


def _numbers(results: "Results", curves: Curves) -> dict[str, dict[str, float | bool]]:
    """Return the measures of single runs, by folder."""
    by_measure: dict[str, Any] = {"zero_shot": measures.zero_shot(curves.returns)}
    reference = results.scales.get(curves.env)
    if len(curves.steps) > 1:
        by_measure["area"] = measures.area(curves.steps, curves.whole)
        by_measure["asymptote"] = measures.asymptote(curves.steps, curves.whole)
    if curves.success_rates is not None:
        by_measure["success_rate"] = np.where(curves.complete, curves.success_rates[:, -1], np.nan)
    if len(curves.steps) > 1 and reference is not None and reference.usable:
        times = measures.time_to_threshold(curves.steps, curves.whole, reference.threshold)
        by_measure["time_to_threshold"] = np.where(curves.complete, times.steps, np.nan)
        by_measure["reached"] = times.reached
    return {folder: {name: values[i] for name, values in by_measure.items()} for i, folder in enumerate(curves.folders)}
