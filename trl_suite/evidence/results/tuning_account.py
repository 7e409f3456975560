"""How hyperparameters were tuned: trials of each method, what they reached, and what they cost."""

from typing import Any, NamedTuple

import msgspec
import numpy as np

from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.run_accounts import Cost
from trl_suite.record import Plan


class _Trial(msgspec.Struct, frozen=True, kw_only=True):
    hyperparameters: dict[str, Any]
    value: float | None
    env_steps: int = 0
    seconds: float = 0.0


class _Study(msgspec.Struct, frozen=True, kw_only=True):
    env: str
    method: str
    trials: tuple[_Trial, ...]


class _Tuning(msgspec.Struct, frozen=True, kw_only=True):
    studies: tuple[_Study, ...]
    source_steps: int = 0
    options: dict[str, Any] = {}


class TunedMethod(NamedTuple):
    """The search for one method's hyperparameters on one env; values are mean returns over the tuning seeds."""

    env: str
    method: str
    trials: int
    failed: int  # of the trials
    untuned: float  # of the hyperparameters that the search started from; NaN where that trial failed
    best: float
    median: float
    worst: float
    hyperparameters: dict[str, Any]  # the best trial's
    steps: int  # env steps of all trials
    seconds: float


class TuningAccount(NamedTuple):
    """All searches of an experiment."""

    methods: list[TunedMethod]
    seeds: tuple[int, ...]  # that were tuned on; none of the experiment's
    steps: int  # env steps of each run of a trial, 0 where the target's budget was used
    source_steps: int  # env steps of the sources that were trained for the trials

    @property
    def costs(self) -> list[Cost]:
        """The searches as lines of the bill."""
        lines = [
            Cost(m.env, f"{m.method}, tuning", m.trials * len(self.seeds), float(m.steps), m.seconds)
            for m in self.methods
        ]
        if self.source_steps:
            lines.append(Cost("all", "sources of the tuning", len(self.seeds), float(self.source_steps), 0.0))
        return lines


def account(results: Results) -> TuningAccount:
    """Return the searches of an experiment; none where nothing was tuned."""
    return of_plan(results.plan)


def of_plan(plan: Plan) -> TuningAccount:
    """Return the searches that a plan names."""
    table = plan.specification.get("tuning")
    if table is None:
        return TuningAccount([], (), 0, 0)
    tuning = msgspec.convert(table, _Tuning)
    options = tuning.options
    return TuningAccount(
        methods=[_tuned(study) for study in tuning.studies if any(trial.value is not None for trial in study.trials)],
        seeds=tuple(options.get("seeds", ())),
        steps=options.get("steps") or 0,
        source_steps=tuning.source_steps,
    )


def _tuned(study: _Study) -> TunedMethod:
    ended = [trial for trial in study.trials if trial.value is not None]
    values = np.array([trial.value for trial in ended], dtype=np.float64)
    untuned = study.trials[0].value
    return TunedMethod(
        env=study.env,
        method=study.method,
        trials=len(study.trials),
        failed=len(study.trials) - len(ended),
        untuned=float("nan") if untuned is None else untuned,
        best=float(values.max()),
        median=float(np.median(values)),
        worst=float(values.min()),
        hyperparameters=ended[int(values.argmax())].hyperparameters,
        steps=sum(trial.env_steps for trial in study.trials),
        seconds=sum(trial.seconds for trial in study.trials),
    )
