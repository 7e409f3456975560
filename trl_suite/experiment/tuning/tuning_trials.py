"""Runs of a search: each trial's hyperparameters on every tuning seed, and the value that they reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trl_suite import record
from trl_suite.errors import InputError
from trl_suite.evidence.reading import curve
from trl_suite.evidence.statistics import measures
from trl_suite.experiment.planning.grid import Grid
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.running.run_state import EVALUATIONS, RUN
from trl_suite.experiment.specification.experiment_keys import Experiment
from trl_suite.experiment.specification.tuning_keys import TuneOptions
from trl_suite.experiment.tuning.tuning_file import TUNING_FILE, Trial
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.record import RunRecord


def digest_of(experiment: Experiment) -> str:
    """Identity of a search: what it tries, on what, from which hyperparameters."""
    assert experiment.tune is not None
    searched = {
        "tune": msgspec.to_builtins(experiment.tune),
        "target": experiment.target.envs,
        "steps": experiment.tune.steps or experiment.target.steps,
        "source": msgspec.to_builtins(experiment.source),
        "evaluation": msgspec.to_builtins(experiment.evaluation),
        "algorithm": experiment.algorithm,
        "hyperparameters": {env: choice.hyperparameters.table() for env, choice in experiment.choices.items()},
        "methods": {name: _acting(methods.find(name, experiment.method)) for name in experiment.methods},
    }
    return record.digest_of(searched)


def _acting(method: Method) -> dict[str, Any]:
    """Return a method without the paper that it names, which changes no search."""
    return msgspec.to_builtins(msgspec.structs.replace(method, paper=""))


def refuse_untuned(folder: Path, experiment: Experiment) -> None:
    """Refuse an experiment whose hyperparameters are to be searched first, and were not, or for something else.

    Raises:
        InputError: as said.
    """
    if experiment.tune is None:
        return
    path = folder / TUNING_FILE
    if experiment.tuning is None:
        raise InputError(f"{path}: no such file, and [tune] asks for a search: trl-suite tune {folder} makes it")
    if experiment.tuning.digest != digest_of(experiment):
        raise InputError(
            f"{path}: is of another search than experiment.toml describes now: remove it, and trl-suite tune {folder}"
        )


@dataclass(frozen=True, kw_only=True)
class TrialRuns:
    """The runs of one trial, and the sources that they start from."""

    env: str
    method: str
    number: int
    hyperparameters: Mapping[str, Any]
    sources: tuple[RunSpec, ...]
    specs: tuple[RunSpec, ...]


class TrialGrid:
    """The runs of any trial of an experiment's search."""

    def __init__(self, experiment: Experiment, options: TuneOptions) -> None:
        target = msgspec.structs.replace(experiment.target, steps=options.steps or experiment.target.steps)
        self._experiment = msgspec.structs.replace(
            experiment, seeds=options.seeds, target=target, reference=None, tune=None, tuning=None
        )
        self._grid, self._options = Grid(self._experiment), options
        self._sources = {seed: self._grid.sources(seed) for seed in options.seeds}

    @property
    def experiment(self) -> Experiment:
        """The experiment on the tuning seeds alone."""
        return self._experiment

    def runs(self, env: str, method: str, number: int, hyperparameters: Mapping[str, Any]) -> TrialRuns:
        """The runs of one trial."""
        home = self._experiment.source_of(env)
        by_seed = {seed: self._sources[seed].get(home) for seed in self._options.seeds}
        specs = [self._grid.target(env, method, seed, by_seed[seed], hyperparameters) for seed in by_seed]
        used = {spec.source for spec in specs}
        sources = tuple(source for source in by_seed.values() if source is not None and source.folder in used)
        return TrialRuns(
            env=env,
            method=method,
            number=number,
            hyperparameters=hyperparameters,
            sources=sources,
            specs=tuple(specs),
        )


def outcome(root: Path, trial: TrialRuns, options: TuneOptions) -> Trial:
    """Value and cost of a trial, from its run folders."""
    runs = [record.decode(root / spec.folder / RUN, RunRecord) for spec in trial.specs if _is_recorded(root, spec)]
    ends = [_value(root / spec.folder, options) for spec in trial.specs] if _all_done(runs, trial) else []
    finite = bool(ends) and bool(np.isfinite(ends).all())
    return Trial(
        number=trial.number,
        hyperparameters=dict(trial.hyperparameters),
        value=float(np.mean(ends)) if finite else None,
        by_seed=tuple(ends) if finite else (),
        env_steps=sum(spec.steps for spec in trial.specs),
        seconds=round(sum(run.seconds for run in runs), 1),
    )


def _is_recorded(root: Path, spec: RunSpec) -> bool:
    return (root / spec.folder / RUN).is_file()


def _all_done(runs: Sequence[RunRecord], trial: TrialRuns) -> bool:
    return len(runs) == len(trial.specs) and all(run.status == "done" for run in runs)


def _value(folder: Path, options: TuneOptions) -> float:
    """Return the number that the search maximises, of one run."""
    read = curve.read(folder / EVALUATIONS)
    if options.maximise == "area":
        return float(measures.area(read.steps, read.returns[None])[0])
    return float(measures.asymptote(read.steps, read.returns[None])[0])
