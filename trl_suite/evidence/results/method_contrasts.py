"""Contrasts of methods: two that the experiment's file names, the first minus the second, on every target."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from trl_suite.evidence.results import paired_contrast
from trl_suite.evidence.results.paired_contrast import PairedContrast

if TYPE_CHECKING:
    import pandas as pd

    from trl_suite.evidence.results.experiment_results import Results


class MethodContrast(PairedContrast, frozen=True, kw_only=True):
    """A method minus another on one env."""

    name: str  # as the file has it
    baseline: str  # method
    source: str = ""  # env of the source policies, "" where neither has one
    because: str = ""  # why they are compared although they differ in more than one factor


class _Asked(NamedTuple):
    name: str
    method: str
    baseline: str
    because: str


def contrasts(results: "Results", seed: int) -> tuple[MethodContrast, ...]:
    """Return the contrasts that the plan asks for by target; those of one target are one family for Holm.

    Args:
        results: of the experiment.
        seed: of the resampling.
    """
    pairs = _asked(results.plan.specification.get("contrast") or {})
    rows: list[MethodContrast] = []
    for env in results.envs:
        rows += paired_contrast.adjusted([row for asked in pairs for row in _on_env(results, env, asked, seed)])
    return tuple(rows)


def frame(rows: tuple[MethodContrast, ...]) -> "pd.DataFrame":
    """Return one row per contrast and target, with its intervals and claims."""
    import pandas as pd

    return pd.DataFrame([paired_contrast.flat(row) for row in rows])


def _asked(table: Mapping[str, Any]) -> list[_Asked]:
    asked: list[_Asked] = []
    for name, entry in table.items():
        first, second = entry["methods"] if isinstance(entry, Mapping) else entry
        asked.append(_Asked(name, first, second, entry["because"] if isinstance(entry, Mapping) else ""))
    return asked


def _on_env(results: "Results", env: str, asked: _Asked, seed: int) -> list[MethodContrast]:
    scale = paired_contrast.usable_scale(results, env)
    rows: list[MethodContrast] = []
    for runs, others in paired_contrast.arm_pairs(results, env, asked.method, asked.baseline):
        compared = paired_contrast.gains(runs, others, scale, seed)
        if compared is None:
            continue
        row = MethodContrast(
            env=env,
            name=asked.name,
            method=asked.method,
            baseline=asked.baseline,
            source=results.condition(runs).source or results.condition(others).source,
            because=asked.because,
            area=compared[0],
            end=compared[1],
            scaled=scale is not None,
            failed=paired_contrast.failed_runs(results, env, (runs.method, others.method)),
        )
        rows.append(row)
    return rows
