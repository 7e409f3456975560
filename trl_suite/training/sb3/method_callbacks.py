"""What a method goes on doing during training: thawing, pulling, guiding."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from trl_suite.networks.actor import SourceActor
from trl_suite.networks.components import Components
from trl_suite.record import Freeze, Transplant
from trl_suite.training.acting.source_states import home_states
from trl_suite.training.holding import Holding
from trl_suite.training.sb3 import sb3_model as sb3
from trl_suite.training.sb3 import source_memory
from trl_suite.training.sb3.guided_env import Guided
from trl_suite.training.sb3.learners import Model
from trl_suite.training.sb3.pull import SEEN, among, own_states, pull_behaviour
from trl_suite.training.sb3.rates import warm_up
from trl_suite.training.sb3.transplant import hold, pull_copied
from trl_suite.training.seeds import seed_for
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds import rng_state


class Course:
    """The method of one run while it trains. Made after the transplant, before the first step."""

    def __init__(self, model: Model, run: TrainingRun, record: Transplant) -> None:
        self._model, self._run = model, run
        self.holding = Holding(run, record, self._components())
        self._guides: list[Guided] = []
        self._guided = 0
        self._draws: np.random.Generator | None = None  # of the states on which behaviours are compared
        method = run.definition
        if method.weights:
            pull_copied(run.source, model, method.weights, record, run.alias, run.seed)
        if method.behaviour or method.guide:
            self._accompany(run.actor(sb3.interface_of_model(model)))

    def advance(self, step: int) -> None:
        """Release what is due before the next rollout; its rate rises slowly."""
        if due := self.holding.release(step, self._components):
            self._hold(due)

    def guided_steps(self) -> int:
        """Return the env steps that the source has made since this was last asked."""
        total = sum(guide.guided_steps for guide in self._guides)
        new, self._guided = total - self._guided, total
        return new

    def state(self) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, Any]]:
        """Return the arrays and the facts that the course goes on with."""
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        if self._draws is not None:
            arrays["course.draws"] = rng_state.pack_rng([self._draws])
        return arrays, {"holding": self.holding.state(), "guided": self._guided}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Put the course where `state` found it: what was released by then learns."""
        self._guided = facts["guided"]
        self.holding.restore(facts["holding"])
        self._hold(set(self.holding.released))
        if self._draws is not None:
            rng_state.restore_rng(self._draws, arrays["course.draws"][0])

    def proof(self) -> Freeze:
        """Return the proof that nothing moved while it was frozen.

        Raises:
            FreezeBrokenError: a component did; it is named.
        """
        return self.holding.proof(self._components())

    def _components(self) -> Components:
        """Return all that can be frozen."""
        return sb3.components_of(self._model) | source_memory.given(self._model)

    def _hold(self, released: set[str]) -> None:
        components = self._components()
        hold(self._model, components, tuple(sorted(self.holding.frozen)))
        warm_up(self._model, {name: components[name] for name in sorted(released)})

    def _progress(self) -> float:
        return self._model.num_timesteps / self._run.steps

    def _accompany(self, source: SourceActor) -> None:
        if pull := self._run.definition.behaviour:
            self._draws = generator = np.random.default_rng(seed_for(self._run.seed, "pull"))
            states = own_states(self._model, generator)
            if pull.states == "source":
                home = home_states(source.policy, SEEN, seed_for(self._run.seed, "home"))
                states = among(source.placed(home), generator)
            pull_behaviour(self._model, pull, source, states, self._progress)
        if self._run.definition.guide:
            self._guides = [self._guided_world(source, index) for index in range(self._model.n_envs)]

    def _guided_world(self, source: SourceActor, index: int) -> Guided:
        """Put the guide around one of the model's worlds, innermost, where the time limit counts its steps too."""
        monitor = sb3.world_of(self._model, index)
        world: gymnasium.Env = monitor.env
        generator = np.random.default_rng(seed_for(self._run.seed, "guide", index))
        limit = world.spec.max_episode_steps if world.spec and world.spec.max_episode_steps else 1000
        guided = Guided(world, source.predict, lambda: self._longest(limit), generator)
        monitor.env = guided
        return guided

    def _longest(self, limit: int) -> int:
        guide = self._run.definition.guide
        if guide is None or guide.until <= 0:
            return 0
        return int(guide.opening * limit * max(0.0, 1 - self._progress() / guide.until))
