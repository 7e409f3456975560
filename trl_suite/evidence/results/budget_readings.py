"""The data axis: gains over scratch and over fine-tuning, read off as if the budget had ended at some earlier step.

One run is read at several of its evaluations, so that no step more is trained. A schedule that falls over the whole
budget, such as a learning rate's, is not that of a run of the shorter one.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trl_suite.errors import InputError
from trl_suite.evidence.reading.conditions import FULL
from trl_suite.evidence.results import paired_contrast
from trl_suite.evidence.results.paired_contrast import PairedContrast
from trl_suite.record import SCRATCH

if TYPE_CHECKING:
    import pandas as pd

    from trl_suite.evidence.results.experiment_results import Results

BASELINES = (SCRATCH, FULL)


class BudgetReading(PairedContrast, frozen=True, kw_only=True):
    """A method minus a baseline on one env, up to one step: area and end are those of the budget up to it."""

    step: int  # env steps
    baseline: str  # scratch or fine-tuning
    source: str = ""  # env of the source policies


def readings(results: "Results", seed: int) -> tuple[BudgetReading, ...]:
    """Return the readings by target, step and baseline; each such family is adjusted by Holm, as a target's methods.

    Args:
        results: of the experiment, whose plan says where it is read.
        seed: of the resampling.
    """
    rows: list[BudgetReading] = []
    for env in results.envs:
        for step in results.plan.specification.get("read_at") or ():
            for baseline in BASELINES:
                rows += paired_contrast.adjusted(list(_on_env(results, env, step, baseline, seed)))
    return tuple(rows)


def check(results: "Results", steps: Sequence[int]) -> None:
    """Refuse steps at which no target is evaluated.

    Raises:
        InputError: the step, and the nearest evaluations.
    """
    grid = sorted({int(step) for curves in results.curves.values() for step in curves.steps} - {0})
    for step in steps:
        if step not in grid:
            near = sorted(sorted(grid, key=lambda at: abs(at - step))[:2])
            listed = " and ".join(f"{at:,}" for at in near) or "none"
            raise InputError(f"read_at: nothing is evaluated at step {step:,}; the nearest evaluations are at {listed}")


def frame(rows: Sequence[BudgetReading]) -> "pd.DataFrame":
    """Return one row per target, step, baseline and method, with its intervals and claims."""
    import pandas as pd

    return pd.DataFrame([paired_contrast.flat(row) for row in rows])


def _on_env(results: "Results", env: str, step: int, baseline: str, seed: int) -> Iterator[BudgetReading]:
    scale = paired_contrast.usable_scale(results, env)
    methods = dict.fromkeys(
        results.condition(results.curves[env, name]).method
        for name in results.methods(env)
        if (env, name) in results.curves
    )
    for method in (name for name in methods if name not in (SCRATCH, baseline)):
        for whole, whole_baseline in paired_contrast.arm_pairs(results, env, method, baseline):
            runs, others = paired_contrast.until(whole, step), paired_contrast.until(whole_baseline, step)
            compared = paired_contrast.gains(runs, others, scale, seed) if runs and others else None
            if compared is None:
                continue
            yield BudgetReading(
                env=env,
                method=whole.method,
                step=step,
                baseline=baseline,
                source=results.condition(whole).source,
                area=compared[0],
                end=compared[1],
                scaled=scale is not None,
                failed=paired_contrast.failed_runs(results, env, (whole.method, whole_baseline.method)),
            )
