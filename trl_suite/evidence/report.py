"""The report: one HTML file that opens offline and says what was found, how sure it is, and how to make it again."""

import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trl_suite.evidence import account, figures, measures, wording
from trl_suite.evidence.collection import Collection
from trl_suite.evidence.comparison import Row
from trl_suite.evidence.curve import Curves
from trl_suite.evidence.design import SCRATCH
from trl_suite.evidence.references import FRACTION, Reference
from trl_suite.evidence.verdict import verdict

NAME = "report.html"
TEMPLATE = "report.html.jinja"
FILTERS = (
    "number",
    "times",
    "estimate",
    "bounds",
    "ratio",
    "speed_up",
    "probability",
    "steps",
    "duration",
    "plural",
    "percent",
    "targets",
)


class Single(NamedTuple):
    """One run's numbers, so that no picture has to be trusted."""

    method: str
    seed: int
    start: float  # return
    area: float  # return
    end: float  # return
    time: float  # env steps, NaN where it was not timed
    reached: bool
    evaluations: int


class Target(NamedTuple):
    """What the page shows of one env."""

    env: str
    rows: list[Row]
    reference: Reference | None
    horizon: int  # env steps
    evaluations: int
    learning: Markup  # svg, empty without a curve
    speed: Markup  # svg, empty without a speed-up
    singles: list[Single]


def write(runs: Path) -> Path:
    """Write `report.html` into the experiment's folder and return its path.

    Raises:
        InputError: the folder holds no plan that can be read.
    """
    page = render(Collection.read(runs))
    path, part = runs / NAME, runs / f".{NAME}.{os.getpid()}"
    part.write_text(page, encoding="utf-8")
    part.replace(path)
    return path


def render(results: Collection) -> str:
    """Return the page as text; every name in it is escaped."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update({name: getattr(wording, name) for name in FILTERS})
    return templates.get_template(TEMPLATE).render(_page(results, results.measures()))


def _page(results: Collection, rows: tuple[Row, ...]) -> dict[str, Any]:
    runs = [m.run for m in results.members if m.run is not None]
    return {
        "plan": results.plan,
        "verdict": verdict(results, rows),
        "targets": [_target(results, env, [row for row in rows if row.env == env]) for env in results.envs],
        "treatments": account.treatments(results),
        "sourced": [row for row in rows if row.source_steps],
        "costs": account.costs(results),
        "circumstances": account.circumstances(results),
        "findings": results.findings,
        "statuses": Counter("missing" if m.run is None else m.run.status for m in results.members),
        "seconds": sum(run.seconds for run in runs),
        "started": min((run.started for run in runs if run.started), default=""),
        "unstable": sum(run.unstable_episodes for run in runs),
        "fraction": FRACTION,
        "scratch": SCRATCH,
        "together": figures.TOGETHER,
    }


def _target(results: Collection, env: str, rows: list[Row]) -> Target:
    curves = [results.curves[env, method] for method in results.methods(env) if (env, method) in results.curves]
    reference = results.references.get(env)
    style = figures.looks(results.methods(env), SCRATCH)
    timed = [row for row in rows if row.speed_up.n]
    return Target(
        env=env,
        rows=rows,
        reference=reference,
        horizon=int(curves[0].steps[-1]) if curves else 0,
        evaluations=len(curves[0].steps) if curves else 0,
        learning=Markup(figures.learning_curves(curves, reference, style) if curves else ""),
        speed=Markup(figures.speed_ups(timed, style) if timed else ""),
        singles=[single for found in curves for single in _singles(found, reference)],
    )


def _singles(curves: Curves, reference: Reference | None) -> list[Single]:
    threshold = reference.threshold if reference is not None else np.nan
    enough = len(curves.steps) > 1
    nothing = np.full(len(curves.seeds), np.nan)
    areas = measures.area(curves.steps, curves.whole) if enough else nothing
    ends = measures.asymptote(curves.steps, curves.whole) if enough else nothing
    timed = curves.complete & bool(enough and np.isfinite(threshold))
    times, reached = measures.time_to_threshold(curves.steps, curves.returns, threshold) if enough else (nothing, timed)
    return [
        Single(
            method=curves.method,
            seed=int(curves.seeds[i]),
            start=float(curves.returns[i, 0]),
            area=float(areas[i]),
            end=float(ends[i]),
            time=float(times[i]) if timed[i] else float("nan"),
            reached=bool(reached[i]),
            evaluations=int(np.isfinite(curves.returns[i]).sum()),
        )
        for i in range(len(curves.seeds))
    ]
