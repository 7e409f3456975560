"""PPO for a cohort: rollouts of all members, updates on them, and penalties on the states that were seen."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.algorithms.hyperparameters import OnPolicyHyperparameters
from trl_suite.algorithms.registry import find
from trl_suite.mechanisms.distillation import BATCH_STATES
from trl_suite.training.cohort.collecting.cohort_envs import CohortEnvs
from trl_suite.training.cohort.collecting.device_rollout import DeviceCollector
from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser
from trl_suite.training.cohort.collecting.rollout import Collector
from trl_suite.training.cohort.learning.cohort_learner import Arrays, Metrics, factors
from trl_suite.training.cohort.learning.ppo_update import PPOUpdate, Transitions
from trl_suite.training.cohort.learning.source_gradients import DistillationGradient
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
        self.collector = self._collector(alive)
        self.episodes = self.collector.episodes
        self._imitations = [
            _OnRollout(
                member,
                DistillationGradient(
                    self.learner.adam, hyperparameters.activation, hyperparameters.algorithm, index, member.imitated
                ),
                index,
            )
            for index, member in enumerate(members)
            if member.imitated is not None
        ]
        self.learner.pulls += self._imitations

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
        self._worlds.check()
        for imitation in self._imitations:
            imitation.begin(iteration, (step + size) / self._members[0].run.total, *self._states(imitation, rollout))
        self.learner.anneal(1.0 - (step + size) / self._members[0].run.total)
        orders = noise.permutations(self._seeds, iteration, self._hyperparameters.passes, self.rollout)
        logged = any(member.logger.writes for member in self._members)
        return self.learner.update(rollout, orders, learning["policy"], report=logged)

    def act(self, normalized_obs: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
        """Return actions before they are clipped; see `Algorithm`."""
        mean = self._actors.forward(normalized_obs)[..., : self._stack.layout.outputs]
        return mean if draws is None else mean + draws * self._stack.free.exp()[:, None]

    def arrays(self) -> Arrays:
        """Return where episodes begin."""
        return {"begins": self.collector.begins}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the next observations."""
        return {"normalized_obs": self.collector.normalized_obs}

    def memory(self, member: int) -> tuple[Arrays, dict[str, Arrays]]:
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

    def _states(self, imitation: "_OnRollout", rollout: Transitions) -> tuple[npt.NDArray[np.float64], torch.Tensor]:
        """Return the states of the coming update on which a member is compared, as they are and as it sees them."""
        raw = imitation.member.home
        if raw is None:
            normalized_obs = rollout.observation[imitation.index]
            return self._normaliser.raw(imitation.index, normalized_obs.cpu().numpy()), normalized_obs
        return raw, torch.as_tensor(
            self._normaliser.normalized_obs(raw, imitation.index), device=self._stack.flat.device
        )


class _OnRollout:
    """One member's imitation on states that are drawn from those of an update."""

    def __init__(self, member: CohortMember, imitation: DistillationGradient, index: int) -> None:
        self.member, self.index, self.imitation, self._strength = member, index, imitation, 0.0

    def begin(
        self, iteration: int, progress: float, raw: npt.NDArray[np.float64], normalized_obs: torch.Tensor
    ) -> None:
        """Take the states of the next update, and the share of the budget that is used by then."""
        pull = self.member.run.definition.distillation
        assert pull is not None
        self._strength = pull.at(progress)
        if self._strength > 0:
            self._examples = self.imitation.examples(raw, normalized_obs)
            self._draws = noise.generator(self.member.seed, noise.NoiseStream.PULL, iteration)

    def drawn(self, count: int) -> Tensors:
        """Return the inputs of the next steps; see `MemberDistillation`."""
        if self._strength <= 0:
            return {}
        indices = torch.as_tensor(
            self._draws.integers(len(self._examples["normalized_obs"]), size=(count, BATCH_STATES))
        )
        return self.imitation.drawn(self._examples, indices, self._strength)
