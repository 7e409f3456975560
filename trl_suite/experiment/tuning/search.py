"""Optuna's studies, one for each method on each target, in a journal that a later call goes on from."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.errors import NotInstalledError
from trl_suite.experiment.specification.tuning_keys import NumberRange, TuneOptions, is_whole, replaced
from trl_suite.experiment.tuning.tuning_file import Trial

JOURNAL = "journal.log"


def optuna() -> Any:
    """Optuna, which is imported now, and says nothing but warnings.

    Raises:
        NotInstalledError: it is not there.
    """
    try:
        module = importlib.import_module("optuna")
        importlib.import_module("optuna.storages.journal")
    except ImportError:
        raise NotInstalledError("trl-suite tune needs optuna: pip install 'trl-suite[tune]'") from None
    module.logging.set_verbosity(module.logging.WARNING)
    return module


def storage(folder: Path) -> Any:
    """Journal of an experiment's studies."""
    module = optuna()
    folder.mkdir(parents=True, exist_ok=True)
    return module.storages.JournalStorage(module.storages.journal.JournalFileBackend(str(folder / JOURNAL)))


class Search:
    """The search for one method's hyperparameters on one target: proposals of Optuna's TPE, the untuned ones first.

    Args:
        journal: where trials are kept.
        digest: of what is searched; another one has studies of its own.
        env: the target.
        method: its name.
        options: `[tune]`.
        hyperparameters: the untuned ones.
    """

    def __init__(
        self, journal: Any, digest: str, env: str, method: str, options: TuneOptions, hyperparameters: Hyperparameters
    ) -> None:
        self.env, self.method, self._options, self._hyperparameters = env, method, options, hyperparameters
        module = optuna()
        self._states = module.trial.TrialState
        self._distributions = {
            name: _distribution(module, values, is_whole(hyperparameters, name))
            for name, values in options.ranges.items()
        }
        name = f"{digest[:10]}/{env}/{method}"
        self._study = module.create_study(
            study_name=name,
            storage=journal,
            direction="maximize",
            load_if_exists=True,
            # a call that goes on proposes something else than its predecessor began with
            sampler=module.samplers.TPESampler(seed=crc32(name.encode())),
        )
        proposed = len(self._trials)
        self._study.sampler = module.samplers.TPESampler(seed=crc32(f"{name}/{proposed}".encode()))
        if not proposed:
            self._study.enqueue_trial(self._untuned())

    @property
    def _trials(self) -> list[Any]:
        return self._study.get_trials(deepcopy=False)

    def proposals(self) -> dict[int, Mapping[str, Any]]:
        """Hyperparameters to try next by number of the trial: first those that an earlier call did not finish."""
        pending: dict[int, Mapping[str, Any]] = {
            t.number: self._converted(t.params) for t in self._trials if t.state == self._states.RUNNING
        }
        begun = sum(t.state != self._states.WAITING for t in self._trials)
        count = min(self._options.at_once - len(pending), self._options.trials - begun)
        for _ in range(max(count, 0)):
            trial = self._study.ask(self._distributions)
            pending[trial.number] = self._converted(trial.params)
        return pending

    def tell(self, outcome: Trial) -> None:
        """Take what a trial reached; one that failed counts as a trial."""
        if outcome.value is None:
            self._study.tell(outcome.number, state=self._states.FAIL)
        else:
            self._study.tell(outcome.number, outcome.value)

    def ended(self) -> dict[int, Mapping[str, Any]]:
        """Hyperparameters of all trials that have ended, by number."""
        states = (self._states.COMPLETE, self._states.FAIL)
        return {t.number: self._converted(t.params) for t in self._trials if t.state in states}

    def _converted(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Values as hyperparameters have them: whole numbers where they are."""
        table = msgspec.structs.asdict(replaced(self.method, self._hyperparameters, params))
        return {name: table[name] for name in params}

    def _untuned(self) -> dict[str, Any]:
        """The untuned hyperparameters, each moved to the nearest end of its range where it is outside."""
        return {name: self._nearest(name, values) for name, values in self._options.ranges.items()}

    def _nearest(self, name: str, values: NumberRange | tuple[float | str | bool, ...]) -> Any:
        value = getattr(self._hyperparameters, name)
        if isinstance(values, NumberRange):
            clipped = min(max(value if isinstance(value, int | float) else values.low, values.low), values.high)
            return int(clipped) if is_whole(self._hyperparameters, name) else clipped
        return next((choice for choice in values if choice == value), values[0])


def _distribution(module: Any, values: NumberRange | tuple[float | str | bool, ...], whole: bool) -> Any:
    kinds = module.distributions
    if not isinstance(values, NumberRange):
        return kinds.CategoricalDistribution(list(values))
    if whole:
        return kinds.IntDistribution(int(values.low), int(values.high), log=values.log)
    return kinds.FloatDistribution(values.low, values.high, log=values.log)
