"""Collecting a rollout of all members, as SB3's PPO collects one through VecNormalize.

Axes: T steps, P members, W worlds of each.
"""

from collections.abc import Sequence

import torch

from trl_suite.training import settings
from trl_suite.training.cohort import noise
from trl_suite.training.cohort.episodes import Episodes
from trl_suite.training.cohort.network import Networks
from trl_suite.training.cohort.normaliser import Normaliser
from trl_suite.training.cohort.ppo import Transitions, gaussian
from trl_suite.training.cohort.stack import Stack
from trl_suite.training.cohort.worlds import Worlds


class Collector:
    """Acts with all members in all their worlds."""

    def __init__(
        self,
        how: settings.PPO,
        stack: Stack,
        networks: Networks,
        normaliser: Normaliser,
        worlds: Worlds,
        seeds: Sequence[int],
    ) -> None:
        self._how, self._stack, self._networks = how, stack, networks
        self._normaliser, self._worlds, self._seeds = normaliser, worlds, seeds
        slots, actions = stack.layout.observations, stack.layout.actions
        shape, made = (how.n_steps, stack.members, how.n_envs), stack.flat.new_zeros
        self._observation, self._action, self._mean = made(*shape, slots), made(*shape, actions), made(*shape, actions)
        self._value, self._reward = made(shape), made(shape)
        self._starts = made(how.n_steps + 1, *shape[1:])  # 1 where an episode begins
        self.seen = made(*shape[1:], slots)  # what the networks see next
        self.episodes = Episodes(stack.members, how.n_envs)
        self.alive = torch.ones(stack.members, 1, 1, dtype=torch.bool, device=stack.flat.device)

    @property
    def begins(self) -> torch.Tensor:
        """Where an episode begins with what is seen next (P, W), 1 or 0."""
        return self._starts[-1]

    def reset(self) -> None:
        """Start an episode in every world."""
        worlds = [seed + world for seed in self._seeds for world in range(self._how.n_envs)]
        self.seen.copy_(self._normaliser.observed(self._worlds.reset(worlds)))
        self.begins.fill_(1.0)

    def collect(self, iteration: int) -> Transitions:
        """Return the next rollout; the noise of its actions is that of the iteration."""
        shape = (self._how.n_steps, self._how.n_envs, self._stack.layout.actions)
        drawn = noise.normals(self._seeds, noise.Stream.ACTION, iteration, shape)
        draws = torch.as_tensor(drawn, device=self.seen.device) * self._stack.log_std.exp()[:, None, None]
        self._starts[0] = self.begins
        for step in range(self._how.n_steps):
            self._step(step, draws[:, step])
        value = self._networks.forward(self.seen)[self._stack.members :, :, 0]
        return self._transitions(advantages(self._reward, self._value, self._starts, value, self._how))

    def _step(self, step: int, draws: torch.Tensor) -> None:
        members = self._stack.members
        self._observation[step] = self.seen
        outputs = self._networks.forward(self.seen)
        self._mean[step] = outputs[:members, :, : self._stack.layout.actions]
        self._value[step] = outputs[members:, :, 0]
        torch.add(self._mean[step], draws, out=self._action[step])
        # a member that has diverged acts no more, and must not stop the others with numbers that are none
        moment = self._worlds.step(torch.where(self.alive, self._action[step], 0.0))
        self.episodes.add(moment)
        self.seen.copy_(self._normaliser.observed(moment.observation))
        # SB3's vector envs give rewards in float32
        self._reward[step] = self._normaliser.rewarded(moment.reward.float(), moment.ended)
        if moment.cut is not None and moment.last is not None:
            beyond = self._networks.forward(self._normaliser.seen(moment.last))[members:, :, 0]
            self._reward[step] += self._how.gamma * torch.where(moment.cut, beyond, 0.0)
        self._starts[step + 1] = moment.ended

    def _transitions(self, advantage: torch.Tensor) -> Transitions:
        log_prob = gaussian(self._action - self._mean, self._stack.log_std[None, :, None]).log_prob
        return Transitions(
            observation=_by_world(self._observation),
            action=_by_world(self._action),
            log_prob=_by_world(log_prob),
            advantage=_by_world(advantage),
            value_target=_by_world(advantage + self._value),
        )


def advantages(
    reward: torch.Tensor, value: torch.Tensor, starts: torch.Tensor, beyond: torch.Tensor, how: settings.PPO
) -> torch.Tensor:
    """Return the generalised advantage estimates (T, P, W) (Schulman et al. 2016), in SB3's order of operations.

    Args:
        reward: (T, P, W).
        value: (T, P, W).
        starts: 1 where an episode begins (T + 1, P, W).
        beyond: value of what is seen after the last step (P, W).
        how: discount and lambda.
    """
    found, last = torch.empty_like(reward), torch.zeros_like(beyond)
    for step in reversed(range(len(reward))):
        following = value[step + 1] if step + 1 < len(reward) else beyond
        goes_on = 1.0 - starts[step + 1]
        error = reward[step] + how.gamma * following * goes_on - value[step]
        last = error + how.gamma * how.gae_lambda * goes_on * last
        found[step] = last
    return found


def _by_world(values: torch.Tensor) -> torch.Tensor:
    """Return (T, P, W, ...) as (P, W * T, ...): SB3's order, in which its permutations count."""
    return values.movedim(0, 2).flatten(1, 2).contiguous()
