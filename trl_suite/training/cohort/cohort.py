"""The members of a cohort and everything that they share: an algorithm, a batch of worlds, statistics, evaluations."""

import gc
import itertools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode

from trl_suite.algorithms.hyperparameters import OffPolicyHyperparameters, OnPolicyHyperparameters
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.freeze_schedule import with_held
from trl_suite.mechanisms.mechanism import MethodCallback
from trl_suite.networks.components import REPLAY, TEMPERATURE, Components
from trl_suite.record import Freeze
from trl_suite.training.acting.evaluation import Episode
from trl_suite.training.cohort.collecting.cohort_envs import CohortEnvs, EnvMaker, Physics, simulated
from trl_suite.training.cohort.collecting.cohort_evaluation import CohortEvaluator
from trl_suite.training.cohort.collecting.device_evaluation import DeviceEvaluator
from trl_suite.training.cohort.collecting.device_rollout import DeviceCollector
from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser
from trl_suite.training.cohort.learning.cohort_learner import CohortLearner, Metrics
from trl_suite.training.cohort.learning.off_policy import OffPolicyLearner
from trl_suite.training.cohort.learning.on_policy import ActorsCopy, OnPolicyLearner
from trl_suite.training.cohort.learning.source_gradients import WeightDecay
from trl_suite.training.cohort.member import CohortMember
from trl_suite.training.cohort.stacked import optimizer_state
from trl_suite.training.cohort.stacked.adam import Cells
from trl_suite.training.cohort.stacked.coefficients import column, number
from trl_suite.training.cohort.stacked.parameter_layout import ParameterLayout
from trl_suite.training.cohort.stacked.stack import Tensors, row_of
from trl_suite.training.preparation import drawn
from trl_suite.worlds.warp.host import HostWarpEnv

BESIDE_VARIABLE = "TRL_SUITE_MEASURE_BESIDE"  # 1: PPO on Warp is measured on a second stream while it learns on


class Cohort:
    """Members that train together; all of one signature (see `signature`)."""

    def __init__(
        self, members: Sequence[CohortMember], device: torch.device, physics: Physics = "mujoco", cores: int = 1
    ) -> None:
        self.members, self._device = list(members), device
        run, self.hyperparameters = members[0].run, members[0].hyperparameters
        slots = len(members[0].place.interface.observation)
        seeds, count = [member.seed for member in members], len(members)
        self.alive = np.ones(count, dtype=bool)
        gamma = number(column([member.hyperparameters for member in members], "gamma"))
        self.normaliser = CohortNormaliser(members[0].normaliser, count, self.hyperparameters.n_envs, slots, gamma)
        for index, member in enumerate(members):
            self.normaliser.write(index, member.components())
        engine = simulated(physics, device, cores)
        self.worlds = CohortEnvs([member.addresses for member in members], engine, AutoresetMode.SAME_STEP)
        shared = (members, self.worlds, self.normaliser, self.alive, device)
        self.algorithm: CohortLearner = (
            OffPolicyLearner(self.hyperparameters, *shared)
            if isinstance(self.hyperparameters, OffPolicyHyperparameters)
            else OnPolicyLearner(cast("OnPolicyHyperparameters", self.hyperparameters), *shared)
        )
        for index, member in enumerate(members):
            if member.moments:
                optimizer_state.put(self.algorithm.optimisers, index, member.moments, member.record.copied)
        self._evaluator = self._measuring(seeds, engine, device)
        self._measured_beside = False  # an evaluation is under way beside the training
        self._actors: ActorsCopy | None = None  # those that are measured while these learn on
        self._stochastic = run.evaluation.stochastic
        decays = {index: member.decay for index, member in enumerate(members) if member.decay is not None}
        for name in self.algorithm.optimisers.keys() - {TEMPERATURE} if decays else ():
            WeightDecay(self.algorithm.optimisers[name], decays)
        self.callbacks = [
            methods.callbacks(member.run.definition, MemberLearner(self, index), member.freeze_schedule.thaws)
            for index, member in enumerate(members)
        ]
        self._held = [_held(acting) for acting in self.callbacks]
        self.hold()

    def _measuring(self, seeds: Sequence[int], engine: EnvMaker, device: torch.device) -> CohortEvaluator:
        episodes = self.members[0].run.evaluation.episodes
        worlds = CohortEnvs([[member.run.env] * episodes for member in self.members], engine, AutoresetMode.DISABLED)
        if isinstance(worlds.batch, HostWarpEnv):
            return DeviceEvaluator(worlds.batch.on_device, worlds, seeds, episodes, device)
        return CohortEvaluator(worlds, seeds, episodes, device)

    @property
    def rollout(self) -> int:
        """Env steps of one member between two updates."""
        return self.algorithm.rollout

    def components(self, index: int) -> dict[str, Tensors]:
        """Return a member's components as they are: parameters in place, statistics and what it holds as copies."""
        components = self.normaliser.member(index) | self.algorithm.held(index)
        for stack in self.algorithm.stacks.values():
            components |= stack.member(index)
        return components

    def kept(self, index: int) -> dict[str, Tensors]:
        """Return copies of what a member keeps beside its weights: moments and transitions."""
        names: tuple[str, ...] = self.members[index].keeps
        memory: dict[str, Tensors] = {}
        if REPLAY in names:
            member = self.members[index]
            memory[REPLAY] = drawn(self.algorithm.collected(index)[REPLAY], member.transitions_given, member.run)
        if set(names) - {REPLAY}:
            memory |= optimizer_state.take(self.algorithm.optimisers, index, self.members[index].components())
        return {name: memory[name] for name in names}

    def hands_on(self, index: int) -> Components:
        """Return a member's memory for the next stage of a sequence."""
        return methods.handed_on(self.callbacks[index], self.members[index].hands_on)

    def proof(self, index: int, components: Components) -> Freeze:
        """Return the proof that nothing of a member moved while it was frozen.

        Raises:
            FreezeBrokenError: something did; it is named.
        """
        proof = self.members[index].freeze_schedule.proof(components)
        return with_held(proof, self._held[index], _held(self.callbacks[index]))

    def release(self, step: int) -> None:
        """Do what every member's method has due after so many env steps: thaws, and what it does besides."""
        for index, member in enumerate(self.members):
            if released := member.freeze_schedule.release(step, lambda index=index: self.components(index)):
                self.restart(index, released, thawed=True)
                self.hold()
            for callback in self.callbacks[index]:
                callback.advance(step)

    def restart(self, index: int, components: Collection[str], thawed: bool) -> None:
        """Forget the optimizer state of a member's components; the rate of what was thawed rises slowly."""
        for adam in self.algorithm.optimisers.values():
            cells = np.zeros_like(adam.learning)
            for place in adam.stack.layout.places:
                cells[place.row, index, place.part] = place.component in components
            adam.restart(cells, thawed)

    def hold(self) -> None:
        """Hold exactly what the members hold, and all of those that have diverged."""
        self._learning: Mapping[str, Cells] = {
            name: np.stack([self._learns(index, adam.stack.layout) for index in range(len(self.members))], axis=1)
            for name, adam in self.algorithm.optimisers.items()
        }
        self.normaliser.hold([member.freeze_schedule.frozen for member in self.members])
        for index, member in enumerate(self.members):
            self.algorithm.hold(index, member.freeze_schedule.frozen)

    def _learns(self, index: int, layout: ParameterLayout) -> npt.NDArray[np.bool_]:
        return self.members[index].learning(layout) & self.alive[index]

    def chunk(self, step: int, until: int) -> int:
        """Return how many env steps may be made at once after so many: whole rollouts, at least one.

        Args:
            step: made so far.
            until: the next step at which something else is to be done before a rollout that goes beyond it.
        """
        acting = [*(member.freeze_schedule for member in self.members), *itertools.chain(*self.callbacks)]
        due = [at for schedule in acting if (at := schedule.next(step)) is not None]
        rollouts = [
            self.algorithm.most,
            (until - step) // self.rollout,
            *(-(-(at - step) // self.rollout) for at in due),
        ]
        return self.rollout * max(1, min(rollouts))

    def iterate(self, step: int, size: int) -> Metrics:
        """Make so many env steps after the first `step`, and the updates that belong to them."""
        return self.algorithm.iterate(step, size, self._learning)

    def diverged(self) -> list[int]:
        """Return the members whose parameters are no longer finite since this was last asked; they act no more."""
        finite = np.ones(len(self.members), dtype=bool)
        for stack in self.algorithm.stacks.values():
            finite &= torch.isfinite(stack.flat).all(2).all(0).cpu().numpy()
        members = np.flatnonzero(self.alive & ~finite).tolist()
        self.drop(members)
        return members

    def overflown(self) -> dict[int, int]:
        """Return member -> in how many of its worlds the physics was wrong; of those that still act, which then stop.

        It is asked after each chunk of steps and each evaluation: a wait where the physics is Warp's.
        """
        worlds = self.worlds.overflown()
        if not self._measured_beside:  # or they are being stepped on a stream of their own
            worlds = worlds + self._evaluator.overflown()
        members = {int(index): int(worlds[index]) for index in np.flatnonzero(self.alive & (worlds > 0))}
        self.drop(list(members))
        return members

    def drop(self, members: Sequence[int]) -> None:
        """Let members learn and act no more; their places stay."""
        if members:
            self.alive[members] = False
            self.hold()

    def measure(self, stopping: Callable[[], bool]) -> list[list[Episode]] | None:
        """Return the episodes of every member's policy as it is now; None where it was stopped meanwhile."""
        by_member: list[list[Episode]] = [[] for _ in self.members]
        for mode in ("deterministic", "stochastic") if self._stochastic else ("deterministic",):
            episodes = self._evaluator(self.algorithm.act, self.normaliser, self.alive, mode, stopping)
            if episodes is None:
                return None
            by_member = [before + more for before, more in zip(by_member, episodes, strict=True)]
        return by_member

    @property
    def measures_beside(self) -> bool:
        """Whether an evaluation goes on while the members learn: a device does both at once. To be asked for."""
        if os.environ.get(BESIDE_VARIABLE) != "1":
            return False
        collects_there = isinstance(self.algorithm, OnPolicyLearner) and isinstance(
            self.algorithm.collector, DeviceCollector
        )
        return collects_there and self._device.type == "cuda" and not self._stochastic

    def begin_measuring(self, steps_at_once: int) -> None:
        """Begin to measure every member's policy as it is now; `iterate` goes on with it after every env step.

        Args:
            steps_at_once: of the evaluation, after each step of the training.
        """
        algorithm, evaluator = self.algorithm, self._evaluator
        assert isinstance(algorithm, OnPolicyLearner)
        assert isinstance(algorithm.collector, DeviceCollector)
        assert isinstance(evaluator, DeviceEvaluator)
        if self._actors is None:
            self._actors = algorithm.actors()
        self._actors.take()
        evaluator.begin(self._actors.act, self.normaliser, self.alive, "deterministic")
        algorithm.collector.between = partial(evaluator.advance, steps_at_once)
        self._measured_beside = True

    def finish_measuring(self, stopping: Callable[[], bool]) -> list[list[Episode]] | None:
        """Return the episodes of the evaluation that was begun; None where it was stopped."""
        algorithm, evaluator = self.algorithm, self._evaluator
        assert isinstance(algorithm, OnPolicyLearner)
        assert isinstance(algorithm.collector, DeviceCollector)
        assert isinstance(evaluator, DeviceEvaluator)
        algorithm.collector.between, self._measured_beside = None, False
        return evaluator.finish(stopping)

    def close(self) -> None:
        """End worlds and logs, and give back the device's memory."""
        self.worlds.close()
        self._evaluator.close()
        for member in self.members:
            member.logger.close()
        if self._device.type == "cuda":
            gc.collect()  # worlds and what steps them refer to each other
            torch.cuda.empty_cache()


def _held(callbacks: Sequence[MethodCallback]) -> dict[str, str]:
    """Return the sha256 of all that a member's callbacks hold, by name."""
    return {name: digest for callback in callbacks for name, digest in callback.held().items()}


class MemberLearner:
    """One member of a cohort as a mechanism sees it; see `mechanisms.mechanism.MethodLearner`."""

    def __init__(self, cohort: Cohort, index: int) -> None:
        member = cohort.members[index]
        self.where, self.steps, self.fresh = f"method '{member.run.method}'", member.run.steps, member.fresh
        self.env, self.source = member.run.env, member.run.source
        self._cohort, self._index = cohort, index

    def components(self) -> Components:
        """Return the member's components; its parameters may be written."""
        return self._cohort.components(self._index)

    def restart(self, components: Collection[str]) -> None:
        """Forget the optimizer state of these components."""
        self._cohort.restart(self._index, components, thawed=False)

    def mask(self, masks: Components) -> None:
        """Let only the numbers of these tensors learn where the mask is 1."""
        masked = {name: {key: 1.0 - mask for key, mask in tensors.items()} for name, tensors in masks.items()}
        for adam in self._cohort.algorithm.optimisers.values():
            adam.mask(self._index, 1.0 - row_of(adam.stack.layout, masked))
