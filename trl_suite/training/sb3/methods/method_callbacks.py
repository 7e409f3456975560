"""The method of one run on SB3 while it trains: thaws, resets, penalties towards the source, a guide policy."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.hooks import RemovableHandle

from trl_suite.mechanisms import methods
from trl_suite.mechanisms.adapters import Lateral
from trl_suite.mechanisms.distillation import (
    SOURCE_STATES,
    Distillation,
    distil,
    kept_behaviours,
    kept_examples,
    source_examples,
    state_sampler,
    together,
)
from trl_suite.mechanisms.freeze_schedule import FreezeSchedule, with_held
from trl_suite.networks.actor import SourceActor
from trl_suite.networks.components import Components
from trl_suite.networks.policy import Policy
from trl_suite.networks.stage_memory import STAGE_IMPORTANCE, actors_of
from trl_suite.record import Freeze, Transplant
from trl_suite.training.acting.source_states import visited_states
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.sb3.methods import source_memory
from trl_suite.training.sb3.methods.knowledge_base import KnowledgeBase
from trl_suite.training.sb3.methods.learner_actions import gaussian_of, recent_states
from trl_suite.training.sb3.methods.transplant import hold, regularize_copied
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.learners import Model
from trl_suite.training.sb3.models.rates import optimisers, warm_up
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds.stepping import rng_state

DEFAULT_EPISODE_STEPS = 1000  # of an env that names no time limit


# --- episodes that the source opens ---


GuideAct = Callable[[np.ndarray], np.ndarray]


class GuidedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Lets the source act for a random number of steps after each reset, before the learner sees the episode.

    What the learner collects is therefore its own, which keeps PPO on-policy; in the public jump-start code PPO never
    meets its guide, because it collects through another call than the one that was replaced.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], act: GuideAct, longest: Callable[[], int], generator: np.random.Generator
    ) -> None:
        super().__init__(env)
        self.guided_steps = 0  # made by the source so far: they belong on the bill
        self._act, self._longest, self._generator = act, longest, generator

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays that the guide goes on with."""
        return {"guided": np.array(self.guided_steps), "guide": rng_state.pack_rng([self._generator])}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put the guide where `state` found it."""
        self.guided_steps = int(state["guided"])
        rng_state.restore_rng(self._generator, state["guide"][0])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Return the observation at the hand-over; an episode that ends before it starts anew, unguided."""
        observation, info = self.env.reset(seed=seed, options=options)
        for _ in range(int(self._generator.integers(0, self._longest() + 1))):
            observation, _, terminated, truncated, info = self.env.step(self._act(observation))
            self.guided_steps += 1
            if terminated or truncated:
                return self.env.reset(options=options)
        return observation, info


# --- the run's method ---


class SB3Learner:
    """One run's model as a mechanism sees it; see `mechanisms.mechanism.MethodLearner`."""

    def __init__(self, model: Model, run: TrainingRun, fresh: Components) -> None:
        self.where, self.steps, self.fresh = f"method '{run.method}'", run.steps, fresh
        self.env, self.source = run.env, run.source
        self._model = model
        self._masks: list[RemovableHandle] = []

    def components(self) -> Components:
        """Return the model's components; its parameters may be written."""
        return sb3.components_of(self._model)

    def restart(self, components: Collection[str]) -> None:
        """Forget the optimizer state of these components."""
        source_memory.forget(self._model, components)

    def mask(self, masks: Components) -> None:
        """Let only the numbers of these tensors learn where the mask is 1: of all others the gradient is 0.

        A fresh Adam moves nothing whose every gradient is 0; `restart` what was moved before.
        """
        for handle in self._masks:
            handle.remove()
        components = self.components()
        self._masks = [
            components[name][tensor].register_hook(partial(torch.mul, mask))
            for name, tensors in masks.items()
            for tensor, mask in tensors.items()
            if isinstance(components[name][tensor], torch.nn.Parameter)
        ]


class MethodCallbacks:
    """The method of one run while it trains. Made after the transplant, before the first step.

    Args:
        model: the learner.
        run: its run.
        record: of the transplant.
        fresh: the components before the transplant, for a method that needs them again.
    """

    def __init__(self, model: Model, run: TrainingRun, record: Transplant, fresh: Components) -> None:
        self._model, self._run = model, run
        method = run.definition
        self.freeze_schedule = FreezeSchedule(method.thaw, run.steps, record, self._components())
        self._callbacks = methods.callbacks(method, SB3Learner(model, run, fresh), self.freeze_schedule.thaws)
        self._held = {name: digest for callback in self._callbacks for name, digest in callback.held().items()}
        self._hands_on: dict[str, dict[str, torch.Tensor]] = {}  # besides what callbacks do
        self._guides: list[GuidedEnv] = []
        self._guided = 0
        self._draws: np.random.Generator | None = None  # of the states on which behaviours are compared
        if regularizer := method.weight_regularizer:
            whole = bool(method.heads)
            weights = regularize_copied(run.source, model, regularizer, record, run.alias, run.seed, whole)
            self._hands_on |= {STAGE_IMPORTANCE: weights} if regularizer.carry else {}
        self._knowledge = KnowledgeBase(model, run, method.compress) if method.compress else None
        if self._knowledge:
            self._hands_on |= self._knowledge.hands_on
        elif isinstance(method.adapter, Lateral) and run.source:
            self._hands_on |= actors_of(run.source)
        if method.distillation or method.guide_policy:
            self._accompany(run.actor(sb3.interface_of_model(model)))

    def advance(self, step: int) -> None:
        """Do what is due before the next rollout: thaws, whose rate rises slowly, and what the method does besides."""
        if due := self.freeze_schedule.release(step, self._components):
            self._hold(due)
        for callback in self._callbacks:
            callback.advance(step)
        if self._knowledge:
            self._knowledge.advance(step)

    def deployed(self, policy: Policy) -> Policy:
        """Return the policy that is measured and stored, of the model's own: for most methods that one."""
        return self._knowledge.deployed(policy) if self._knowledge else policy

    def compress_steps(self, total: int) -> int:
        """Return how many of so many env steps trained nothing but a knowledge base."""
        return self._knowledge.steps(total) if self._knowledge else 0

    def guided_steps(self) -> int:
        """Return the env steps that the source has made since this was last asked."""
        total = sum(guide.guided_steps for guide in self._guides)
        new, self._guided = total - self._guided, total
        return new

    def state(self) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, Any]]:
        """Return the arrays and the facts that a snapshot needs."""
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        if self._draws is not None:
            arrays["callbacks.draws"] = rng_state.pack_rng([self._draws])
        of_callbacks = [callback.state() for callback in self._callbacks]
        facts = {"freeze": self.freeze_schedule.state(), "callbacks": of_callbacks, "guided": self._guided}
        if self._knowledge:
            of_knowledge, facts["compress"] = self._knowledge.state()
            arrays |= of_knowledge
        return arrays, facts

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
        """Take up a snapshot's state: what was released by then learns."""
        self._guided = facts["guided"]
        self.freeze_schedule.restore(facts["freeze"])
        self._hold(set(self.freeze_schedule.released))
        for callback, state in zip(self._callbacks, facts["callbacks"], strict=True):
            callback.restore(state)
        if self._knowledge:
            self._knowledge.restore(arrays, facts["compress"])
        if self._draws is not None:
            rng_state.restore_rng(self._draws, arrays["callbacks.draws"][0])

    def proof(self) -> Freeze:
        """Return the proof that nothing moved while it was frozen.

        Raises:
            FreezeBrokenError: a component did; it is named.
        """
        after = {name: digest for callback in self._callbacks for name, digest in callback.held().items()}
        return with_held(self.freeze_schedule.proof(self._components()), self._held, after)

    def hands_on(self) -> Components:
        """Return the policy's memory for the next stage of a sequence."""
        return methods.handed_on(self._callbacks, self._hands_on)

    def _components(self) -> Components:
        """Return all that can be frozen."""
        return sb3.components_of(self._model) | source_memory.given(self._model)

    def _hold(self, released: set[str]) -> None:
        components = self._components()
        hold(self._model, components, tuple(sorted(self.freeze_schedule.frozen)))
        warm_up(self._model, {name: components[name] for name in sorted(released)})

    def _progress(self) -> float:
        return self._model.num_timesteps / self._run.steps

    def _accompany(self, source: SourceActor) -> None:
        if distillation := self._run.definition.distillation:
            self._distil(distillation, source)
        if self._run.definition.guide_policy:
            self._guides = [self._guided_env(source, index) for index in range(self._model.n_envs)]

    def _distil(self, distillation: Distillation, source: SourceActor) -> None:
        self._draws = generator = np.random.default_rng(seed_for(self._run.seed, "pull"))
        examples = source_examples(source, recent_states(self._model, generator))
        if distillation.states != "own":
            visited = source.placed(visited_states(source.policy, SOURCE_STATES, seed_for(self._run.seed, "home")))
            examples = source_examples(source, state_sampler(visited, generator))
            if distillation.states == "earlier":
                behaviours = kept_behaviours(source, visited)
                self._hands_on |= behaviours
                examples = kept_examples(together(behaviours), generator)
        distil(optimisers(self._model)[0], distillation, examples, gaussian_of(self._model), self._progress)

    def _guided_env(self, source: SourceActor, index: int) -> GuidedEnv:
        """Put the guide around one of the model's envs, innermost, where the time limit counts its steps too."""
        monitor = sb3.world_of(self._model, index)
        env: gymnasium.Env = monitor.env
        generator = np.random.default_rng(seed_for(self._run.seed, "guide", index))
        limit = env.spec.max_episode_steps if env.spec and env.spec.max_episode_steps else DEFAULT_EPISODE_STEPS
        guide_policy = self._run.definition.guide_policy
        assert guide_policy is not None
        guided = GuidedEnv(env, source.predict, lambda: guide_policy.longest(limit, self._progress()), generator)
        monitor.env = guided
        return guided
