"""SAC and TD3 for a cohort: every member acts, remembers, and learns from what it remembers.

Axes: P members, W worlds of each, B of a batch.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from trl_suite.algorithms.hyperparameters import OffPolicyHyperparameters
from trl_suite.algorithms.registry import find
from trl_suite.mechanisms.distillation import BATCH_STATES
from trl_suite.networks.components import REPLAY, TARGET, TEMPERATURE
from trl_suite.training.cohort.collecting.cohort_envs import CohortEnvs
from trl_suite.training.cohort.collecting.device_normaliser import DeviceNormaliser
from trl_suite.training.cohort.collecting.episodes import Episodes
from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser
from trl_suite.training.cohort.learning.cohort_learner import Arrays, Metrics, factors
from trl_suite.training.cohort.learning.replay_rings import ReplayRings
from trl_suite.training.cohort.learning.sac_update import SACUpdate
from trl_suite.training.cohort.learning.source_gradients import DistillationGradient, examples
from trl_suite.training.cohort.learning.td3_update import TD3Update
from trl_suite.training.cohort.member import CohortMember
from trl_suite.training.cohort.stacked.adam import Cells
from trl_suite.training.cohort.stacked.device_staging import DeviceStaging, StagedArray
from trl_suite.training.cohort.stacked.graph import Launch
from trl_suite.training.cohort.stacked.noise import DrawThreads, NoiseDraws, NoiseStream
from trl_suite.training.cohort.stacked.parameter_layout import ParameterLayout, actors, critics, temperature
from trl_suite.training.cohort.stacked.stack import Stack, Tensors
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds.address import Address
from trl_suite.worlds.stepping.env import built

Singles = npt.NDArray[np.float32]


class OffPolicyLearner:
    """The members' SAC or TD3."""

    most = 16  # env steps of a world between two looks at who wants to stop

    def __init__(
        self,
        hyperparameters: OffPolicyHyperparameters,
        members: Sequence[CohortMember],
        worlds: CohortEnvs,
        normaliser: CohortNormaliser,
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
        update = find(hyperparameters.algorithm).cohort_class()
        self.learner: SACUpdate | TD3Update = update(hyperparameters, self.stacks, factors(learned, members))
        self.optimisers = self.learner.optimisers
        self.rollout = hyperparameters.n_envs * hyperparameters.train_freq
        self.episodes = Episodes(len(members), hyperparameters.n_envs)
        self._given = [member.rows_given for member in members]
        rows = rows_of(hyperparameters, members[0].run.total, max(self._given))
        self._terms = terms_of(members[0].run)
        self._action_noise = float(msgspec.structs.asdict(hyperparameters).get("action_noise", 0.0))
        self.replay = ReplayRings(len(members), rows, hyperparameters.n_envs, slots, actions, device, self._terms)
        for index, member in enumerate(members):
            if transitions := member.given():
                self.replay.give(index, transitions)
        self._bounds = [torch.as_tensor(bound, device=device) for bound in (worlds.low, worlds.high)]
        self._draws = _draws(hyperparameters, [member.seed for member in members], actions, DrawThreads(device))
        acting = (len(members), hyperparameters.n_envs)
        self._acting = DeviceStaging(
            {"normalized_obs": StagedArray((*acting, slots)), "draws": StagedArray((*acting, actions))}, device
        )
        self._actions_taken = DeviceStaging({"action": StagedArray((*acting, actions))}, device)
        self._drawing = DeviceStaging(_drawn_arrays(hyperparameters, self.rollout, len(members), actions), device)
        self._raw = np.zeros((len(members), hyperparameters.n_envs, slots))
        self._device, self.updates = device, np.zeros(len(members), dtype=np.int64)
        self._statistics = DeviceNormaliser(normaliser, device)
        self._launch = Launch(self._update, self.optimisers.values(), device)
        self._launch_acting = Launch(self._take_actions, (), device)
        imitating = {index: member for index, member in enumerate(members) if member.imitated is not None}
        self._imitation = _OnReplays(imitating, self) if imitating else None
        self.progress = 0.0  # share of the budget that is used

    def reset(self) -> None:
        """Start an episode in every world."""
        worlds = [member.seed + world for member in self._members for world in range(self._hyperparameters.n_envs)]
        self._raw[:] = self._worlds.reset(worlds)
        self._normaliser.observed(self._raw)
        self.replay.observe(self._raw)

    def iterate(self, step: int, size: int, learning: Mapping[str, Cells]) -> Metrics:
        """Make some rollouts, each with its updates; see `Algorithm`."""
        for name, cells in learning.items():
            self.optimisers[name].set_learning(cells)
        metrics: dict[str, torch.Tensor] = {}
        steps = self._hyperparameters.gradient_steps if self._hyperparameters.gradient_steps >= 0 else self.rollout
        for at in range(step, step + size, self._hyperparameters.n_envs):
            self._act(at)
            env_steps = at + self._hyperparameters.n_envs
            self.progress = env_steps / self._members[0].run.total
            if self._hyperparameters.learning_rate_schedule == "linear":
                for adam in self.optimisers.values():
                    adam.anneal(1.0 - self.progress)
            if env_steps % self.rollout == 0 and env_steps > self._hyperparameters.learning_starts:
                metrics |= self._learn(steps)
        return self._reported(metrics) if metrics else {}

    def _reported(self, metrics: Tensors) -> Metrics:
        """Return metrics on the host, read at once: a wait."""
        values = torch.stack(list(metrics.values())).cpu().numpy().astype(np.float64)
        rates = next(iter(self.optimisers.values())).rates()
        return dict(zip(metrics, values, strict=True)) | {"train/learning_rate": rates}

    def act(self, normalized_obs: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
        """Return actions in the worlds' units; see `Algorithm`."""
        low, high = self._bounds
        return low + 0.5 * (self.learner.act(normalized_obs, draws) + 1.0) * (high - low)

    def arrays(self) -> Arrays:
        """Return the next observations, and the number of updates."""
        return {"raw": self._raw, "updates": self.updates}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return nothing."""
        return {}

    def memory(self, member: int) -> tuple[Arrays, Mapping[str, Mapping[str, Any]]]:
        """Return the member's replay."""
        return self.replay.state(member)

    def hold(self, member: int, frozen: Collection[str]) -> None:
        """Hold the transitions that the member was given, or no longer."""
        self.replay.hold(member, self._given[member] if REPLAY in frozen else 0)

    def held(self, member: int) -> dict[str, Tensors]:
        """Return the transitions that are held."""
        transitions = self.replay.held(member)
        return {REPLAY: transitions} if transitions else {}

    def collected(self, member: int) -> dict[str, Tensors]:
        """Return the member's transitions."""
        return {REPLAY: self.replay.transitions(member)}

    def remember(self, member: int, arrays: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> None:
        """Fill the member's replay."""
        self.replay.restore(member, arrays, parts)

    def normalized_obs(self, raw: npt.NDArray[np.float64], member: int) -> torch.Tensor:
        """Return observations (count, slots) as one member's networks see them."""
        return torch.as_tensor(self._normaliser.normalized_obs(raw, member), device=self._device)

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
        draws = self._draws[NoiseStream.ACTION].at(turn)
        self._acting.send({"normalized_obs": self._normaliser.normalized_obs(self._raw), "draws": draws})
        self._launch_acting({})
        action = self._actions_taken.fetch()["action"]  # the one wait of an env step
        if step < self._hyperparameters.learning_starts:
            anew = np.array([not member.acts_first for member in self._members])[:, None, None]
            action = np.where(anew, self._draws[NoiseStream.UNIFORM].at(turn).astype(np.float32) * 2.0 - 1.0, action)
        if find(self._hyperparameters.algorithm).log_std == "none":
            action = np.clip(action + np.float32(self._action_noise) * draws, -1.0, 1.0)
        return action.astype(np.float32)

    def _take_actions(self, _: Tensors) -> Tensors:
        """Write what the policies do on what was sent, where it is fetched from: without asking the host."""
        sent = self._acting.device
        self._actions_taken.device["action"].copy_(self.learner.act(sent["normalized_obs"], sent["draws"]))
        return {}

    def _learn(self, steps: int) -> Tensors:
        """Make updates of every member on batches of its own, in one launch."""
        self._statistics.take()  # those of now, as SB3 uses on a replay
        first = int(self.updates[0])
        metrics = self._launch(self._drawn(first, steps), (first % self.learner.phases, self.replay.room))
        self.updates += steps
        return metrics

    def _drawn(self, first: int, count: int) -> Tensors:
        """Return where batches lie (count, 2, P, B), their noise (count, P, ...), and what is imitated."""
        self._drawing.write({})  # what was sent last must have left before it is overwritten
        for index, at in enumerate(range(first, first + count)):
            self._drawing.host["places"][index] = self.replay.places(self._draws[NoiseStream.REPLAY].at(at))
            self._drawing.host["noise"][index] = self._draws[NoiseStream.POLICY].at(at)
        inputs = dict(self._drawing.send())
        if self._imitation is not None:
            inputs |= self._imitation.drawn(count)
        return inputs

    def _update(self, drawn: Tensors) -> Tensors:
        """Make the updates that there are batches and noise for; nothing is asked of the host."""
        self.learner.updates = int(self.updates[0])
        reports: dict[str, list[torch.Tensor]] = {}
        for index, (places, noise) in enumerate(zip(drawn["places"], drawn["noise"], strict=True)):
            if self._imitation is not None:
                self._imitation.gradient.show(drawn, index)
            batch = self.replay.at(places)
            batch = batch._replace(
                observation=self._statistics.normalized_obs(batch.observation),
                next_obs=self._statistics.normalized_obs(batch.next_obs),
                reward=self._statistics.scaled(batch.reward),
            )
            for name, value in self.learner.update(batch, noise.transpose(0, 1)).items():
                reports.setdefault(name, []).append(value)
        return {name: sum(values[1:], values[0]) / len(values) for name, values in reports.items()}


class _OnReplays:
    """The members' imitation on states that they remember, or on those of their sources at home."""

    def __init__(self, members: Mapping[int, CohortMember], algorithm: OffPolicyLearner) -> None:
        self._members, self._algorithm = members, algorithm
        hyperparameters = next(iter(members.values())).hyperparameters
        self.gradient = DistillationGradient(
            algorithm.optimisers["actor"], hyperparameters.activation, hyperparameters.algorithm, list(members)
        )
        self._draws = NoiseDraws(
            [member.seed for member in members.values()], NoiseStream.PULL, (BATCH_STATES, 2), uniform=True
        )

    def drawn(self, count: int) -> Tensors:
        """Return the inputs of the next updates; see `CohortDistillation`."""
        strengths = [member.imitation_strength(self._algorithm.progress) for member in self._members.values()]
        if max(strengths) <= 0:
            return {}
        first = int(self._algorithm.updates[0])
        uniform = np.stack([self._draws.at(at) for at in range(first, first + count)], axis=1)  # (K, count, B, 2)
        of_members = [
            self._examples(index, member, numbers.reshape(-1, 2))
            for (index, member), numbers in zip(self._members.items(), uniform, strict=True)
        ]
        indices = torch.arange(count * BATCH_STATES).view(1, count, BATCH_STATES).expand(len(of_members), -1, -1)
        return self.gradient.drawn(of_members, indices, strengths)

    def _examples(self, index: int, member: CohortMember, uniform: npt.NDArray[np.float64]) -> Tensors:
        """Return the states (B, ...) that numbers in [0, 1) (B, 2) stand for, and what the member's source does."""
        home, indices = member.home, None
        if home is None:
            raw = self._algorithm.replay.sample_observations(index, uniform)
        else:
            indices = (uniform[:, 0] * len(home)).astype(np.int64)
            raw = home[indices]
        return examples(member.imitated_gaussian(raw, indices), self._algorithm.normalized_obs(raw, index))


def rows_of(hyperparameters: OffPolicyHyperparameters, total: int, given_rows: int = 0) -> int:
    """Return how many rows a ring holds, of one transition per world: no more than a whole training fills.

    Args:
        hyperparameters: its hyperparameters.
        total: env steps of the training.
        given_rows: rows that it begins with.
    """
    return min(
        max(hyperparameters.buffer_size // hyperparameters.n_envs, 1), -(-total // hyperparameters.n_envs) + given_rows
    )


def terms_of(run: TrainingRun) -> tuple[str, ...]:
    """Return the terms of the reward that a training's ring remembers: those of an env whose replay is kept."""
    if REPLAY not in run.source_training.keep:
        return ()
    env, *_ = built(Address.parse(run.env))
    return tuple(term.label for term in env.reward)


def layouts(hyperparameters: OffPolicyHyperparameters, slots: int, actions: int) -> dict[str, ParameterLayout]:
    """Return the layout of every stack by its name; those of targets open with `target.`."""
    algorithm, hidden, normed = hyperparameters.algorithm, hyperparameters.hidden, hyperparameters.layer_norm
    by_name = {
        "actor": actors(algorithm, slots, actions, hidden, layer_norm=normed),
        "critic": critics(slots, actions, hidden, layer_norm=normed),
        f"{TARGET}critic": critics(slots, actions, hidden, TARGET, normed),
    }
    descriptor = find(algorithm)
    if "actor" in descriptor.targets:
        by_name[f"{TARGET}actor"] = actors(algorithm, slots, actions, hidden, TARGET, normed)
    if descriptor.temperature and msgspec.structs.asdict(hyperparameters)["ent_coef"] == "auto":
        by_name[TEMPERATURE] = temperature()
    return by_name


def _stacks(
    hyperparameters: OffPolicyHyperparameters,
    members: Sequence[CohortMember],
    slots: int,
    actions: int,
    device: torch.device,
) -> dict[str, Stack]:
    """Return the stacks with the members' parameters."""
    stacks = {
        name: Stack.zeros(layout, len(members), device)
        for name, layout in layouts(hyperparameters, slots, actions).items()
    }
    for index, member in enumerate(members):
        for stack in stacks.values():
            stack.write(index, member.components())
    return stacks


def _draws(
    hyperparameters: OffPolicyHyperparameters, seeds: Sequence[int], actions: int, threads: DrawThreads
) -> dict[NoiseStream, NoiseDraws]:
    """Return the numbers of every stream that the algorithm draws."""
    acts = (hyperparameters.n_envs, actions)
    return {
        stream: NoiseDraws(seeds, stream, shape, uniform, threads)
        for stream, shape, uniform in (
            (NoiseStream.ACTION, acts, False),
            (NoiseStream.UNIFORM, acts, True),
            (NoiseStream.REPLAY, (hyperparameters.batch_size, 2), True),
            (NoiseStream.POLICY, (_batches(hyperparameters), hyperparameters.batch_size, actions), False),
        )
    }


def _batches(hyperparameters: OffPolicyHyperparameters) -> int:
    """Return for how many batches an update draws actions."""
    return 2 if find(hyperparameters.algorithm).log_std == "head" else 1


def _drawn_arrays(
    hyperparameters: OffPolicyHyperparameters, rollout: int, members: int, actions: int
) -> dict[str, StagedArray]:
    """Arrays that the updates after a rollout draw: where batches lie, and the noise of their actions."""
    steps = hyperparameters.gradient_steps if hyperparameters.gradient_steps >= 0 else rollout
    size = hyperparameters.batch_size
    return {
        "places": StagedArray((steps, 2, members, size), torch.int64),
        "noise": StagedArray((steps, members, _batches(hyperparameters), size, actions)),
    }
