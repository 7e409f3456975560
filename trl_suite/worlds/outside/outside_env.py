"""An env of another package with what an experiment needs of it: one array, named slots, success, and shifts."""

import contextlib
import importlib
import importlib.util
import io
from collections.abc import Iterable
from functools import cache
from typing import Any, cast

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.spaces import Box, flatten, flatten_space
from numpy.typing import NDArray

from trl_suite.errors import InputError, NotInstalledError, located, suggestion, unknown
from trl_suite.worlds.address import FOREIGN, OutsideAddress
from trl_suite.worlds.outside.model_shift import (
    ShiftedModel,
    refuse_outside_axes,
    refuse_overwritten,
    shifted_models,
)
from trl_suite.worlds.outside.repairs import repair
from trl_suite.worlds.outside.suite_table import Listed, SuccessFlag, Suite, by_id

Array = NDArray[Any]
META_WORLD = "metaworld"  # whose tasks have no Gymnasium id each
_NOT_OF_THE_REWARD = "reward_"  # opens entries of `info` that elsewhere are the terms of the reward


class OutsideEnv(gymnasium.Env[Array, Array]):
    """An env of another package, as the suite's own: observations are one array, and `info` tells `is_success`.

    Actions and rewards are the package's. `gymnasium.make`'s time limit acts inside.

    Raises:
        InputError: the id is none of the table's, an axis does not apply, or the env has other slots than the table.
        NotInstalledError: the package is missing, or cannot run under this MuJoCo.
    """

    def __init__(self, address: str, render_mode: str | None = None) -> None:
        asked = OutsideAddress.parse(address)
        self.address = str(asked)
        self._listed = _listed(asked.env_id)
        self._axes, self._shift = asked.axes, None
        with located(self.address):
            self._env, self._shift = _made(asked, self._listed.suite, render_mode)
            if self._shift is not None:
                refuse_overwritten(self._shift, self._axes)
        self.spec, self.render_mode, self.metadata = self._env.spec, render_mode, self._env.metadata
        self.interface = self._listed.spec.interface
        self._inner_space: spaces.Space[Any] = self._env.observation_space
        self.observation_space = cast("Box", flatten_space(self._inner_space))
        limits = cast("Box", self._env.action_space)
        self.action_space = Box(limits.low.astype(np.float32), limits.high.astype(np.float32), dtype=np.float32)
        self._refuse_other_slots()
        self._succeeded = self._was_reset = False

    @property
    def simulator(self) -> Any:
        """The part of the env that holds MuJoCo's `model` and `data`."""
        inner: Any = self._env.unwrapped
        return getattr(inner, self._listed.spec.simulator) if self._listed.spec.simulator else inner

    @property
    def shift(self) -> ShiftedModel | None:
        """The model that the env was given, None where it has its own."""
        return self._shift

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model."""
        return self.simulator.model

    @property
    def dt(self) -> float:
        """Duration of a control step in seconds."""
        return float(self.simulator.dt)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Return the first observation of a new episode.

        Raises:
            InputError: the env writes over its shift.
        """
        super().reset(seed=seed)
        inner: Any = self._env.unwrapped
        if seed is not None:  # some suites draw an episode before they look at the seed, or never look at it
            inner.np_random = np.random.default_rng(seed)
        observation, _ = self._env.reset(seed=seed, options=options)
        if not self._was_reset and self._shift is not None:
            with located(self.address):
                refuse_overwritten(self._shift, self._axes)
        self._was_reset, self._succeeded = True, False
        return self._flat(observation), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Return observation, reward, terminated, truncated and the package's `info` with `is_success`."""
        observation, reward, terminated, truncated, info = self._env.step(action)
        holds = _is_success(self._listed.spec.success, info)
        self._succeeded = holds or (self._succeeded and self._listed.spec.success.holds == "once")
        info = {key: value for key, value in info.items() if not key.startswith(_NOT_OF_THE_REWARD)}
        info["is_success"] = self._succeeded
        return self._flat(observation), float(reward), bool(terminated), bool(truncated), info

    def hindsight_reward(self, achieved_goal: Array, desired_goal: Array, info: Any) -> Any:
        """Return the rewards of reaching some goals (n, numbers) where others were to be reached.

        Raises:
            InputError: the env has no goal, or its reward is not of one.
        """
        if not self._listed.spec.hindsight:
            raise InputError(f"{self.address}: its reward cannot be computed for another goal")
        inner: Any = self._env.unwrapped
        return inner.compute_reward(achieved_goal, desired_goal, info)

    def render(self) -> Any:
        """Return a picture, or show it, as `render_mode` says."""
        return self._env.render()

    def close(self) -> None:
        """Close the package's env."""
        self._env.close()

    def _flat(self, observation: Any) -> Array:
        return np.asarray(flatten(self._inner_space, observation))

    def _refuse_other_slots(self) -> None:
        for kind, space, names in (
            ("observation", self.observation_space, self.interface.observation),
            ("action", self.action_space, self.interface.action),
        ):
            if space.shape != (len(names),):
                package = self._listed.suite.title
                raise InputError(
                    f"{self.address}: this version of {package} has {kind}s of shape {space.shape}; the suite names "
                    f"{len(names)} slots: {self._listed.suite.install}"
                )


def is_listed(address: str) -> bool:
    """Whether an address is of an env of the table, installed or not."""
    return address.startswith(FOREIGN) and OutsideAddress.parse(address).env_id in by_id()


def has_goals(address: str) -> bool:
    """Whether an address is of an env whose reward can be computed for any goal, as hindsight needs."""
    return is_listed(address) and by_id()[OutsideAddress.parse(address).env_id].spec.hindsight


@cache
def is_installed(suite: Suite) -> bool:
    """Whether the suite's package can be imported."""
    return importlib.util.find_spec(suite.package) is not None


def suggested_id(wrong: str, registered: Iterable[str]) -> str:
    """Return `" (did you mean 'Meta-World/reach-v3'?)"` of the table and what is registered, or `""`."""
    env_ids = {*by_id(), *registered}
    unspaced = {name.rpartition("/")[2]: name for name in env_ids}
    return suggestion(unspaced.get(wrong, wrong), env_ids)


def _listed(env_id: str) -> Listed:
    if env_id not in by_id():
        raise unknown("env of another package", env_id, by_id())
    return by_id()[env_id]


def prepare(suite: Suite) -> str:
    """Import a suite's package and mend it where it has to be; return what was mended in words.

    Raises:
        NotInstalledError: it is missing, or in a version that nobody has mended.
    """
    if not is_installed(suite):
        raise NotInstalledError(f"needs {suite.title}: {suite.install}")
    with contextlib.redirect_stderr(io.StringIO()):  # news of ids that the table does not have
        importlib.import_module(suite.package)
    return repair(suite.package)


def _made(
    asked: OutsideAddress, suite: Suite, render_mode: str | None
) -> tuple[gymnasium.Env[Any, Any], ShiftedModel | None]:
    """Return the package's env, and the shifted model where the address asks for one."""
    refuse_outside_axes(asked.axes)
    try:
        prepare(suite)
    except NotInstalledError as error:
        raise NotInstalledError(f"{asked}: {error}") from None
    if not any(asked.axes.axes()):
        return _make(asked.env_id, suite, render_mode), None
    with shifted_models(asked.axes) as loaded:
        env = _make(asked.env_id, suite, render_mode)
    if len(loaded) != 1:
        env.close()
        raise InputError(f"its model cannot be replaced: it loads {len(loaded)} models from files")
    return env, loaded[0]


def _make(env_id: str, suite: Suite, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    if suite.package == META_WORLD:
        return _meta_world(env_id.rpartition("/")[2], render_mode)
    return gymnasium.make(env_id, render_mode=render_mode, disable_env_checker=True)


def _meta_world(task: str, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    """Return a task whose goal is seen, and is drawn with the objects for each episode, as Continual World does."""
    metaworld: Any = importlib.import_module(META_WORLD)
    env = metaworld.ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task}-goal-observable"](seed=0, render_mode=render_mode)
    env._freeze_rand_vec, env.seeded_rand_vec = False, True
    return env


def _is_success(success: SuccessFlag, info: dict[str, Any]) -> bool:
    value = info.get(success.key)
    return value is not None and (len(value) == 0 if success.means == "empty" else bool(value))
