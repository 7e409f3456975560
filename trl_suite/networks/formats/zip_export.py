"""Export of a policy as an SB3 zip, with the VecNormalize file that belongs to it."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.files import reason_of, whole
from trl_suite.networks.activation_functions import ACTIVATIONS
from trl_suite.networks.card import Card
from trl_suite.networks.components import (
    OBSERVATION_STATISTICS,
    OPTIONAL,
    RETURN_STATISTICS,
    TEMPERATURE,
    Components,
    group,
)
from trl_suite.networks.formats.zip_fields import hyperparameter_names, unknown

STATISTICS_SUFFIX = ".vecnormalize.pkl"  # what stands in place of `.zip` in the name of the statistics
_SET_AFTERWARDS = ("n_steps", "batch_size", "buffer_size")  # would make SB3 allocate, or warn of a single env
_COUNTS = {
    "n_steps", "batch_size", "n_epochs", "buffer_size", "learning_starts", "train_freq", "gradient_steps",
    "target_update_interval", "policy_delay",
}  # fmt: skip


def save(path: Path, card: Card, components: Components) -> list[Path]:
    """Write the zip and, where the policy normalises, `NAME.vecnormalize.pkl` beside it; return what was written.

    Raises:
        InputError: the policy is a residual, composed, an actor alone or has normalised layers, which none of SB3's
            networks has, or statistics of another lie beside.
    """
    if card.network.actor_only:
        raise InputError(
            "an actor alone, as of an ONNX file, has no critic, which every policy of SB3 has: not exported"
        )
    if card.network.residual is not None:
        raise InputError(
            "a residual policy is the source's action plus a bounded correction, which no MlpPolicy of SB3 computes: "
            "it can be kept as a policy folder, and not exported"
        )
    if card.network.composed is not None:
        raise InputError(
            "a composed policy attends to frozen ones, which no MlpPolicy of SB3 does: it can be kept as a policy "
            "folder, and not exported"
        )
    if card.network.layer_norm:
        raise InputError(
            "the policy's layers are normalised (layer_norm), as no MlpPolicy of SB3 does: keep it as a policy folder, "
            "or export it as policy.onnx"
        )
    path, statistics = files(path)
    if card.normaliser is None and statistics.exists():
        raise InputError(
            f"{statistics}: would be read as the policy's statistics, and it has none: remove it, or name another zip"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):  # making a network draws numbers; the caller's stream is not ours
        vec_env = _spaces_env(card)
        model = _model(card, vec_env, components)
    _fill(model, card, components)
    written = [_put(model, path)]
    if card.normaliser is not None:
        written.append(_put(_normalised(vec_env, card, components), statistics))
    return written


def files(path: Path) -> tuple[Path, Path]:
    """Return the zip that is written for a path, with or without its ending, and the statistics beside it."""
    path = path if path.suffix == ".zip" else path.with_name(f"{path.name}.zip")
    return path, path.with_suffix(STATISTICS_SUFFIX)


def _put(thing: Any, path: Path) -> Path:
    """Save, so that the file is never half there."""
    with whole(path) as unfinished:
        thing.save(unfinished)
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


def _model(card: Card, vec_env: Any, components: Components) -> Any:
    network, algorithm = card.network, find(card.algorithm)
    sb3_class = algorithm.imported()
    keywords: dict[str, Any] = {
        "net_arch": {"pi": list(network.actor), "vf" if algorithm.on_policy else "qf": list(network.critic)},
        "activation_fn": ACTIVATIONS[network.activation].module,
    }
    hyperparameters = _hyperparameters(card)
    if network.state_noise:
        hyperparameters |= {
            "use_sde": True,
            "sde_sample_freq": card.training.hyperparameters.get("sde_sample_freq", -1),
        }
    if not _is_fixed(hyperparameters.get("ent_coef"), components.get(TEMPERATURE)):
        hyperparameters.pop("ent_coef", None)
    afterwards = {name: hyperparameters.pop(name) for name in _SET_AFTERWARDS if name in hyperparameters}
    if not algorithm.on_policy:
        keywords["n_critics"] = network.critics
        hyperparameters["buffer_size"] = 1
    try:
        model = sb3_class("MlpPolicy", vec_env, policy_kwargs=keywords, device="cpu", **hyperparameters)
    except (ValueError, TypeError, AssertionError, OverflowError) as error:
        raise InputError(f"SB3 takes not all hyperparameters of the card: {reason_of(error)}") from None
    for name, value in afterwards.items():
        setattr(model, name, value)
    return model


def _hyperparameters(card: Card) -> dict[str, Any]:
    """Return the card's hyperparameters that SB3's class takes, as it takes them."""
    recorded = card.training.hyperparameters
    values = {name: _value(name, recorded[name]) for name in hyperparameter_names(card.algorithm) if name in recorded}
    for name in ("learning_rate", "clip_range"):
        if recorded.get(f"{name}_schedule") == "linear" and isinstance(values.get(name), float):
            values[name] = _schedule(values[name], 0.0, 1.0)
    values = {name: value for name, value in values.items() if value is not None}
    if "action_noise" in values:
        values["action_noise"] = _noise(float(values["action_noise"]), len(card.interface.action))
    return values


def _is_fixed(ent_coef: Any, temperature: Mapping[str, torch.Tensor] | None) -> bool:
    """Whether a coefficient is SAC's temperature for good; one that was tuned is among the components alone."""
    if temperature is None or not isinstance(ent_coef, float):
        return True
    return ent_coef > 0 and math.isclose(math.log(ent_coef), float(temperature["value"]), abs_tol=1e-5)


def left_to_sb3(card: Card) -> tuple[str, ...]:
    """Return the hyperparameters that the card does not tell, or tells in words: an export has SB3's defaults there."""
    return unknown(_hyperparameters(card), card.algorithm)


def _value(name: str, value: Any) -> Any:
    """Return a hyperparameter as SB3 takes it; None where the card has words for it that are none of SB3's."""
    if isinstance(value, str):
        return value if value.startswith("auto") and name in ("ent_coef", "target_entropy") else _linear(value)
    if name == "normalize_advantage":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if name in _COUNTS:
        return int(value) if value == int(value) else None
    return float(value)


def _linear(text: str) -> Any:
    """Return SB3's linear schedule of that text; None where it is another."""
    parts = re.fullmatch(r"LinearSchedule\(start=([^,]+), end=([^,]+), end_fraction=([^,)]+)\)", text)
    try:
        return _schedule(*map(float, parts.groups())) if parts else None
    except ValueError:
        return None


def _schedule(start: float, end: float, fraction: float) -> Any:
    from stable_baselines3.common import utils

    return utils.LinearSchedule(start, end, fraction) if hasattr(utils, "LinearSchedule") else None


def _noise(deviation: float, actions: int) -> Any:
    from stable_baselines3.common.noise import NormalActionNoise

    return NormalActionNoise(np.zeros(actions), np.full(actions, deviation)) if deviation > 0 else None


def _fill(model: Any, card: Card, components: Components) -> None:
    parts = group(card.algorithm, (*model.policy.named_parameters(), *model.policy.named_buffers()))
    if TEMPERATURE in components and model.log_ent_coef is not None:  # None: ent_coef is a number
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
