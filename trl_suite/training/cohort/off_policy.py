"""SAC and TD3 for a cohort: every member acts, remembers, and learns from what it remembers.

Axes: P members, W worlds of each, B of a batch.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.mechanisms.distillation import BATCH_STATES
from trl_suite.networks.components import REPLAY, TARGET, TEMPERATURE
from trl_suite.training import settings
from trl_suite.training.cohort.adam import Cells
from trl_suite.training.cohort.algorithm import Arrays, Report, factors
from trl_suite.training.cohort.device_normaliser import DeviceNormaliser
from trl_suite.training.cohort.episodes import Episodes
from trl_suite.training.cohort.graph import Launch
from trl_suite.training.cohort.layout import Layout, actors, critics, temperature
from trl_suite.training.cohort.member import Member
from trl_suite.training.cohort.noise import Draws, Stream
from trl_suite.training.cohort.normaliser import Normaliser
from trl_suite.training.cohort.pull import Imitation, Pull
from trl_suite.training.cohort.replay import Replay
from trl_suite.training.cohort.sac import SAC
from trl_suite.training.cohort.stack import Stack, Tensors
from trl_suite.training.cohort.td3 import TD3
from trl_suite.training.cohort.worlds import Worlds
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds.address import Address
from trl_suite.worlds.env import built

Singles = npt.NDArray[np.float32]


class OffPolicy:
    """The members' SAC or TD3."""

    most = 16  # env steps of a world between two looks at who wants to stop

    def __init__(
        self,
        hyperparameters: settings.SACHyperparameters | settings.TD3Hyperparameters,
        members: Sequence[Member],
        worlds: Worlds,
        normaliser: Normaliser,
        alive: npt.NDArray[np.bool_],
        device: torch.device,
    ) -> None:
        """Begin with the members' parameters; `alive` (members,) tells from now on who acts."""
        self._hyperparameters, self._members, self._worlds, self._normaliser, self._alive = (
            hyperparameters,
            members,
            worlds,
            normaliser,
            alive,
        )
        slots, actions = len(members[0].place.interface.observation), worlds.actions
        self.stacks = _stacks(hyperparameters, members, slots, actions, device)
        learned = {name: stack for name, stack in self.stacks.items() if not name.startswith(TARGET)}
        kind = SAC if isinstance(hyperparameters, settings.SACHyperparameters) else TD3
        self.learner: SAC | TD3 = kind(hyperparameters, self.stacks, factors(learned, members))  # type: ignore[arg-type]
        self.optimisers = self.learner.optimisers
        self.rollout = hyperparameters.n_envs * hyperparameters.train_freq
        self.episodes = Episodes(len(members), hyperparameters.n_envs)
        self._given = [member.rows_given for member in members]
        rows = rows_of(hyperparameters, members[0].run.total, max(self._given))
        self._terms = terms_of(members[0].run)
        self.replay = Replay(len(members), rows, hyperparameters.n_envs, slots, actions, device, self._terms)
        for index, member in enumerate(members):
            if given := member.given():
                self.replay.give(index, given)
        self._bounds = [torch.as_tensor(bound, device=device) for bound in (worlds.low, worlds.high)]
        self._draws = _draws(hyperparameters, [member.seed for member in members], actions)
        self._raw = np.zeros((len(members), hyperparameters.n_envs, slots))
        self._device, self.updates = device, np.zeros(len(members), dtype=np.int64)
        self._statistics = DeviceNormaliser(normaliser, device)
        self._launch = Launch(self._update, self.optimisers.values(), device)
        self._pulls: list[Pull] = [
            _Remembered(member, self, index) for index, member in enumerate(members) if member.imitated is not None
        ]
        self.progress = 0.0  # share of the budget that is used

    def reset(self) -> None:
        """Start an episode in every world."""
        worlds = [member.seed + world for member in self._members for world in range(self._hyperparameters.n_envs)]
        self._raw[:] = self._worlds.reset(worlds)
        self._normaliser.observed(self._raw)
        self.replay.see(self._raw)

    def iterate(self, step: int, size: int, learning: Mapping[str, Cells]) -> Report:
        """Make some rollouts, each with its updates; see `Algorithm`."""
        for name, cells in learning.items():
            self.optimisers[name].set_learning(cells)
        told: dict[str, torch.Tensor] = {}
        steps = self._hyperparameters.gradient_steps if self._hyperparameters.gradient_steps >= 0 else self.rollout
        for at in range(step, step + size, self._hyperparameters.n_envs):
            self._act(at)
            made = at + self._hyperparameters.n_envs
            self.progress = made / self._members[0].run.total
            if made % self.rollout == 0 and made > self._hyperparameters.learning_starts:
                told |= self._learn(steps)
        self._worlds.check()
        return {name: value.cpu().numpy().astype(np.float64) for name, value in told.items()}

    def act(self, seen: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
        """Return actions in the worlds' units; see `Algorithm`."""
        low, high = self._bounds
        return low + 0.5 * (self.learner.act(seen, draws) + 1.0) * (high - low)

    def arrays(self) -> Arrays:
        """Return what is seen next, and the number of updates."""
        return {"raw": self._raw, "updates": self.updates}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return nothing."""
        return {}

    def memory(self, member: int) -> tuple[Arrays, dict[str, Arrays]]:
        """Return the member's replay."""
        return self.replay.state(member)

    def hold(self, member: int, frozen: Collection[str]) -> None:
        """Hold the transitions that the member was given, or no longer."""
        self.replay.hold(member, self._given[member] if REPLAY in frozen else 0)

    def held(self, member: int) -> dict[str, Tensors]:
        """Return the transitions that are held."""
        held = self.replay.held(member)
        return {REPLAY: held} if held else {}

    def collected(self, member: int) -> dict[str, Tensors]:
        """Return the member's transitions."""
        return {REPLAY: self.replay.transitions(member)}

    def remember(self, member: int, arrays: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> None:
        """Fill the member's replay."""
        self.replay.restore(member, arrays, parts)

    def seen(self, raw: npt.NDArray[np.float64], member: int) -> torch.Tensor:
        """Return what one member sees of observations (count, slots)."""
        return torch.as_tensor(self._normaliser.seen(raw, member), device=self._device)

    def _act(self, step: int) -> None:
        """Make one step in every world."""
        action = self._actions(step)
        # a member that has diverged acts no more, and must not stop the others with numbers that are none
        action = np.where(self._alive[:, None, None] & np.isfinite(action), action, np.float32(0.0))
        low, high = self._worlds.low, self._worlds.high
        moment = self._worlds.step(low + np.float32(0.5) * (action + np.float32(1.0)) * (high - low), self._terms)
        self.episodes.add(moment)
        self._normaliser.observed(moment.observation)
        self._normaliser.rewarded(moment.reward.astype(np.float32), moment.ended)
        self.replay.add(action, moment)
        self._raw[:] = moment.observation

    def _actions(self, step: int) -> Singles:
        """Return actions in [-1, 1] (P, W, actions): drawn by the policies, or uniform before these have learned."""
        turn = step // self._hyperparameters.n_envs
        seen = torch.as_tensor(self._normaliser.seen(self._raw), device=self._device)
        draws = self._draws[Stream.ACTION].at(turn)
        action = self.learner.act(seen, torch.as_tensor(draws, device=self._device)).cpu().numpy()
        if step < self._hyperparameters.learning_starts:
            anew = np.array([not member.acts_first for member in self._members])[:, None, None]
            action = np.where(anew, self._draws[Stream.UNIFORM].at(turn).astype(np.float32) * 2.0 - 1.0, action)
        if isinstance(self._hyperparameters, settings.TD3Hyperparameters):
            action = np.clip(action + np.float32(self._hyperparameters.action_noise) * draws, -1.0, 1.0)
        return action.astype(np.float32)

    def _learn(self, steps: int) -> Tensors:
        """Make updates of every member on batches of its own, in one launch."""
        self._statistics.take()  # those of now, as SB3 uses on a replay
        first = self.learner.updates = int(self.updates[0])
        told = self._launch(self._drawn(first, steps), (first % self.learner.phases, self.replay.room))
        self.updates += steps
        return told

    def _drawn(self, first: int, count: int) -> Tensors:
        """Return where batches lie (count, 2, P, B), their noise (count, P, ...), and what is imitated."""
        every = range(first, first + count)
        drawn = {
            "places": [self.replay.places(self._draws[Stream.REPLAY].at(at)) for at in every],
            "noise": [self._draws[Stream.POLICY].at(at).copy() for at in every],  # the next may overwrite it
        }
        found = {name: torch.as_tensor(np.stack(each), device=self._device) for name, each in drawn.items()}
        for pull in self._pulls:
            found |= pull.drawn(count)
        return found

    def _update(self, drawn: Tensors) -> Tensors:
        """Make the updates that there are batches and noise for; nothing is asked of the host."""
        told: Tensors = {}
        for index, (places, noise) in enumerate(zip(drawn["places"], drawn["noise"], strict=True)):
            for pull in self._pulls:
                pull.imitation.show(drawn, index)
            batch = self.replay.at(places)
            batch = batch._replace(
                observation=self._statistics.seen(batch.observation),
                following=self._statistics.seen(batch.following),
                reward=self._statistics.scaled(batch.reward),
            )
            told |= self.learner.update(batch, noise.transpose(0, 1))
        return told


class _Remembered:
    """One member's imitation on states that it remembers, or on those of its source at home."""

    def __init__(self, member: Member, algorithm: OffPolicy, index: int) -> None:
        assert member.imitated is not None
        self._member, self._algorithm, self._index = member, algorithm, index
        hyperparameters = member.hyperparameters
        adam = algorithm.optimisers["actor"]
        self.imitation = Imitation(adam, hyperparameters.activation, hyperparameters.algorithm, index, member.imitated)
        self._draws = Draws([member.seed], Stream.PULL, (BATCH_STATES, 2), uniform=True)

    def drawn(self, count: int) -> Tensors:
        """Return what the next updates need; see `Pull`."""
        pull = self._member.run.definition.distillation
        assert pull is not None
        strength = pull.at(self._algorithm.progress)
        if strength <= 0:
            return {}
        first = int(self._algorithm.updates[self._index])
        examples = [self._examples(at) for at in range(first, first + count)]
        together = {name: torch.cat([one[name] for one in examples]) for name in examples[0]}
        return self.imitation.drawn(together, torch.arange(count * BATCH_STATES).view(count, BATCH_STATES), strength)

    def _examples(self, update: int) -> Tensors:
        raw = self._states(self._draws.at(update)[0])
        return self.imitation.examples(raw, self._algorithm.seen(raw, self._index))

    def _states(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        home = self._member.home
        if home is None:
            return self._algorithm.replay.seen(self._index, uniform)
        return home[(uniform[:, 0] * len(home)).astype(np.int64)]


def rows_of(hyperparameters: settings.OffPolicyHyperparameters, total: int, given: int = 0) -> int:
    """Return how many rows a ring holds, of one transition per world: no more than a whole training fills.

    Args:
        hyperparameters: its hyperparameters.
        total: env steps of the training.
        given: rows that it begins with.
    """
    return min(
        max(hyperparameters.buffer_size // hyperparameters.n_envs, 1), -(-total // hyperparameters.n_envs) + given
    )


def terms_of(run: TrainingRun) -> tuple[str, ...]:
    """Return the terms of the reward that a training's ring remembers: those of an env whose replay is kept."""
    if REPLAY not in run.source_training.keep:
        return ()
    env, *_ = built(Address.parse(run.env))
    return tuple(term.label for term in env.reward)


def layouts(
    hyperparameters: settings.SACHyperparameters | settings.TD3Hyperparameters, slots: int, actions: int
) -> dict[str, Layout]:
    """Return the layout of every stack by its name; those of targets open with `target.`."""
    found = {
        "actor": actors(hyperparameters.algorithm, slots, actions, hyperparameters.hidden),
        "critic": critics(slots, actions, hyperparameters.hidden),
        f"{TARGET}critic": critics(slots, actions, hyperparameters.hidden, TARGET),
    }
    if isinstance(hyperparameters, settings.TD3Hyperparameters):
        found[f"{TARGET}actor"] = actors(hyperparameters.algorithm, slots, actions, hyperparameters.hidden, TARGET)
    if isinstance(hyperparameters, settings.SACHyperparameters) and hyperparameters.ent_coef == "auto":
        found[TEMPERATURE] = temperature()
    return found


def _stacks(
    hyperparameters: settings.SACHyperparameters | settings.TD3Hyperparameters,
    members: Sequence[Member],
    slots: int,
    actions: int,
    device: torch.device,
) -> dict[str, Stack]:
    """Return the stacks with the members' parameters."""
    found = {
        name: Stack.zeros(one, len(members), device) for name, one in layouts(hyperparameters, slots, actions).items()
    }
    for index, member in enumerate(members):
        for stack in found.values():
            stack.write(index, member.components())
    return found


def _draws(
    hyperparameters: settings.SACHyperparameters | settings.TD3Hyperparameters, seeds: Sequence[int], actions: int
) -> dict[Stream, Draws]:
    """Return the numbers of every stream that the algorithm draws."""
    batches = 2 if isinstance(hyperparameters, settings.SACHyperparameters) else 1
    return {
        Stream.ACTION: Draws(seeds, Stream.ACTION, (hyperparameters.n_envs, actions)),
        Stream.UNIFORM: Draws(seeds, Stream.UNIFORM, (hyperparameters.n_envs, actions), uniform=True),
        Stream.REPLAY: Draws(seeds, Stream.REPLAY, (hyperparameters.batch_size, 2), uniform=True),
        Stream.POLICY: Draws(seeds, Stream.POLICY, (batches, hyperparameters.batch_size, actions)),
    }
