"""Export of a policy as an SB3 zip, with the VecNormalize file that belongs to it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.networks.card import Card
from trl_suite.networks.components import (
    OBSERVATION_STATISTICS,
    OPTIONAL,
    RETURN_STATISTICS,
    TEMPERATURE,
    Components,
    group,
)

STATISTICS_SUFFIX = ".vecnormalize.pkl"  # what stands in place of `.zip` in the name of the statistics


def save(path: Path, card: Card, components: Components) -> list[Path]:
    """Write the zip and, where the policy normalises, `NAME.vecnormalize.pkl` beside it; return what was written.

    Raises:
        InputError: the policy is a residual, which none of SB3's networks is.
    """
    if card.network.residual is not None:
        raise InputError(
            "a residual policy is the source's action plus a bounded correction, which no MlpPolicy of SB3 computes: "
            "it can be kept as a policy folder, and not exported"
        )
    path = files(path)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):  # making a network draws numbers; the caller's stream is not ours
        vec_env = _spaces_env(card)
        model = _model(card, vec_env)
    _fill(model, card, components)
    written = [_put(model, path)]
    if card.normaliser is not None:
        written.append(_put(_normalised(vec_env, card, components), files(path)[1]))
    return written


def files(path: Path) -> tuple[Path, Path]:
    """Return the zip that is written for a path, with or without its ending, and the statistics beside it."""
    path = path if path.suffix == ".zip" else path.with_name(f"{path.name}.zip")
    return path, path.with_suffix(STATISTICS_SUFFIX)


def _put(thing: Any, path: Path) -> Path:
    """Save under a temporary name and rename, so that the file is never half there."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    thing.save(temporary)
    temporary.replace(path)
    return path


def _spaces_env(card: Card) -> Any:
    """Return a VecEnv that has the policy's spaces and nothing else."""
    # imported here and below because SB3 takes two seconds, which no other use of a policy needs
    import gymnasium
    from stable_baselines3.common.vec_env import DummyVecEnv

    env: gymnasium.Env[Any, Any] = gymnasium.Env()
    low, high = (np.asarray(bound, dtype=np.float32) for bound in (card.network.action_low, card.network.action_high))
    env.action_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
    env.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (len(card.interface.observation),), np.float64)
    return DummyVecEnv([lambda: env])


def _model(card: Card, vec_env: Any) -> Any:
    network, algorithm = card.network, find(card.algorithm)
    sb3_class = algorithm.imported()
    keywords: dict[str, Any] = {
        "net_arch": {"pi": list(network.actor), "vf" if algorithm.on_policy else "qf": list(network.critic)},
        "activation_fn": {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[network.activation],
    }
    recorded = card.training.hyperparameters
    hyperparameters: dict[str, Any] = {
        key: float(recorded[key]) for key in algorithm.exported if isinstance(recorded.get(key), int | float)
    }
    if not algorithm.on_policy:
        keywords["n_critics"] = network.critics
        hyperparameters["buffer_size"] = 1
    return sb3_class("MlpPolicy", vec_env, policy_kwargs=keywords, device="cpu", **hyperparameters)


def _fill(model: Any, card: Card, components: Components) -> None:
    parts = group(card.algorithm, model.policy.named_parameters())
    if TEMPERATURE in components:
        parts[TEMPERATURE] = {"value": model.log_ent_coef}
    left = set(components) - set(parts) - set(OPTIONAL)
    if left or set(parts) - set(components):
        raise AssertionError(f"SB3's network and the card's differ: {left or set(parts) - set(components)}")
    with torch.no_grad():
        for name, tensors in parts.items():
            for tensor, value in tensors.items():
                value.copy_(components[name][tensor])
    model.num_timesteps = card.training.steps
    model.seed = card.training.seed if card.training.seed >= 0 else None


def _normalised(vec_env: Any, card: Card, components: Components) -> Any:
    """Return the VecNormalize, held: it is to normalise as the policy learned it, until somebody trains on."""
    from stable_baselines3.common.vec_env import VecNormalize

    normaliser = card.normaliser
    assert normaliser is not None
    wrapper = VecNormalize(
        vec_env,
        training=False,
        norm_obs=normaliser.observation,
        norm_reward=normaliser.reward,
        clip_obs=normaliser.clip_observation,
        clip_reward=normaliser.clip_reward,
        gamma=normaliser.gamma,
        epsilon=normaliser.epsilon,
    )
    for name, attribute in ((OBSERVATION_STATISTICS, "obs_rms"), (RETURN_STATISTICS, "ret_rms")):
        if name in components:
            _set(getattr(wrapper, attribute), components[name])
    return wrapper


def _set(running: Any, values: Any) -> None:
    """Give SB3's running statistics these numbers."""
    running.mean, running.var = values["mean"].numpy().copy(), values["var"].numpy().copy()
    running.count = float(values["count"])
