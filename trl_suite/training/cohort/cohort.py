"""The members of a cohort and everything that they share: one stack, one batch of worlds, one optimiser."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from trl_suite.training.cohort import noise
from trl_suite.training.cohort.adam import Cells
from trl_suite.training.cohort.device_evaluation import DeviceEvaluator
from trl_suite.training.cohort.device_rollout import DeviceCollector
from trl_suite.training.cohort.evaluation import Evaluator
from trl_suite.training.cohort.layout import Layout
from trl_suite.training.cohort.member import Member
from trl_suite.training.cohort.normaliser import Normaliser
from trl_suite.training.cohort.ppo import Learner, Report, Transitions
from trl_suite.training.cohort.pull import Imitation, WeightDecay
from trl_suite.training.cohort.rollout import Collector
from trl_suite.training.cohort.stack import Stack, Tensors
from trl_suite.training.cohort.worlds import Make, Physics, Worlds, simulated
from trl_suite.training.evaluation import Episode
from trl_suite.worlds.warp.host import HostBatch


class Cohort:
    """Members that train together; all of one signature (see `signature`)."""

    def __init__(self, members: Sequence[Member], device: torch.device, physics: Physics = "mujoco") -> None:
        self.members = list(members)
        job, self.how = members[0].job, members[0].how
        place, worlds = members[0].place, self.how.n_envs
        slots, actions = len(place.interface.observation), len(place.interface.action)
        seeds, count = [member.seed for member in members], len(members)
        self.layout = Layout(slots, actions, self.how.hidden)
        self.stack = Stack.zeros(self.layout, count, device)
        self.normaliser = Normaliser(members[0].normaliser, count, worlds, slots)
        for index, member in enumerate(members):
            self.stack.write(index, member.components())
            self.normaliser.write(index, member.components())
        factors = np.stack([member.factors(self.layout) for member in members], axis=1)
        self.learner = Learner(self.how, self.stack, factors)
        engine = simulated(physics, device)
        self.worlds = Worlds([member.addresses for member in members], engine, AutoresetMode.SAME_STEP)
        self.collector = self._collector(seeds)
        self._evaluator = self._measuring(seeds, engine)
        self._stochastic = job.evaluation.stochastic
        self._imitations = self._pull()
        self.alive = np.ones(count, dtype=bool)
        self.hold()

    def _collector(self, seeds: Sequence[int]) -> Collector:
        given = (self.how, self.stack, self.learner.networks, self.normaliser, self.worlds, seeds)
        if isinstance(self.worlds.batch, HostBatch):
            return DeviceCollector(self.worlds.batch.on_device, *given)
        return Collector(*given)

    def _measuring(self, seeds: Sequence[int], engine: Make) -> Evaluator:
        episodes = self.members[0].job.evaluation.episodes
        worlds = Worlds([[member.job.env] * episodes for member in self.members], engine, AutoresetMode.DISABLED)
        if isinstance(worlds.batch, HostBatch):
            return DeviceEvaluator(worlds.batch.on_device, worlds, seeds, episodes)
        return Evaluator(worlds, seeds, episodes)

    @property
    def rollout(self) -> int:
        """Env steps of one member between two updates."""
        return self.how.n_envs * self.how.n_steps

    def components(self, index: int) -> dict[str, Tensors]:
        """Return a member's components as they are: parameters in place, statistics as copies."""
        return {**self.stack.member(index), **self.normaliser.member(index)}

    def release(self, step: int) -> None:
        """Let every member learn what is due after so many env steps."""
        for index, member in enumerate(self.members):
            released = member.holding.release(step, lambda index=index: self.components(index))
            if not released:
                continue
            cells = np.zeros_like(self.learner.adam.learning)
            for name, row, part in self.layout.components():
                cells[row, index, self.layout.parts.index(part)] = name in released
            self.learner.adam.restart(cells)
            self.hold()

    def hold(self) -> None:
        """Hold exactly what the members hold, and all of those that have diverged."""
        each = [member.learning(self.layout) & alive for member, alive in zip(self.members, self.alive, strict=True)]
        self._learning: Cells = np.stack(each, axis=1)
        self.normaliser.hold([member.holding.frozen for member in self.members])

    def iterate(self, iteration: int) -> Report:
        """Make one rollout and one update."""
        rollout = self.collector.collect(iteration)
        self.worlds.check()
        self._show(rollout, iteration)
        seeds = [member.seed for member in self.members]
        orders = noise.permutations(seeds, iteration, self.how.n_epochs, self.rollout)
        return self.learner.update(rollout, orders, self._learning)

    def diverged(self) -> list[int]:
        """Return the members whose parameters are no longer finite since this was last asked; they act no more."""
        finite = torch.isfinite(self.stack.flat).all(2).all(0).cpu().numpy()
        found = np.flatnonzero(self.alive & ~finite).tolist()
        self.drop(found)
        return found

    def drop(self, members: Sequence[int]) -> None:
        """Let members learn and act no more; their places stay."""
        if members:
            self.alive[members] = False
            self.collector.alive[:, 0, 0] = self.alive
            self.hold()

    def measure(self, stopping: Callable[[], bool]) -> list[list[Episode]] | None:
        """Return the episodes of every member's policy as it is now; None where it was stopped meanwhile."""
        found: list[list[Episode]] = [[] for _ in self.members]
        for mode in ("deterministic", "stochastic") if self._stochastic else ("deterministic",):
            episodes = self._evaluator(self.stack, self.learner.networks, self.normaliser, self.alive, mode, stopping)
            if episodes is None:
                return None
            found = [before + more for before, more in zip(found, episodes, strict=True)]
        return found

    def close(self) -> None:
        """End worlds and logs."""
        self.worlds.close()
        self._evaluator.close()
        for member in self.members:
            member.logger.close()

    def _pull(self) -> list[tuple[int, Imitation]]:
        """Attach the members' penalties to the optimiser; return those that need states."""
        imitations: list[tuple[int, Imitation]] = []
        for index, member in enumerate(self.members):
            if member.decay is not None:
                self.learner.after.append(WeightDecay(self.learner, index, member.decay).apply)
            behaviour = member.job.definition.behaviour
            if behaviour is not None and member.imitated is not None:
                one = Imitation(self.learner, index, member.seed, behaviour, member.imitated)
                self.learner.before.append(one.apply)
                imitations.append((index, one))
        return imitations

    def _show(self, rollout: Transitions, iteration: int) -> None:
        """Give the penalties on behaviour the states of the coming update."""
        progress = (iteration + 1) * self.rollout / self.members[0].job.total
        for index, imitation in self._imitations:
            raw = self.members[index].home
            if raw is None:
                seen = rollout.observation[index]
                raw = self.normaliser.raw(index, seen.cpu().numpy())
            else:
                seen = torch.as_tensor(self.normaliser.seen(raw, index), device=self.stack.flat.device)
            imitation.begin(iteration, progress, raw, seen)
