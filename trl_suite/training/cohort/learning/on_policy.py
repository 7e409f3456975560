"""PPO for a cohort: rollouts of all members, updates on them, and penalties on the states that were seen."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.algorithms.hyperparameters import Activation, OnPolicyHyperparameters
from trl_suite.algorithms.registry import find
from trl_suite.mechanisms.distillation import BATCH_STATES
from trl_suite.training.cohort.collecting.cohort_envs import CohortEnvs
from trl_suite.training.cohort.collecting.device_rollout import DeviceCollector
from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser
from trl_suite.training.cohort.collecting.rollout import Collector
from trl_suite.training.cohort.learning.cohort_learner import Arrays, Metrics, factors
from trl_suite.training.cohort.learning.ppo_update import PPOUpdate, Transitions
from trl_suite.training.cohort.learning.source_gradients import DistillationGradient, examples
from trl_suite.training.cohort.member import CohortMember
from trl_suite.training.cohort.stacked import noise
from trl_suite.training.cohort.stacked.adam import Cells
from trl_suite.training.cohort.stacked.network import Networks
from trl_suite.training.cohort.stacked.parameter_layout import on_policy
from trl_suite.training.cohort.stacked.stack import Stack, Tensors
from trl_suite.worlds.warp.host import HostWarpEnv


class OnPolicyLearner:
    """The members' PPO."""

    most = 1

    def __init__(
        self,
        hyperparameters: OnPolicyHyperparameters,
        members: Sequence[CohortMember],
        worlds: CohortEnvs,
        normaliser: CohortNormaliser,
        alive: npt.NDArray[np.bool_],
        device: torch.device,
    ) -> None:
        """Begin with the members' parameters; `alive` (members,) tells from now on who acts."""
        interface = members[0].place.interface
        adapter = members[0].run.definition.adapter
        sizes = (len(interface.observation), len(interface.action), hyperparameters.hidden)
        layout = on_policy(*sizes, adapter, hyperparameters.layer_norm)
        stack = Stack.zeros(layout, len(members), device)
        for index, member in enumerate(members):
            stack.write(index, member.components())
        self._hyperparameters, self._members, self._stack, self._normaliser = (
            hyperparameters,
            members,
            stack,
            normaliser,
        )
        self.stacks = {"policy": stack}
        self._by_member = [cast("OnPolicyHyperparameters", member.hyperparameters) for member in members]
        update = find(hyperparameters.algorithm).cohort_class()
        self.learner: PPOUpdate = update(
            hyperparameters, stack, factors(self.stacks, members)["policy"], self._by_member
        )
        self.optimisers = {"policy": self.learner.adam}
        self._actors = Networks(self.learner.plain.first(), self.learner.gradient.first(), hyperparameters.activation)
        self._seeds = [member.seed for member in members]
        self.rollout = hyperparameters.n_envs * hyperparameters.n_steps
        self._worlds = worlds
        self._orders = noise.IterationDraws(self._permuted, self._seeds, noise.DrawThreads(device))
        self.collector = self._collector(alive)
        self.episodes = self.collector.episodes
        self._imitation = self._imitating()
        self.learner.distillation = self._imitation

    def _imitating(self) -> "_OnRollouts | None":
        imitating = [index for index, member in enumerate(self._members) if member.imitated is not None]
        if not imitating:
            return None
        hyperparameters = self._hyperparameters
        gradient = DistillationGradient(
            self.learner.adam, hyperparameters.activation, hyperparameters.algorithm, imitating
        )
        return _OnRollouts(gradient, {index: self._members[index] for index in imitating})

    def _collector(self, alive: npt.NDArray[np.bool_]) -> Collector:
        options = (
            self._hyperparameters,
            self._stack,
            self.learner.networks,
            self._normaliser,
            self._worlds,
            self._seeds,
            alive,
            self._by_member,
        )
        if isinstance(self._worlds.batch, HostWarpEnv):
            return DeviceCollector(self._worlds.batch.on_device, *options)
        return Collector(*options)

    def reset(self) -> None:
        """Start an episode in every world."""
        self.collector.reset()

    def iterate(self, step: int, size: int, learning: Mapping[str, Cells]) -> Metrics:
        """Make one rollout and one update; see `Algorithm`."""
        iteration = step // size
        rollout = self.collector.collect(iteration)
        if self._imitation is not None:
            progress = (step + size) / self._members[0].run.total
            self._imitation.begin(iteration, progress, lambda index: self._states(index, rollout))
        self.learner.anneal(1.0 - (step + size) / self._members[0].run.total)
        logged = any(member.logger.writes for member in self._members)
        return self.learner.update(rollout, self._orders.at(iteration), learning["policy"], report=logged)

    def _permuted(self, seed: int, iteration: int) -> npt.NDArray[np.int64]:
        """Return the orders in which a member's update goes through its rollout (passes, n)."""
        return noise.permutation(seed, iteration, self._hyperparameters.passes, self.rollout)

    def act(self, normalized_obs: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
        """Return actions before they are clipped; see `Algorithm`."""
        mean = self._actors.forward(normalized_obs)[..., : self._stack.layout.outputs]
        return mean if draws is None else mean + draws * self._stack.free.exp()[:, None]

    def actors(self) -> "ActorsCopy":
        """Return a copy of the members' actors, which can act while these learn on."""
        return ActorsCopy(self.learner.plain.first(), self._hyperparameters.activation)

    def arrays(self) -> Arrays:
        """Return where episodes begin."""
        return {"begins": self.collector.begins}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the next observations."""
        return {"normalized_obs": self.collector.normalized_obs}

    def memory(self, member: int) -> tuple[Arrays, Mapping[str, Mapping[str, Any]]]:
        """Return nothing: a rollout is used up by its update."""
        return {}, {}

    def hold(self, member: int, frozen: Collection[str]) -> None:
        """Hold nothing: there is no replay."""

    def held(self, member: int) -> dict[str, Tensors]:
        """Return nothing."""
        return {}

    def collected(self, member: int) -> dict[str, Tensors]:
        """Return nothing."""
        return {}

    def remember(self, member: int, arrays: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> None:
        """Take up nothing; the parameters are those of a snapshot now."""
        if self.learner.low_rank:
            self.learner.low_rank.fold()

    def _states(self, index: int, rollout: Transitions) -> tuple[npt.NDArray[np.float64], torch.Tensor]:
        """Return the states of the coming update on which a member is compared, as they are and as it sees them."""
        raw = self._members[index].home
        if raw is None:
            normalized_obs = rollout.observation[index]
            return self._normaliser.raw(index, normalized_obs.cpu().numpy()), normalized_obs
        return raw, torch.as_tensor(self._normaliser.normalized_obs(raw, index), device=self._stack.flat.device)


class ActorsCopy:
    """The members' actors as they were when they were last taken.

    Args:
        actors: those that learn (1, P, size).
        activation: of their networks.
    """

    def __init__(self, actors: Stack, activation: Activation) -> None:
        self._actors, self._copy = actors, actors.zeros_like()
        self._networks = Networks(self._copy, self._copy.zeros_like(), activation)

    def take(self) -> None:
        """Let the copy be what the actors are now."""
        self._copy.flat.copy_(self._actors.flat)

    def act(self, normalized_obs: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
        """Return the mean actions of the copy."""
        assert draws is None
        return self._networks.forward(normalized_obs)[..., : self._copy.layout.outputs]


class _OnRollouts:
    """The members' imitation on states that are drawn from those of an update."""

    def __init__(self, gradient: DistillationGradient, members: Mapping[int, CohortMember]) -> None:
        self.gradient, self._members = gradient, members
        self._strengths: list[float] = []

    def begin(
        self,
        iteration: int,
        progress: float,
        states: Callable[[int], tuple[npt.NDArray[np.float64], torch.Tensor]],
    ) -> None:
        """Take the states of the next update, and the share of the budget that is used by then.

        Args:
            iteration: of the training.
            progress: the share.
            states: of a member: as they are, and as it sees them.
        """
        self._strengths = [member.imitation_strength(progress) for member in self._members.values()]
        if max(self._strengths) > 0:
            self._examples = []
            for index, member in self._members.items():
                raw, normalized_obs = states(index)
                self._examples.append(examples(member.imitated_gaussian(raw), normalized_obs))
            self._draws = [
                noise.generator(member.seed, noise.NoiseStream.PULL, iteration) for member in self._members.values()
            ]

    def drawn(self, count: int) -> Tensors:
        """Return the inputs of the next steps; see `CohortDistillation`."""
        if max(self._strengths) <= 0:
            return {}
        indices = [
            draws.integers(len(member["mean"]), size=(count, BATCH_STATES))
            for draws, member in zip(self._draws, self._examples, strict=True)
        ]
        return self.gradient.drawn(self._examples, torch.from_numpy(np.stack(indices)), self._strengths)
