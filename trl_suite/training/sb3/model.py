"""SB3 models as named components: made, read, and turned into policies that need no SB3."""

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from trl_suite.errors import InputError
from trl_suite.interface import Interface
from trl_suite.networks.card import Activation, Card, Network, Normaliser, Training
from trl_suite.networks.components import OBSERVATION_STATISTICS, RETURN_STATISTICS, Components, group
from trl_suite.networks.policy import Policy
from trl_suite.training import settings
from trl_suite.training.seeds import seed_for
from trl_suite.worlds.env import interface_of, make

_ACTIVATIONS: dict[Activation, type[torch.nn.Module]] = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


def build(env: str, how: settings.PPO, seed: int) -> PPO:
    """Return a fresh PPO model on `how.n_envs` worlds of an env address, normalised as `how` says.

    Two models of the same arguments have the same initial parameters, worlds and noise: this is what pairs runs.
    """
    worlds: VecEnv = DummyVecEnv([lambda: Monitor(make(env)) for _ in range(how.n_envs)])
    if how.normalise_observation or how.normalise_reward:
        worlds = VecNormalize(
            worlds, norm_obs=how.normalise_observation, norm_reward=how.normalise_reward, gamma=how.gamma
        )
    return PPO(
        "MlpPolicy",
        worlds,
        seed=seed_for(seed, "learner"),
        device="cpu",  # SB3 itself warns that PPO with an MLP is slower on a GPU
        n_steps=how.n_steps,
        batch_size=how.batch_size,
        n_epochs=how.n_epochs,
        learning_rate=how.learning_rate,
        gamma=how.gamma,
        gae_lambda=how.gae_lambda,
        clip_range=how.clip_range,
        ent_coef=how.ent_coef,
        vf_coef=how.vf_coef,
        max_grad_norm=how.max_grad_norm,
        target_kl=how.target_kl,
        policy_kwargs={
            "net_arch": list(how.hidden),
            "activation_fn": _ACTIVATIONS[how.activation],
            "log_std_init": how.log_std_init,
        },
    )


def components_of(model: PPO) -> dict[str, dict[str, torch.Tensor]]:
    """Return the model's components: its own parameters, which may be written, and copies of its statistics.

    Raises:
        InputError: the policy is not an MlpPolicy with a free `log_std`.
    """
    components = group("ppo", model.policy.named_parameters())
    for name, statistics in statistics_of(model).items():
        components[name] = {
            "mean": torch.tensor(statistics.mean, dtype=torch.float64),
            "var": torch.tensor(statistics.var, dtype=torch.float64),
            "count": torch.tensor(statistics.count, dtype=torch.float64),
        }
    return components


def statistics_of(model: PPO) -> dict[str, RunningMeanStd]:
    """Return the running statistics of the model's VecNormalize by component; empty where it has none."""
    wrapper = model.get_vec_normalize_env()
    found: dict[str, RunningMeanStd] = {}
    if wrapper is not None and wrapper.norm_obs:
        if isinstance(wrapper.obs_rms, dict):
            raise InputError(
                "the model normalises a dictionary of observations; only a flat vector can be transplanted"
            )
        found[OBSERVATION_STATISTICS] = wrapper.obs_rms
    if wrapper is not None and wrapper.norm_reward:
        found[RETURN_STATISTICS] = wrapper.ret_rms
    return found


def write_statistics(model: PPO, components: Components) -> None:
    """Put the components' statistics into the model's VecNormalize."""
    for name, statistics in statistics_of(model).items():
        values: Mapping[str, torch.Tensor] = components[name]
        statistics.mean, statistics.var = values["mean"].numpy().copy(), values["var"].numpy().copy()
        statistics.count = float(values["count"])


class HeldStatistics(RunningMeanStd):
    """Running statistics that no longer run."""

    def update_from_moments(self, batch_mean: np.ndarray, batch_var: np.ndarray, batch_count: float) -> None:
        """Ignore the batch."""


def hold_statistics(model: PPO, frozen: tuple[str, ...]) -> None:
    """Stop the named statistics from following the data, and let the others follow.

    VecNormalize's own switch would stop both or none.
    """
    wrapper = model.get_vec_normalize_env()
    for name, statistics in statistics_of(model).items():
        kind = HeldStatistics if name in frozen else RunningMeanStd
        replacement = kind(shape=np.shape(statistics.mean))
        replacement.mean, replacement.var, replacement.count = statistics.mean, statistics.var, statistics.count
        setattr(wrapper, "obs_rms" if name == OBSERVATION_STATISTICS else "ret_rms", replacement)


def interface_of_model(model: PPO) -> Interface:
    """Return the interface of the world that the model learns in.

    Raises:
        InputError: the model has no env, or its worlds are in other processes and name no slots.
    """
    worlds = model.get_env()
    if worlds is None:
        raise InputError("the model has no env: give it one with model.set_env(...)")
    innermost = worlds.unwrapped
    if isinstance(innermost, DummyVecEnv):
        return interface_of(innermost.envs[0])
    if worlds.has_attr("interface"):
        return worlds.get_attr("interface")[0]
    raise InputError("the model's worlds name no slots; make them with gym.make('trl_suite/...')")


def policy_of(model: PPO, training: Training) -> Policy:
    """Return a copy of the model as it is now, with its card."""
    components = {
        name: {tensor: value.detach().cpu().clone() for tensor, value in tensors.items()}
        for name, tensors in components_of(model).items()
    }
    return Policy(card=_card(model, training), components=components)


def _card(model: PPO, training: Training) -> Card:
    space = model.action_space
    if not isinstance(space, spaces.Box):
        raise InputError(f"actions are {type(space).__name__}; only continuous actions (Box) can be transplanted")
    architecture = model.policy.mlp_extractor
    network = Network(
        actor=_widths(architecture.policy_net),
        critic=_widths(architecture.value_net),
        activation=_activation(model),
        action_low=tuple(float(bound) for bound in space.low),
        action_high=tuple(float(bound) for bound in space.high),
    )
    return Card(
        algorithm="ppo",
        network=network,
        interface=interface_of_model(model),
        training=training,
        normaliser=_normaliser(model),
    )


def _widths(trunk: torch.nn.Sequential) -> tuple[int, ...]:
    return tuple(layer.out_features for layer in trunk if isinstance(layer, torch.nn.Linear))


def _activation(model: PPO) -> Activation:
    for name, kind in _ACTIVATIONS.items():
        if model.policy.activation_fn is kind:
            return name
    raise InputError(f"activation {model.policy.activation_fn.__name__} is not one of {', '.join(_ACTIVATIONS)}")


def _normaliser(model: PPO) -> Normaliser | None:
    wrapper = model.get_vec_normalize_env()
    if wrapper is None:
        return None
    return Normaliser(
        observation=wrapper.norm_obs,
        reward=wrapper.norm_reward,
        clip_observation=wrapper.clip_obs,
        clip_reward=wrapper.clip_reward,
        epsilon=wrapper.epsilon,
        gamma=wrapper.gamma,
    )
