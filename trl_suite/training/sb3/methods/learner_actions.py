"""A learner's own distribution of actions, and states that it has met, for penalties between it and another policy."""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch

from trl_suite.mechanisms.distillation import BATCH_STATES, Gaussian, Raw, States
from trl_suite.training.sb3.models.learners import Model, has_temperature, is_deterministic, is_on_policy


def gaussian_of(model: Model) -> Callable[[Raw], Gaussian]:
    """Return a function from unnormalised states to mean and log std, with a gradient; for TD3 its action and None."""

    def gaussian(states: Raw) -> Gaussian:
        return distribution(model, normalized(model, states))

    return gaussian


def normalized(model: Model, states: Raw) -> torch.Tensor:
    """Return unnormalised states as the learner's networks take them, (batch, slots)."""
    wrapper = model.get_vec_normalize_env()
    seen = states if wrapper is None else wrapper.normalize_obs(states)
    return torch.as_tensor(np.asarray(seen, dtype=np.float32))


def distribution(model: Model, normalized_obs: torch.Tensor) -> Gaussian:
    """Return mean and log std of the learner's actions, with a gradient; for TD3 its action and None."""
    if is_deterministic(model):
        return model.actor(normalized_obs), None
    if has_temperature(model):
        mean, log_std, _ = model.actor.get_action_dist_params(normalized_obs)
        return mean, log_std
    normal = cast("torch.distributions.Normal", model.policy.get_distribution(normalized_obs).distribution)
    return normal.mean, normal.stddev.log()


def recent_states(model: Model, generator: np.random.Generator) -> States:
    """Return a function that draws states from the learner's own rollout or replay."""

    def draw() -> Raw:
        if is_on_policy(model):
            observations = model.rollout_buffer.observations
            flat = observations.reshape(-1, observations.shape[-1])
            batch = flat[generator.integers(len(flat), size=BATCH_STATES)]
            wrapper = model.get_vec_normalize_env()  # PPO keeps what its network saw
            return np.asarray(batch if wrapper is None else wrapper.unnormalize_obs(batch), dtype=np.float64)
        assert model.replay_buffer is not None
        observations = model.replay_buffer.observations
        flat = observations[: model.replay_buffer.size()].reshape(-1, observations.shape[-1])
        return np.asarray(flat[generator.integers(len(flat), size=BATCH_STATES)], dtype=np.float64)

    return draw
