"""All that an SB3 training needs to go on exactly: taken between two rollouts, put into a model that is built anew.

SB3's own `save` leaves out simulators, generators and the episode under way; what goes on from it is another run.
"""

import random
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecMonitor

from trl_suite.training.sb3.methods.method_callbacks import GuidedEnv
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.learners import Model, has_temperature, is_on_policy
from trl_suite.training.sb3.models.vec_env import BatchVecEnv
from trl_suite.worlds.stepping import rng_state
from trl_suite.worlds.stepping.env import RobotEnv

SEGMENT = 8 * 2**20  # bytes of the replay buffer that are kept together

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

_COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_current_progress_remaining")
_LAST = ("_last_obs", "_last_original_obs", "_last_episode_starts")
_EXPLORATION = ("exploration_mat", "exploration_matrices")  # gSDE's noise, for one env and for all at once
_REPLAYED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def can_take(model: Model) -> bool:
    """Return whether the state of the model's worlds can be taken; those of other packages keep theirs."""
    worlds = _worlds(model).unwrapped
    if isinstance(worlds, BatchVecEnv):
        return True
    return isinstance(worlds, DummyVecEnv) and all(isinstance(env.unwrapped, RobotEnv) for env in worlds.envs)


def take(model: Model) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays and the facts of a training as it is now, the replay buffer apart."""
    arrays = {**_parameters(model), **_normaliser(model), **_generators(model), **_simulators(model)}
    arrays |= {name: _array(getattr(_noise(model), name)) for name in _EXPLORATION if explores_by_state(model)}
    arrays |= {f"last.{name}": np.array(value) for name in _LAST if (value := getattr(model, name)) is not None}
    arrays |= {
        f"episodes.{key}": np.array([episode[key] for episode in model.ep_info_buffer or ()]) for key in ("r", "l", "t")
    }
    return arrays, {name: getattr(model, name) for name in _COUNTERS}


def put(model: Model, arrays: Arrays, facts: Mapping[str, Any]) -> None:
    """Bring a model that was built and transplanted as before to where `take` found it."""
    for name in _COUNTERS:
        setattr(model, name, facts[name])
    for name in _LAST:
        if (value := arrays.get(f"last.{name}")) is not None:
            setattr(model, name, value)
    columns = [arrays[f"episodes.{key}"].tolist() for key in ("r", "l", "t")]
    episodes = [{"r": r, "l": int(length), "t": t} for r, length, t in zip(*columns, strict=True)]
    model.ep_info_buffer = deque(episodes, maxlen=model._stats_window_size)  # pyright: ignore[reportPrivateUsage]
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)  # pyright: ignore[reportPrivateUsage]
    _put_parameters(model, arrays)
    _put_normaliser(model, arrays)
    _put_simulators(model, arrays)
    _put_generators(model, arrays)


def explores_by_state(model: Model) -> bool:
    """Return whether the noise of the model's actions is drawn once for many steps (gSDE)."""
    return is_on_policy(model) and bool(model.use_sde)


def put_exploration(model: Model, arrays: Arrays) -> None:
    """Give a resumed model the noise that `take` found, in place of what SB3 drew when its rollout began."""
    for name in _EXPLORATION:
        setattr(_noise(model), name, torch.tensor(arrays[name]))
    torch.set_rng_state(torch.tensor(arrays["random.torch"]))


def _noise(model: Model) -> Any:
    return model.policy.action_dist


def replay(buffer: ReplayBuffer, written: int) -> tuple[dict[str, Array], dict[str, dict[str, Array]]]:
    """Return the part of the ring that is being written, and the parts that have been, by name.

    A part's name says where it lies and in which round it was written: under one name there is always the same content.

    Args:
        buffer: of the learner.
        written: rows so far, those that were overwritten among them.
    """
    length = _rows(buffer)
    rounds, position = divmod(written, buffer.buffer_size)
    parts: dict[str, dict[str, Array]] = {}
    open_: dict[str, Array] = {}
    for start in range(0, buffer.buffer_size, length):
        end = min(start + length, buffer.buffer_size)
        content = {name: getattr(buffer, name)[start:end] for name in _REPLAYED}
        if start < position < end:
            open_ = {f"replay.{name}": values for name, values in content.items()}
        elif (written_in := rounds if position >= end else rounds - 1) >= 0:
            parts[f"replay-{start // length:05d}-{written_in}"] = content
    return open_, parts


def put_replay(buffer: ReplayBuffer, written: int, arrays: Arrays, parts: Mapping[str, Arrays]) -> None:
    """Fill a fresh ring with what `replay` returned."""
    length = _rows(buffer)
    buffer.pos, buffer.full = written % buffer.buffer_size, written >= buffer.buffer_size
    for name in parts:
        _fill(buffer, int(name.split("-")[1]) * length, parts[name])
    if "replay.actions" in arrays:
        _fill(buffer, buffer.pos // length * length, {name: arrays[f"replay.{name}"] for name in _REPLAYED})


def _fill(buffer: ReplayBuffer, start: int, content: Arrays) -> None:
    for name, values in content.items():
        getattr(buffer, name)[start : start + len(values)] = values


def _rows(buffer: ReplayBuffer) -> int:
    row = sum(getattr(buffer, name)[0].nbytes for name in _REPLAYED)
    return max(1, SEGMENT // row)


def optimisers(model: Model) -> dict[str, torch.optim.Optimizer]:
    """Return all optimisers of a model by name."""
    if is_on_policy(model):
        return {"policy": model.policy.optimizer}
    optimizers = {"actor": model.actor.optimizer, "critic": model.critic.optimizer}
    if has_temperature(model) and model.ent_coef_optimizer is not None:
        optimizers["temperature"] = model.ent_coef_optimizer
    return optimizers


def _parameters(model: Model) -> dict[str, Array]:
    arrays = {f"policy.{name}": _array(value) for name, value in model.policy.state_dict().items()}
    if has_temperature(model) and model.log_ent_coef is not None:
        arrays["temperature"] = _array(model.log_ent_coef)
    for name, optimiser in optimisers(model).items():
        for index, state in optimiser.state_dict()["state"].items():
            arrays |= {f"optimiser.{name}.{index}.{key}": _array(value) for key, value in state.items()}
    return arrays


def _array(value: torch.Tensor | float) -> Array:
    return torch.as_tensor(value).detach().cpu().numpy().copy()


def _put_parameters(model: Model, arrays: Arrays) -> None:
    model.policy.load_state_dict({name: torch.tensor(values) for name, values in _below("policy.", arrays).items()})
    if has_temperature(model) and model.log_ent_coef is not None:
        with torch.no_grad():
            model.log_ent_coef.copy_(torch.tensor(arrays["temperature"]))
    for name, optimiser in optimisers(model).items():
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, values in _below(f"optimiser.{name}.", arrays).items():
            index, _, tensor = key.partition(".")
            state.setdefault(int(index), {})[tensor] = torch.tensor(values)
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _below(prefix: str, arrays: Arrays) -> dict[str, Array]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def _normaliser(model: Model) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for name, statistics in sb3.statistics_of(model).items():
        arrays |= {f"{name}.{key}": np.array(getattr(statistics, key)) for key in ("mean", "var", "count")}
    wrapper = model.get_vec_normalize_env()
    return arrays if wrapper is None else arrays | {"returns": wrapper.returns.copy()}


def _put_normaliser(model: Model, arrays: Arrays) -> None:
    for name, statistics in sb3.statistics_of(model).items():
        statistics.mean, statistics.var = arrays[f"{name}.mean"].copy(), arrays[f"{name}.var"].copy()
        statistics.count = float(arrays[f"{name}.count"])
    wrapper = model.get_vec_normalize_env()
    if wrapper is not None:
        wrapper.returns = arrays["returns"].copy()


def _generators(model: Model) -> dict[str, Array]:
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # SB3 draws from the global ones
    _, internal, next_gauss = random.getstate()
    return {
        "random.torch": torch.get_rng_state().numpy(),
        "random.numpy": np.asarray(keys),
        "random.numpy.position": np.array([position, has_gauss]),
        "random.numpy.gauss": np.array(gauss),
        "random.python": np.array(internal, dtype=np.uint64),
        "random.python.gauss": np.array(np.nan if next_gauss is None else next_gauss),
        "random.actions": rng_state.pack_rng([model.action_space.np_random]),
    }


def _put_generators(model: Model, arrays: Arrays) -> None:
    position, has_gauss = arrays["random.numpy.position"].tolist()
    keys, gauss = arrays["random.numpy"], float(arrays["random.numpy.gauss"])
    np.random.set_state(("MT19937", keys, position, has_gauss, gauss))
    next_gauss = float(arrays["random.python.gauss"])
    internal = tuple(arrays["random.python"].tolist())
    random.setstate((3, internal, None if np.isnan(next_gauss) else next_gauss))
    torch.set_rng_state(torch.tensor(arrays["random.torch"]))
    rng_state.restore_rng(model.action_space.np_random, arrays["random.actions"][0])


def _simulators(model: Model) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for wrapper in _wrappers(model):
        if isinstance(wrapper, VecMonitor):
            arrays |= {
                "monitor.returns": wrapper.episode_returns.copy(),
                "monitor.lengths": wrapper.episode_lengths.copy(),
            }
    worlds = _worlds(model).unwrapped
    if isinstance(worlds, BatchVecEnv):
        return arrays | {f"worlds.{name}": values for name, values in worlds.batch.state().items()}
    assert isinstance(worlds, DummyVecEnv)
    for index, env in enumerate(worlds.envs):
        arrays |= {f"world.{index}.{name}": values for name, values in _alone(env).items()}
    return arrays


def _put_simulators(model: Model, arrays: Arrays) -> None:
    for wrapper in _wrappers(model):
        if isinstance(wrapper, VecMonitor):
            wrapper.episode_returns = arrays["monitor.returns"].copy()
            wrapper.episode_lengths = arrays["monitor.lengths"].copy()
    worlds = _worlds(model).unwrapped
    if isinstance(worlds, BatchVecEnv):
        worlds.batch.restore(None, _below("worlds.", arrays))
        return
    assert isinstance(worlds, DummyVecEnv)
    for index, env in enumerate(worlds.envs):
        _put_alone(env, _below(f"world.{index}.", arrays))


def _alone(env: gymnasium.Env[Any, Any]) -> dict[str, Array]:
    """Return the state of a world that is an object of its own, and of what is wrapped around it."""
    arrays: dict[str, Array] = {}
    for layer in _layers(env):
        if isinstance(layer, Monitor):
            arrays["rewards"] = np.array(layer.rewards, dtype=np.float64)
        elif isinstance(layer, TimeLimit):
            arrays["elapsed"] = np.array(layer._elapsed_steps)  # pyright: ignore[reportPrivateUsage]
        elif isinstance(layer, GuidedEnv | RobotEnv):
            arrays |= layer.state()
    return arrays


def _put_alone(env: gymnasium.Env[Any, Any], arrays: Arrays) -> None:
    for layer in _layers(env):
        if isinstance(layer, Monitor):
            layer.rewards, layer.needs_reset = arrays["rewards"].tolist(), False
        elif isinstance(layer, TimeLimit):
            layer._elapsed_steps = int(arrays["elapsed"])  # pyright: ignore[reportPrivateUsage]
        elif isinstance(layer, OrderEnforcing):
            layer._has_reset = True  # pyright: ignore[reportPrivateUsage]
        elif isinstance(layer, PassiveEnvChecker):  # it looks at an env's first calls, which were long ago
            layer.checked_reset = layer.checked_step = layer.checked_data_reuse = True
        elif isinstance(layer, GuidedEnv | RobotEnv):
            layer.restore(arrays)


def _layers(env: gymnasium.Env[Any, Any]) -> Iterator[gymnasium.Env[Any, Any]]:
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env
    yield env


def _wrappers(model: Model) -> Iterator[VecEnvWrapper]:
    worlds: VecEnv = _worlds(model)
    while isinstance(worlds, VecEnvWrapper):
        yield worlds
        worlds = worlds.venv


def _worlds(model: Model) -> VecEnv:
    assert model.env is not None
    return model.env
