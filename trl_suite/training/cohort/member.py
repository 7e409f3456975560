"""One run of a cohort: what it starts from, what its method does to it, and what becomes of it."""

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.interface import Spaces
from trl_suite.mechanisms.distillation import (
    SOURCE_STATES,
    Behaviour,
    Gaussian,
    kept_behaviours,
    kept_gaussian,
    together,
)
from trl_suite.mechanisms.freeze_schedule import FreezeSchedule
from trl_suite.mechanisms.rate import factors
from trl_suite.mechanisms.source_replay import remembered
from trl_suite.mechanisms.weight_regularizer import WeightRegularizer, regularized
from trl_suite.networks.card import Normaliser
from trl_suite.networks.components import REPLAY, Components, select
from trl_suite.networks.policy import Policy
from trl_suite.networks.stage_memory import STAGE_IMPORTANCE
from trl_suite.training.acting.evaluation import Episode
from trl_suite.training.acting.source_states import importance, visited_states
from trl_suite.training.cohort.learning.replay_rings import essence
from trl_suite.training.cohort.member_start import moments_of, normaliser_of, policy_of, start
from trl_suite.training.cohort.stacked.parameter_layout import ParameterLayout
from trl_suite.training.cohort.stacked.stack import Tensors
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.run_log import RunLog
from trl_suite.training.training_run import Snapshot, TrainingRun, Watcher, training_addresses


class CohortMember:
    """A run in a cohort.

    Its fresh parameters are those of a run on SB3 with the same seed, to the bit.

    Raises:
        InputError: the method does not fit source and target.
    """

    def __init__(
        self, index: int, run: TrainingRun, place: Spaces, watcher: Watcher, logs: Path | None, step: int = 0
    ) -> None:
        self.index, self.run, self.place, self.watcher = index, run, place, watcher
        self.seed = seed_for(run.seed, "learner")
        self.hyperparameters, method = run.hyperparameters, run.definition
        begun = start(run, place)
        self._components, self.fresh, self.record = begun.components, begun.fresh, begun.record
        self.acts_first, self._given = begun.acts_first, begun.transitions
        self.transitions_given = len(self._given.get("rewards", ()))
        self.moments = moments_of(begun.memory) if set(remembered(method)) - {REPLAY} else {}
        self.keeps = select(run.source_training.keep, begun.memory, "keep")
        replay = {REPLAY: essence(self._given)} if self._given else {}
        self.freeze_schedule = FreezeSchedule(method.thaw, run.steps, self.record, self._components | replay)
        self.hands_on: dict[str, Tensors] = {}  # to the next stage of a sequence, besides what callbacks do
        self.decay = self._strengths(method.weight_regularizer) if method.weight_regularizer else None
        self.imitated = run.actor(place.interface) if method.distillation else None
        self.home = self._home() if method.distillation and method.distillation.states != "own" else None
        self._kept = self._keep_behaviour() if method.distillation and method.distillation.states == "earlier" else None
        self.logger = RunLog(logs, step)
        self.last: list[Episode] = []
        self._started, self._before = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """Wall time since the run began, with those of earlier attempts that it goes on from."""
        return self._before + time.monotonic() - self._started

    def resume(self, snapshot: Snapshot) -> None:
        """Take up what a snapshot tells of the run besides its numbers."""
        self.freeze_schedule.restore(snapshot.facts["freeze"])
        self.last = [Episode(*episode) for episode in snapshot.facts["last"]]
        self._before = snapshot.facts["seconds"]

    @property
    def addresses(self) -> list[str]:
        """The address of each of its training envs."""
        run = self.run
        return training_addresses(run.env, run.training_variants, self.hyperparameters.n_envs)

    @property
    def rows_given(self) -> int:
        """How many rows of its replay, of one transition per world, it was given."""
        return len(self._given.get("rewards", ())) // self.hyperparameters.n_envs

    def given(self) -> Tensors:
        """Return the transitions that it was given, by SB3's names; they are forgotten here."""
        transitions, self._given = self._given, {}
        return transitions

    @property
    def normaliser(self) -> Normaliser | None:
        """How observations and rewards are scaled."""
        return normaliser_of(self.hyperparameters)

    def components(self) -> dict[str, Tensors]:
        """Return the components that the run starts from."""
        return self._components

    def policy(self, components: Components, steps: int, memory: Components, stages: Components) -> Policy:
        """Return the policy with these components, after so many env steps, and with what it keeps beside them.

        Args:
            components: of the member.
            steps: env steps that it has made.
            memory: its own replay and optimizer state.
            stages: what it hands on of earlier stages.
        """
        with torch.no_grad():
            copies = {
                name: {key: torch.empty_like(value).copy_(components[name][key]) for key, value in tensors.items()}
                for name, tensors in self._components.items()
            }
        training = self.run.training(steps, self.last, self.seconds)
        return self.run.remembering(policy_of(self.hyperparameters, self.place, copies, training), memory, stages)

    def imitation_strength(self, progress: float) -> float:
        """Return how strongly it imitates its source after a share of the budget; 0 where it imitates none."""
        distillation = self.run.definition.distillation
        return 0.0 if distillation is None else distillation.at(progress)

    def factors(self, layout: ParameterLayout) -> npt.NDArray[np.float64]:
        """Return the factor of the learning rate for every part (rows, parts); a later selector wins."""
        by_place = np.ones((layout.rows, len(layout.parts)))
        by_component = factors(self.run.definition.rate, self.components())
        for place in layout.places:
            if place.component in by_component:
                by_place[place.row, place.part] = by_component[place.component]
        return by_place

    def learning(self, layout: ParameterLayout) -> npt.NDArray[np.bool_]:
        """Return which parts learn (rows, parts); what no component uses goes with the part before it."""
        frozen = {(place.row, place.part): place.component in self.freeze_schedule.frozen for place in layout.places}
        learning = np.ones((layout.rows, len(layout.parts)), dtype=bool)
        for row, part in np.ndindex(*learning.shape):
            learning[row, part] = not frozen[row, part] if (row, part) in frozen else learning[row, part - 1]
        return learning

    def _strengths(self, pull: WeightRegularizer) -> dict[str, Tensors]:
        """Return how strongly each number of what was copied is pulled back; nothing where it is not."""
        run, components = self.run, self.components()
        weights: dict[str, torch.Tensor] = {}
        if run.source is not None:
            learner = run.source  # of which, with heads per task, a member has only a part
            if not run.definition.heads:
                learner = policy_of(self.hyperparameters, self.place, components, run.source.card.training)
            weights = importance(run.source, learner, pull, run.alias, run.seed)
            self.hands_on |= {STAGE_IMPORTANCE: weights} if pull.carry else {}
        names = regularized(pull, components, self.record.copied)
        return {
            name: {
                tensor: pull.strength * weights.get(f"{name}.{tensor}", torch.ones_like(value.detach()))
                for tensor, value in components[name].items()
            }
            for name in names
        }

    def imitated_gaussian(self, raw: npt.NDArray[np.float64], indices: npt.NDArray[np.int64] | None = None) -> Gaussian:
        """Return mean and log std (count, actions) of the actions that the member imitates.

        Args:
            raw: the states, unnormalised (count, slots).
            indices: which of those of `home` they are; None where they are all of them, or none.
        """
        if self._kept is None:
            assert self.imitated is not None
            return self.imitated.gaussian(raw)
        return kept_gaussian(self._kept, torch.arange(len(raw)) if indices is None else torch.from_numpy(indices))

    def _keep_behaviour(self) -> Behaviour:
        """Take up what all earlier stages did in their kept states, which stand in place of those at home."""
        assert self.imitated is not None
        assert self.home is not None
        behaviours = kept_behaviours(self.imitated, self.home)
        self.hands_on |= behaviours
        behaviour = together(behaviours)
        self.home = behaviour["observations"].numpy()
        return behaviour

    def _home(self) -> npt.NDArray[np.float64]:
        source = self.run.actor(self.place.interface)
        return source.placed(visited_states(source.policy, SOURCE_STATES, seed_for(self.run.seed, "home")))
