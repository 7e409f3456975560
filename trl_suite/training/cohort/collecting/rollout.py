"""Collecting a rollout of all members, as SB3's PPO collects one through VecNormalize.

Axes: T steps, P members, W worlds of each.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.algorithms.hyperparameters import OnPolicyHyperparameters
from trl_suite.training.cohort.collecting.cohort_envs import CohortEnvs
from trl_suite.training.cohort.collecting.episodes import Episodes
from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser
from trl_suite.training.cohort.learning.ppo_update import Transitions, gaussian
from trl_suite.training.cohort.stacked import noise
from trl_suite.training.cohort.stacked.coefficients import Doubles, column, number
from trl_suite.training.cohort.stacked.network import Networks
from trl_suite.training.cohort.stacked.stack import Stack

Singles = npt.NDArray[np.float32]


class Collector:
    """Acts with all members in all their worlds."""

    def __init__(
        self,
        hyperparameters: OnPolicyHyperparameters,
        stack: Stack,
        networks: Networks,
        normaliser: CohortNormaliser,
        worlds: CohortEnvs,
        seeds: Sequence[int],
        alive: npt.NDArray[np.bool_],
        by_member: Sequence[OnPolicyHyperparameters] = (),
    ) -> None:
        """Begin; `alive` (members,) tells from now on who acts, `by_member` each one's discount and lambda."""
        by_member = by_member or [hyperparameters] * stack.members
        gamma, gae_lambda = column(by_member, "gamma"), column(by_member, "gae_lambda")
        self._gamma, self._decay = _singles(gamma), _singles(gamma * gae_lambda)
        self._hyperparameters, self._stack, self._networks = hyperparameters, stack, networks
        self._normaliser, self._worlds, self._seeds = normaliser, worlds, seeds
        slots, actions = stack.layout.inputs, stack.layout.outputs
        shape, zeros = (hyperparameters.n_steps, stack.members, hyperparameters.n_envs), stack.flat.new_zeros
        self._observation, self._action, self._mean = (
            zeros(*shape, slots),
            zeros(*shape, actions),
            zeros(*shape, actions),
        )
        self._value = zeros(shape)
        self._reward = np.zeros(shape, dtype=np.float32)
        self._starts = np.zeros(
            (hyperparameters.n_steps + 1, *shape[1:]), dtype=np.float32
        )  # 1 where an episode begins
        self.normalized_obs = zeros(*shape[1:], slots)  # what the networks see next
        self.episodes = Episodes(stack.members, hyperparameters.n_envs)
        self._alive = alive
        threads = noise.DrawThreads(stack.flat.device)
        self._noise_of = noise.IterationDraws(self._normal, seeds, threads)

    @property
    def begins(self) -> Singles:
        """Where an episode begins with what is seen next (P, W), 1 or 0."""
        return self._starts[-1]

    def reset(self) -> None:
        """Start an episode in every world."""
        worlds = [seed + world for seed in self._seeds for world in range(self._hyperparameters.n_envs)]
        self._observe(self._normaliser.observed(self._worlds.reset(worlds)))
        self.begins[:] = 1.0

    def collect(self, iteration: int) -> Transitions:
        """Return the next rollout; the noise of its actions is that of the iteration."""
        draws = self._draws(iteration)
        self._starts[0] = self.begins
        for step in range(self._hyperparameters.n_steps):
            self._step(step, draws[:, step])
        value, bootstrap_value = self._value.cpu().numpy(), self._values().cpu().numpy()
        advantage = advantages(self._reward, value, self._starts, bootstrap_value, self._gamma, self._decay)
        return self._transitions(torch.as_tensor(advantage, device=self.normalized_obs.device))

    def _draws(self, iteration: int) -> torch.Tensor:
        """Return the noise of an iteration's actions (P, T, W, actions)."""
        drawn = torch.as_tensor(self._noise_of.at(iteration), device=self.normalized_obs.device)
        return drawn * self._stack.free.exp()[:, None, None]

    def _normal(self, seed: int, iteration: int) -> Singles:
        shape = (self._hyperparameters.n_steps, self._hyperparameters.n_envs, self._stack.layout.outputs)
        return noise.normal(seed, noise.NoiseStream.ACTION, iteration, shape)

    def _decide(self, step: int, draws: torch.Tensor) -> torch.Tensor:
        """Return the actions of this step (P, W, actions), and keep them with the networks' outputs."""
        members, actions = self._stack.members, self._stack.layout.outputs
        self._observation[step] = self.normalized_obs
        outputs = self._networks.forward(self.normalized_obs)
        self._mean[step], self._value[step] = outputs[:members, :, :actions], outputs[members:, :, 0]
        return torch.add(self._mean[step], draws, out=self._action[step])

    def _step(self, step: int, draws: torch.Tensor) -> None:
        action = self._decide(step, draws)
        # a member that has diverged acts no more, and must not stop the others with numbers that are none
        alive = self._alive[:, None, None]
        moment = self._worlds.step(np.where(alive, action.cpu().numpy(), np.float32(0.0)))
        self.episodes.add(moment)
        normalized_obs = self._normaliser.observed(moment.observation)
        # SB3's vector envs give rewards in float32
        self._reward[step] = self._normaliser.rewarded(moment.reward.astype(np.float32), moment.ended)
        if moment.cut is not None and moment.last is not None:
            self._observe(self._normaliser.normalized_obs(moment.last))
            bootstrap_value = np.where(moment.cut, self._values().cpu().numpy(), np.float32(0.0))
            self._reward[step] += self._gamma * bootstrap_value
        self._observe(normalized_obs)
        self._starts[step + 1] = moment.ended

    def _observe(self, normalized_obs: Singles) -> None:
        self.normalized_obs.copy_(torch.from_numpy(normalized_obs))

    def _values(self) -> torch.Tensor:
        """Return the value of what is seen now (P, W)."""
        return self._networks.forward(self.normalized_obs)[self._stack.members :, :, 0]

    def _transitions(self, advantage: torch.Tensor) -> Transitions:
        log_prob = gaussian(self._action - self._mean, self._stack.free[None, :, None]).log_prob
        return Transitions(
            observation=_by_world(self._observation),
            action=_by_world(self._action),
            log_prob=_by_world(log_prob),
            advantage=_by_world(advantage),
            value_target=_by_world(advantage + self._value),
        )


def advantages(
    reward: Singles,
    value: Singles,
    starts: Singles,
    bootstrap_value: Singles,
    gamma: Singles | np.float32,
    decay: Singles | np.float32,
) -> Singles:
    """Return the generalised advantage estimates (T, P, W) (Schulman et al. 2016), in SB3's order of operations.

    Args:
        reward: (T, P, W).
        value: (T, P, W).
        starts: 1 where an episode begins (T + 1, P, W).
        bootstrap_value: value of what is seen after the last step (P, W).
        gamma: discount, of all members or one per member (P, 1).
        decay: gamma times lambda, likewise.
    """
    advantage, last_advantage = np.empty_like(reward), np.zeros_like(bootstrap_value)
    for step in reversed(range(len(reward))):
        next_value = value[step + 1] if step + 1 < len(reward) else bootstrap_value
        not_done = 1.0 - starts[step + 1]
        # delta_t = r_t + gamma V(s_t+1) (1 - d_t) - V(s_t) (Schulman et al. 2016, eq. 11)
        td_error = reward[step] + gamma * next_value * not_done - value[step]
        # A_t = delta_t + gamma lambda (1 - d_t) A_t+1 (eq. 16)
        last_advantage = td_error + decay * not_done * last_advantage
        advantage[step] = last_advantage
    return advantage


def _singles(values: Doubles) -> Singles | np.float32:
    """One number for all members, where they agree, or one per member, in single precision."""
    shared = number(values)
    return shared.astype(np.float32) if isinstance(shared, np.ndarray) else np.float32(shared)


def _by_world(values: torch.Tensor) -> torch.Tensor:
    """Return (T, P, W, ...) as (P, W * T, ...): SB3's order, in which its permutations count."""
    return values.movedim(0, 2).flatten(1, 2).contiguous()
