"""The search that `[tune]` of an experiment asks for, round by round until every study has its trials."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from trl_suite import provenance
from trl_suite.errors import InputError
from trl_suite.experiment.places.local import InProcess, Processes
from trl_suite.experiment.planning.cohort_keys import CohortPlanner
from trl_suite.experiment.planning.placement import placement
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.reuse import shipped_sources
from trl_suite.experiment.running import progress
from trl_suite.experiment.running.scheduler import Scheduler, Tally
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.specification import experiment_file
from trl_suite.experiment.specification.experiment_keys import Experiment
from trl_suite.experiment.tuning import search, tuning_file, tuning_trials
from trl_suite.experiment.tuning.search import Search
from trl_suite.experiment.tuning.tuning_file import Study, Tuning
from trl_suite.experiment.tuning.tuning_trials import TrialGrid, TrialRuns, outcome
from trl_suite.machine_resources import cores
from trl_suite.record import TUNING_RUNS
from trl_suite.terminal import Terminal


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """How a search ended."""

    tally: Tally  # of its last round
    tuning: Tuning | None  # None where it was interrupted
    file: Path  # where it is written


def tune(
    experiment: str | Path,
    *,
    runs: Path = Path("runs"),
    workers: int | None = None,
    quiet: bool = True,
    here: bool = False,
) -> Tuned:
    """Search the hyperparameters of scratch and of each method, write `tuning.json`, and return what was found.

    Every method has the same number of trials on each target, on the same tuning seeds. Trials whose networks and
    batches agree train together. What was done before is not done again: the same call goes on.

    Args:
        experiment: folder of `experiment.toml`, or the name of a shipped experiment.
        runs: the trials' run folders are kept in `runs/<experiment>/tuning/`.
        workers: cohorts at a time; as many as there are cores where not given.
        quiet: show no progress.
        here: train in this process.

    Raises:
        InputError: the file is wrong or asks for no search, or all trials of a method failed.
        NotInstalledError: Optuna is not there.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers: {workers}; at least 1")
    source = experiment_file.locate(str(experiment))
    specification = experiment_file.load(source)
    if specification.tune is None:
        raise InputError(f"{source / experiment_file.EXPERIMENT_FILE}: no [tune] here: it says what is searched")
    root = (runs / source.resolve().name / TUNING_RUNS).resolve()
    rounds = _Rounds(specification, root, source.resolve().name, workers or cores(), here)
    terminal = Terminal(quiet=quiet)
    with Stop() as stop:
        place = InProcess(stop) if here else Processes(rounds.placement.workers, rounds.placement.gpus)
        tally = Tally()
        while trials := rounds.proposed():
            specs = rounds.specs(trials)
            terminal.print(rounds.said(trials), soft_wrap=True)
            with progress.display(terminal, specs) as display:
                scheduler = Scheduler(
                    root, rounds.name, place, display, execution=specification.execution, cohort_key=rounds.planner
                )
                tally = scheduler.run(specs, stop)
            if tally.interrupted or tally.storage:
                return Tuned(tally=tally, tuning=None, file=source / tuning_file.TUNING_FILE)
            rounds.tell(trials)
    tuning = rounds.finished()
    return Tuned(tally=tally, tuning=tuning, file=tuning_file.write(source, tuning))


class _Rounds:
    """The rounds of a search: what is tried next in all studies at once."""

    def __init__(self, experiment: Experiment, root: Path, name: str, workers: int, here: bool) -> None:
        assert experiment.tune is not None
        self.name, self._root, self._options = name, root, experiment.tune
        self._digest = tuning_trials.digest_of(experiment)
        self._grid = TrialGrid(experiment, experiment.tune)
        self.placement = placement("here" if here else "local", self._grid.experiment, workers)
        # a round's runs are not known before the one before has ended: physics = "auto" goes by no number of worlds
        self.planner = CohortPlanner(self._grid.experiment, self.placement, ())
        journal = search.storage(root)
        self._searches = {
            (env, method): Search(
                journal, self._digest, env, method, experiment.tune, experiment.hyperparameters_of(env)
            )
            for env in experiment.target.envs
            for method in experiment.methods
        }

    def proposed(self) -> list[TrialRuns]:
        """Trials of the next round; none where every study has all of its own."""
        return [
            self._grid.runs(env, method, number, hyperparameters)
            for (env, method), study_search in self._searches.items()
            for number, hyperparameters in study_search.proposals().items()
        ]

    def specs(self, trials: Sequence[TrialRuns]) -> list[RunSpec]:
        """Runs of some trials, each once and sources first; shipped sources are put in their place."""
        specs = {spec.folder: spec for trial in trials for spec in (*trial.sources, *trial.specs)}
        shipped_sources.take(self._root, self.name, list(specs.values()))
        return sorted(specs.values(), key=lambda spec: spec.role != "source")

    def said(self, trials: Sequence[TrialRuns]) -> str:
        """One line about a round."""
        done = sum(len(study_search.ended()) for study_search in self._searches.values())
        total = self._options.trials * len(self._searches)
        return f"trials {done + 1} to {done + len(trials)} of {total}, on {len(self._options.seeds)} tuning seeds each"

    def tell(self, trials: Sequence[TrialRuns]) -> None:
        """Tell every study what its trials reached."""
        for trial in trials:
            self._searches[trial.env, trial.method].tell(outcome(self._root, trial, self._options))

    def finished(self) -> Tuning:
        """The search as it is kept, from the run folders.

        Raises:
            InputError: all trials of a method failed.
        """
        runs = {
            key: [self._grid.runs(*key, number, values) for number, values in study_search.ended().items()]
            for key, study_search in self._searches.items()
        }
        sources = {source.folder: source for trials in runs.values() for trial in trials for source in trial.sources}
        studies = tuple(
            Study(env=env, method=method, trials=tuple(outcome(self._root, t, self._options) for t in trials))
            for (env, method), trials in runs.items()
        )
        for study in studies:
            _ = study.best  # says so where there is none
        commit, dirty = provenance.commit()
        facts: dict[str, Any] = {"versions": provenance.versions(), "machine": provenance.machine()}
        return Tuning(
            digest=self._digest,
            options=msgspec.to_builtins(self._options),
            studies=studies,
            source_steps=sum(s.steps for s in sources.values() if not shipped_sources.is_shipped(s)),
            command=("trl-suite", *sys.argv[1:]),
            commit=commit,
            dirty=dirty,
            **facts,
        )
