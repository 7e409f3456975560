"""SB3 models as named components: made, read, and turned into policies that need no SB3."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from trl_suite.algorithms.hyperparameters import Activation, Hyperparameters
from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.interface import Interface
from trl_suite.networks.activation_functions import ACTIVATIONS
from trl_suite.networks.card import Card, Composed, Network, Normaliser, Training
from trl_suite.networks.components import (
    BY_FEATURE,
    LOG_STD,
    NORM,
    OBSERVATION_STATISTICS,
    OUTPUT_ATTENTION,
    RETURN_STATISTICS,
    TEMPERATURE,
    Components,
    group,
)
from trl_suite.networks.composition import count_modules
from trl_suite.networks.formats.vecnormalize import COUNT_BEFORE_FREEZE
from trl_suite.networks.policy import Policy
from trl_suite.training.reproducibility import seed_for, threads
from trl_suite.training.sb3.methods.hindsight import HindsightReplayBuffer, compute_rewards, goal_slots
from trl_suite.training.sb3.methods.replay_buffer import SourceReplayBuffer
from trl_suite.training.sb3.models.layers import bound_of, folded, normalise_sums
from trl_suite.training.sb3.models.learners import Model, algorithm_of, has_temperature, is_on_policy, learner_class
from trl_suite.training.sb3.models.multi_head import Marked, share_trunk
from trl_suite.training.sb3.models.rates import renew_optimisers
from trl_suite.training.sb3.models.vec_env import BatchVecEnv
from trl_suite.training.training_run import training_addresses
from trl_suite.worlds.address import FOREIGN
from trl_suite.worlds.stepping.env import interface_of, make
from trl_suite.worlds.stepping.vector_env import batch_arguments

HELD_COUNT = 2.0**900  # a power of two: var * count / count is var to the bit, and any batch is nothing beside it


def build(
    env: str,
    hyperparameters: Hyperparameters,
    seed: int,
    one_by_one: bool = False,
    training_variants: Sequence[str] = (),
    terms: bool = False,
    heads: bool = False,
) -> Model:
    """Return a fresh model on `hyperparameters.n_envs` worlds of an env address, normalised as `how` says.

    Two models of the same arguments have the same initial parameters, worlds and noise: this is what pairs runs.

    Args:
        env: the address.
        hyperparameters: hyperparameters.
        seed: of the run.
        one_by_one: make each world an object of its own, which can be wrapped; slower, with the same numbers.
        training_variants: addresses that the worlds take in turn, instead of all being `env`.
        terms: have the terms of each reward in `info`.
        heads: give each address of the mix a head of its own.
    """
    if one_by_one or env.startswith(FOREIGN):
        worlds: VecEnv = DummyVecEnv([lambda: Monitor(make(env)) for _ in range(hyperparameters.n_envs)])
    else:
        addresses = batch_arguments(training_addresses(env, training_variants, hyperparameters.n_envs))
        worlds = VecMonitor(BatchVecEnv(hyperparameters.n_envs, threads=1, terms=terms, **addresses))
    if heads:
        worlds = Marked(worlds, len(training_variants))
    model = _learner(_normalised(worlds, hyperparameters), hyperparameters, seed)
    if goals := getattr(hyperparameters, "n_sampled_goal", 0):
        _learn_from_hindsight(model, env, goals)
    if hyperparameters.layer_norm:
        normalise_sums(model)
    if heads:
        share_trunk(model, len(interface_of_model(model).observation), len(training_variants))
    if heads or hyperparameters.layer_norm:
        renew_optimisers(model, {}, {})  # the old ones do not hold layers that came later
    return model


def _learn_from_hindsight(model: Model, env: str, n_sampled_goal: int) -> None:
    assert not is_on_policy(model)
    assert isinstance(model.replay_buffer, HindsightReplayBuffer)
    goals = goal_slots(interface_of_model(model), env)
    model.replay_buffer.aim(goals, n_sampled_goal, compute_rewards(model.get_env()))


def _learner(worlds: VecEnv, hyperparameters: Hyperparameters, seed: int) -> Model:
    with threads(1):  # orthogonal initialisation depends on their number in the last bits
        return learner_class(hyperparameters.algorithm)(env=worlds, **_arguments(worlds, hyperparameters, seed))


def _normalised(worlds: VecEnv, hyperparameters: Hyperparameters) -> VecEnv:
    if not (hyperparameters.normalise_observation or hyperparameters.normalise_reward):
        return worlds
    return VecNormalize(
        worlds,
        norm_obs=hyperparameters.normalise_observation,
        norm_reward=hyperparameters.normalise_reward,
        gamma=hyperparameters.gamma,
    )


def _arguments(worlds: VecEnv, hyperparameters: Hyperparameters, seed: int) -> dict[str, Any]:
    """Return the arguments of the learner's constructor, as its descriptor names them."""
    algorithm, values = find(hyperparameters.algorithm), msgspec.structs.asdict(hyperparameters)
    policy: dict[str, Any] = {
        "net_arch": list(hyperparameters.hidden),
        "activation_fn": ACTIVATIONS[hyperparameters.activation].module,
    }
    arguments: dict[str, Any] = {
        "policy": "MlpPolicy",
        "policy_kwargs": policy,
        "seed": seed_for(seed, "learner"),
        "device": "cpu",  # SB3 itself warns that an MLP of this size is slower on a GPU
        "learning_rate": _scheduled(values, "learning_rate"),
        "gamma": hyperparameters.gamma,
    }
    arguments |= {name: values[name] for name in algorithm.sb3_arguments}
    if "clip_range" in values:
        arguments["clip_range"] = _scheduled(values, "clip_range")
    policy |= {name: values[name] for name in ("log_std_init", "ortho_init") if name in values}
    if not algorithm.on_policy:
        arguments["replay_buffer_class"] = HindsightReplayBuffer if values["n_sampled_goal"] else SourceReplayBuffer
    if "action_noise" in values:
        arguments["action_noise"] = _noise(worlds, hyperparameters.n_envs, values["action_noise"])
    return arguments


def _scheduled(values: Mapping[str, Any], name: str) -> float | LinearSchedule:
    """Return a hyperparameter as SB3 takes it: a number, or how it falls over the budget."""
    return LinearSchedule(values[name], 0.0, 1.0) if values[f"{name}_schedule"] == "linear" else values[name]


def _noise(worlds: VecEnv, n_envs: int, deviation: float) -> NormalActionNoise | None:
    """Return the exploration noise of a policy that has no deviation of its own."""
    size = (n_envs, *(worlds.action_space.shape or ()))[-1]
    return NormalActionNoise(np.zeros(size), np.full(size, deviation)) if deviation else None


def components_of(model: Model) -> dict[str, dict[str, torch.Tensor]]:
    """Return the model's components: its own tensors, which may be written, and copies of its statistics.

    Raises:
        InputError: the policy is not an MlpPolicy of an algorithm that can be transplanted.
    """
    tensors = (*model.policy.named_parameters(), *model.policy.named_buffers())  # of frozen layers, of norms
    components = group(algorithm_of(model), tensors)
    if has_temperature(model) and model.log_ent_coef is not None:
        components[TEMPERATURE] = {"value": model.log_ent_coef}
    for name, statistics in statistics_of(model).items():
        components[name] = {
            "mean": torch.tensor(statistics.mean, dtype=torch.float64),
            "var": torch.tensor(statistics.var, dtype=torch.float64),
            "count": torch.tensor(statistics.count, dtype=torch.float64),
        }
    return components


def statistics_of(model: Model) -> dict[str, RunningMeanStd]:
    """Return the running statistics of the model's VecNormalize by component; empty where it has none."""
    wrapper = model.get_vec_normalize_env()
    statistics: dict[str, RunningMeanStd] = {}
    if wrapper is not None and wrapper.norm_obs:
        if isinstance(wrapper.obs_rms, dict):
            raise InputError(
                "the model normalises a dictionary of observations; only a flat vector can be transplanted"
            )
        statistics[OBSERVATION_STATISTICS] = wrapper.obs_rms
    if wrapper is not None and wrapper.norm_reward:
        statistics[RETURN_STATISTICS] = wrapper.ret_rms
    return statistics


def write_statistics(model: Model, components: Components) -> None:
    """Put the components' statistics into the model's VecNormalize."""
    for name, statistics in statistics_of(model).items():
        values: Mapping[str, torch.Tensor] = components[name]
        statistics.mean, statistics.var = values["mean"].numpy().copy(), values["var"].numpy().copy()
        statistics.count = float(values["count"])


class FrozenStatistics(RunningMeanStd):
    """Running statistics that no longer run.

    Its pickle is a plain RunningMeanStd of so many samples that no batch moves it by a bit.
    """

    def update_from_moments(self, batch_mean: np.ndarray, batch_var: np.ndarray, batch_count: float) -> None:
        """Ignore the batch."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the plain class, with a count under which mean and variance stay as they are."""
        state = {**self.__dict__, "count": HELD_COUNT, COUNT_BEFORE_FREEZE: self.count}
        return RunningMeanStd, (), state


def restore_count(statistics: RunningMeanStd) -> None:
    """Give statistics that were frozen when they were saved the count that they had."""
    count = statistics.__dict__.pop(COUNT_BEFORE_FREEZE, None)
    if count is not None:
        statistics.count = count


def hold_statistics(model: Model, frozen: tuple[str, ...]) -> None:
    """Stop the named statistics from following the data, and let the others follow.

    VecNormalize's own switch would stop both or none.
    """
    wrapper = model.get_vec_normalize_env()
    for name, statistics in statistics_of(model).items():
        kind = FrozenStatistics if name in frozen else RunningMeanStd
        replacement = kind(shape=np.shape(statistics.mean))
        replacement.mean, replacement.var, replacement.count = statistics.mean, statistics.var, statistics.count
        setattr(wrapper, "obs_rms" if name == OBSERVATION_STATISTICS else "ret_rms", replacement)


def hold_temperature(model: Model, frozen: tuple[str, ...]) -> None:
    """Stop SAC's temperature from being tuned where it is frozen, and let it be tuned where it is not any more."""
    if not has_temperature(model) or model.log_ent_coef is None:
        return
    if TEMPERATURE in frozen:
        model.ent_coef_optimizer = None
        model.ent_coef_tensor = model.log_ent_coef.detach().exp()
    elif model.ent_coef_optimizer is None:
        model.ent_coef_optimizer = torch.optim.Adam([model.log_ent_coef], lr=model.lr_schedule(1.0))


def world_of(model: Model, index: int) -> Monitor:
    """Return one of the model's worlds, as `build` made it.

    Raises:
        InputError: the worlds are in other processes.
    """
    worlds = model.get_env()
    innermost = None if worlds is None else worlds.unwrapped
    world = innermost.envs[index] if isinstance(innermost, DummyVecEnv) else None
    if isinstance(world, Monitor):
        return world
    raise InputError("the model's worlds are in other processes, or without a Monitor: they cannot be guided")


def interface_of_model(model: Model) -> Interface:
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


def address_of(model: Model) -> str:
    """Return the address of the world that the model learns in; of several, the first one's.

    Raises:
        InputError: the worlds are in other processes.
    """
    worlds = model.get_env()
    innermost = None if worlds is None else worlds.unwrapped
    if isinstance(innermost, BatchVecEnv):
        return innermost.batch.addresses[0]
    if isinstance(innermost, DummyVecEnv):
        world = innermost.envs[0].unwrapped
        address = getattr(world, "address", None)
        return str(address) if address else f"{FOREIGN}{world.spec.id if world.spec else '?'}"
    raise InputError("the model's worlds are in other processes, and cannot be asked what they are")


def policy_of(model: Model, training: Training) -> Policy:
    """Return a copy of the model as it is now, its adapters folded into plain layers, with its card."""
    components = {
        name: {tensor: value.detach().cpu().clone() for tensor, value in tensors.items()}
        for name, tensors in folded(model, components_of(model)).items()
    }
    card = _card(model, components, training)
    if seen := components.get(OBSERVATION_STATISTICS):  # without those of a mark, which several heads are told by
        seen |= {name: seen[name][: len(card.interface.observation)] for name in ("mean", "var")}
    return Policy(card=card, components=components)


def _card(model: Model, components: Components, training: Training) -> Card:
    space = model.action_space
    if not isinstance(space, spaces.Box):
        raise InputError(f"actions are {type(space).__name__}; only continuous actions (Box) can be transplanted")
    network = Network(
        actor=_widths("actor", components),
        critic=_widths("critic", components),
        residual=bound_of(model),
        composed=_composed(components),
        state_noise=BY_FEATURE in components.get(LOG_STD, {}),
        critics=1 if is_on_policy(model) else model.critic.n_critics,
        layer_norm=any(name.endswith(NORM) for name in components),
        activation=activation_of(model),
        action_low=tuple(float(bound) for bound in space.low),
        action_high=tuple(float(bound) for bound in space.high),
    )
    return Card(
        algorithm=algorithm_of(model),
        network=network,
        interface=interface_of_model(model),
        training=training,
        normaliser=normaliser_of(model),
    )


def _composed(components: Components) -> Composed | None:
    """Return the frozen modules of the model's actor; None where it has none."""
    modules = count_modules(components)
    if not modules:
        return None
    return Composed(modules=modules, attention=len(components[OUTPUT_ATTENTION]["query_bias"]))


def _widths(part: str, trunks: Components) -> tuple[int, ...]:
    """Return the widths of a part's trunk layers, in order."""
    names = (name for name in trunks if name.startswith(f"{part}.trunk.") and not name.endswith(NORM))
    layers = sorted((int(name.rpartition(".")[2]), name) for name in names)
    return tuple(next(t.shape[0] for n, t in trunks[name].items() if n.endswith("weight")) for _, name in layers)


def activation_of(model: Model) -> Activation:
    """Return the name of the function between the model's layers.

    Raises:
        InputError: it is none of those that a policy folder can hold.
    """
    activation_fn = model.policy.activation_fn
    for name, function in ACTIVATIONS.items():
        if activation_fn is function.module:
            return name
    written = getattr(activation_fn, "__name__", activation_fn)
    raise InputError(f"activation {written} is not one of {', '.join(ACTIVATIONS)}")


def normaliser_of(model: Model) -> Normaliser | None:
    """Return how the model's VecNormalize scales; None where it has none."""
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
