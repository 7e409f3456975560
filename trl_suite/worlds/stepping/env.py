"""A world as a Gymnasium env on plain MuJoCo, and how to make one from its address."""

import math
from collections.abc import Mapping
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.spaces import Box, flatdim
from gymnasium.utils import EzPickle
from gymnasium.wrappers import FlattenObservation
from numpy.typing import NDArray

from trl_suite import content
from trl_suite.errors import InputError, located, unknown
from trl_suite.interface import Interface, Slot, anonymous, neutral
from trl_suite.worlds import registration
from trl_suite.worlds.address import FOREIGN, Address, OutsideAddress, without_module
from trl_suite.worlds.axes import model_axes as variation_axes
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import Camera, EnvSpec, load
from trl_suite.worlds.model.compilation import compiled
from trl_suite.worlds.outside.outside_env import OutsideEnv, is_listed, suggested_id
from trl_suite.worlds.stepping import rng_state
from trl_suite.worlds.stepping.domain_pool import DomainPool, domain_pool
from trl_suite.worlds.stepping.perturbations import (
    SINGLE_ENV,
    Perturbations,
    PerturbationSpec,
    applies,
    perturbation_spec,
)
from trl_suite.worlds.stepping.physics import FULL_STATE, full_state, reset_data
from trl_suite.worlds.stepping.range_schedule import RangeSchedules
from trl_suite.worlds.stepping.table_patterns import refuse_unmatched
from trl_suite.worlds.stepping.task import BoundTask
from trl_suite.worlds.terms.memory import TaskMemory, host_draw, with_memory
from trl_suite.worlds.terms.sensors import flat_fields

Array = NDArray[Any]
ALWAYS = np.array(True)  # mask of an env that is alone
FAULTS = slice(0, int(mujoco.mjtWarning.mjWARN_BADCTRL) + 1)  # of the warnings: the simulation has broken down


class RobotEnv(gymnasium.Env[Array, Array], EzPickle):
    """One env under one variation, equal to Gymnasium's own where the env's table says so.

    Like Gymnasium's, it does not clip an action to the action space: the motors do, the effort term does not.
    A simulation that MuJoCo calls unstable ends the episode with reward 0 and `info["sim_unstable"]`.

    Args:
        env: the env's name: `half-cheetah`.
        variant: one of its named variants, or None.
        render_mode: as Gymnasium's MuJoCo envs.
        width: of a picture, in pixels.
        height: of a picture, in pixels.
        warm_start: whether the solver starts from the last control step's solution, as in Gymnasium; without it
            positions, velocities and controls are the complete state.
        axes: changes of single axes: `gravity=1.5`, `mass={"body": "torso", "scale": 2}`.

    Raises:
        InputError: the env, the variant or an axis does not exist, or does not apply.
    """

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"]}  # noqa: RUF012  Gymnasium's name

    def __init__(
        self,
        env: str,
        variant: str | None = None,
        *,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
        warm_start: bool = True,
        **axes: Any,
    ) -> None:
        EzPickle.__init__(
            self, env, variant, render_mode=render_mode, width=width, height=height, warm_start=warm_start, **axes
        )
        pool = domain_pool(Address.of(env, variant or "", axes))
        self._domain, self._schedules, self._drawn = pool, RangeSchedules([pool]), 0
        self._worlds: dict[int, BoundWorld] = {}  # members of the pool that an episode was of already
        self._enter(0)
        self._longest_delays, perturbed = _perturbed(pool)
        self.observation_space = Box(-np.inf, np.inf, (len(self.interface.observation),), np.float64)
        self.action_space = action_space(self.model, self._task)
        self.render_mode = render_mode
        self.metadata = self.metadata | {"render_fps": round(1.0 / self.dt)}
        self._shape = self.action_space.shape
        self._size = (width, height)
        self._warm_start = warm_start
        self._perturbations = (
            Perturbations([self._perturbation_spec()], [self._task.first_action], self._longest_delays)
            if perturbed
            else None
        )
        self._noise_rng: np.random.Generator | None = None  # apart from `np_random`, so that noise moves no first state
        self._calm = self._faults.tobytes()
        self._renderer: Any = None
        self._seen_at = np.zeros(2)  # m, of the body that the camera follows
        self._steps, self._score, self._ended = 0, 0.0, False  # of the episode, for a schedule of ranges

    def _enter(self, member: int) -> None:
        """Be at a member of the pool, which is compiled where no episode was of it before."""
        if member not in self._worlds:
            self._worlds[member] = BoundWorld(self._domain.addresses[member])
        world, self._drawn = self._worlds[member], member
        self.address, self.table, self.model, self.variation = world.address, world.table, world.model, world.variation
        self.data, self._task, self._evaluator = world.data, world.task, world.evaluator
        self._memory, self._memory_array = world.memory, world.memory_array
        self._displaces = world.displaces
        self.interface = self._task.interface
        self._labels = [f"reward_{label}" for label in self._task.labels]
        self._control, self._substeps = self.data.ctrl, self.table.frame_skip
        self._forces, self._ends = self._task.needs_contact_forces, self._task.ends
        self._faults: Array = self.data.warning.number[FAULTS]  # a view: MuJoCo counts here

    def _draw_world(self) -> None:
        """Draw the world of a new episode from the pool."""
        if self._ended or self._steps >= self.table.episode_steps:
            self._schedules.finish(0, self._score)
        self._steps, self._score, self._ended = 0, 0.0, False
        self._move_to(self._schedules.draw(0, self.np_random))

    def _move_to(self, member: int) -> None:
        """Be at another member of the pool, also between policy and world."""
        if member == self._drawn:
            return
        self.close()  # a renderer draws one model
        self._enter(member)
        if self._perturbations is not None:
            self._perturbations.assign_one(0, self._perturbation_spec(), self._task.first_action)

    def _perturbation_spec(self) -> PerturbationSpec:
        return perturbation_spec(self.variation, self.interface)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lower and upper end of what is drawn from now, by the names of the numbers; none of a plain env."""
        return self._schedules.reached(0)

    @property
    def dt(self) -> float:
        """The duration of a control step in seconds."""
        return self.model.opt.timestep * self.table.frame_skip

    @property
    def action_limits(self) -> Array:
        """The ends of the action space in double precision (2, actions)."""
        return action_limits(self.model, self._task)

    @property
    def nominal_position(self) -> Array:
        """Positions of the joints around which episodes start, in the model's order."""
        return self._task.nominal.position

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Return the first observation of a new episode."""
        super().reset(seed=seed, options=options)
        if len(self._domain.addresses) > 1:
            self._draw_world()
        reset_data(self.model, self.data, self._task.nominal.keyframe)
        self.data.qpos[:], self.data.qvel[:] = self._task.start(self.np_random)
        mujoco.mj_forward(self.model, self.data)
        if self.render_mode == "human":
            self.render()
        if self._memory is not None:
            self._memory.begin(ALWAYS, self._draw)
        observation = self._evaluator.observe()
        if self._perturbations is not None:
            if seed is not None or self._noise_rng is None:
                self._noise_rng = self.np_random.spawn(1)[0]
            observation = self._perturbations.begin(0, observation, self._noise_rng)
        return observation, {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Return observation, reward, terminated, False, and the signed terms that the reward is the sum of.

        Raises:
            InputError: the action has another shape than the action space.
            FloatingPointError: the action is not finite.
        """
        action = self._checked(action)
        control = (
            action
            if self._perturbations is None
            else self._perturbations.act(action[None], [self._noise_generator()], SINGLE_ENV)[0]
        )
        before = self._evaluator.before()
        if self._memory is not None:
            self._memory.shift(ALWAYS)
        if not self._warm_start:
            self.data.qacc_warmstart[:] = 0.0
        self._control[:] = control if self._displaces is None else self._displaces(control)
        mujoco.mj_step(self.model, self.data, self._substeps)
        if self._forces:
            mujoco.mj_rnePostConstraint(self.model, self.data)
        success = None
        if self._memory is not None:
            success = self._memory.finish_step(self._evaluator.fulfilled, action, ALWAYS, self._draw)
        observation = self._evaluator.observe()
        if self._faults.tobytes() != self._calm or not math.isfinite(observation.dot(observation)):
            return self._unstable()
        healthy = self._evaluator.healthy()
        rewards = self._evaluator.rewards(before, action, healthy, success is not None and success.holds)
        if self.render_mode == "human":
            self.render()
        info: dict[str, Any] = dict(zip(self._labels, rewards, strict=True))
        terminated = self._ends and not healthy
        if success is not None:
            info["is_success"] = bool(success.episode)
            terminated = terminated or (self._task.success_ends and bool(success.holds))
        if self._perturbations is not None:
            observation = self._perturbations.sense(observation[None], [self._noise_generator()], SINGLE_ENV)[0]
        reward = float(self._evaluator.total(rewards))
        if self._domain.schedule is not None:
            self._count(reward, terminated, None if success is None else bool(success.episode))
        return observation, reward, terminated, False, info

    def _count(self, reward: float, terminated: bool, success: bool | None) -> None:
        """Take note of a step for the schedule of the ranges."""
        self._steps += 1
        self._ended |= bool(terminated)
        self._score = self._score + reward if success is None else float(success)

    def render(self) -> Any:
        """Return a picture, or show it, as `render_mode` says."""
        if self._renderer is None:
            self._renderer = _renderer(self.model, self.data, self._size, self.table.camera)
        self._follow()
        return self._renderer.render(self.render_mode)

    def _follow(self) -> None:
        """Move the camera as the robot has moved over the ground; Gymnasium 1.4's stays where it is."""
        followed = _followed(self.model, self.table.camera)
        at = self.data.xpos[followed, :2].copy()
        if followed and self._renderer.viewer is not None:
            self._renderer.viewer.cam.lookat[:2] += at - self._seen_at
        self._seen_at = at

    def state(self) -> dict[str, Array]:
        """Return all that the world needs to go on exactly, in this object or in another of the same address."""
        arrays = {"state": full_state(self.model, self.data), "warnings": self._faults.copy()}
        arrays |= {f"field.{name}": flat_fields(self.data)(name).copy() for name in self._task.fields}
        arrays |= {
            "stream": rng_state.pack_rng([self.np_random]),
            "noise": rng_state.pack_rng([self._noise_generator()]),
        }
        if self._memory is not None:
            arrays["memory"] = self._memory_array.copy()
        if len(self._domain.addresses) > 1:
            arrays["drawn"] = np.array([self._drawn, self._steps, self._ended], dtype=np.int64)
            arrays["score"] = np.array(self._score)
            arrays |= {f"ranges.{name}": values for name, values in self._schedules.state(np.arange(1)).items()}
        channel = self._perturbations.state(np.arange(1)) if self._perturbations is not None else {}
        return arrays | {f"channel.{name}": values for name, values in channel.items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        """Put the world where `state` found it."""
        if len(self._domain.addresses) > 1:
            member, self._steps, ended = map(int, state["drawn"])
            self._move_to(member)
            self._score, self._ended = float(state["score"]), bool(ended)
            names = ("ends", "scores", "counts", "tested")
            self._schedules.restore(np.arange(1), {name: state[f"ranges.{name}"] for name in names})
        mujoco.mj_setState(self.model, self.data, state["state"], FULL_STATE)
        self._faults[:] = state["warnings"]
        for name in self._task.fields:
            flat_fields(self.data)(name)[:] = state[f"field.{name}"]
        rng_state.restore_rng(self._noise_generator(), state["noise"][0])
        rng_state.restore_rng(self.np_random, state["stream"][0])
        if self._memory is not None:
            self._memory_array[:] = state["memory"]
        if self._perturbations is not None:
            self._perturbations.restore(np.arange(1), {name: state[f"channel.{name}"] for name in ("acts", "senses")})

    def close(self) -> None:
        """Close what rendering opened."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _checked(self, action: Array) -> Array:
        action = np.asarray(action)
        if action.shape != self._shape:
            raise InputError(f"{self.address}: an action has shape {self._shape}, not {action.shape}")
        if not math.isfinite(action.dot(action)) and not np.isfinite(action).all():
            wrong = [f"{slot.name} = {value}" for slot, value in zip(self.interface.action, action, strict=True)]
            raise FloatingPointError(f"{self.address}: the policy's action is not finite: {', '.join(wrong)}")
        return action

    def _draw(self, mask: Any) -> Array:
        return host_draw([self.np_random], self._task.layout.draws)(mask)

    def _noise_generator(self) -> np.random.Generator:
        if self._noise_rng is None:
            self._noise_rng = self.np_random.spawn(1)[0]
        return self._noise_rng

    def _unstable(self) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """End the episode at the nominal state: what MuJoCo left of this one is no part of any episode."""
        reset_data(self.model, self.data, self._task.nominal.keyframe)
        self.data.qpos[:] = self._task.nominal.position
        mujoco.mj_forward(self.model, self.data)
        info: dict[str, Any] = dict.fromkeys(self._labels, 0.0)
        if self._domain.schedule is not None:
            self._count(0.0, True, False if self._task.layout.judges else None)
        if self._memory is not None:
            self._memory.begin(ALWAYS, None)
        if self._task.layout.judges:
            info["is_success"] = False
        return self._evaluator.observe(), 0.0, True, False, info | {"sim_unstable": True}


class BoundWorld:
    """One world: a model with its data, and the task that is read from them.

    Raises:
        InputError: the variant or an axis does not exist, or does not apply.
    """

    def __init__(self, address: Address) -> None:
        self.address = str(address)
        self.table, self.model, self.task, self.variation = built(address)
        self.data = mujoco.MjData(self.model)
        layout, duration = self.task.layout, self.model.opt.timestep * self.table.frame_skip
        self.memory_array = np.zeros(layout.width)
        fields = with_memory(flat_fields(self.data), self.memory_array)
        self.evaluator = self.task.evaluator(fields)
        self.displaces = self.task.displacement.converter(fields) if self.task.displacement else None
        self.memory = TaskMemory(layout, self.memory_array, fields, _unmoved, [duration]) if layout.width else None


def _perturbed(pool: DomainPool) -> tuple[tuple[int, int], bool]:
    """Longest delays of actions and observations in a pool, and whether any of it lies between policy and world."""
    variations = [address.variation(load(address.env)) for address in pool.addresses]
    delays = [(variation.action_delay or 0, variation.observation_delay or 0) for variation in variations]
    acts, senses = zip(*delays, strict=True)
    return (max(acts), max(senses)), any(map(applies, variations))


def _unmoved(array: Any) -> Any:
    return array


World = RobotEnv  # the name until version 0.1, which stored pickles of envs and scripts may still have


def make(address: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Return the env at an address, with its time limit.

    Args:
        address: `half-cheetah`, `half-cheetah.gravity-1.5`, `half-cheetah?gravity=1.3`, or
            `gymnasium:Id-v4` for an env that is registered elsewhere; of an outside suite also
            `gymnasium:FetchReach-v4?gravity=1.5`.
        kwargs: go to the env: `render_mode`, and axes.

    Raises:
        InputError: there is no such env, variant or axis.
    """
    if address.startswith(FOREIGN):
        return _made_elsewhere(address, kwargs)
    parsed = Address.parse(address)
    registration.register_one(parsed.env)
    axes = dict(parsed.axes.axes())
    for axis in axes.keys() & kwargs.keys():
        raise InputError(f"{address}: {axis} is set twice")
    if parsed.variant:
        axes["variant"] = parsed.variant
    return gymnasium.make(registration.gymnasium_id(parsed.env, load(parsed.env)), **axes, **kwargs)


def _made_elsewhere(address: str, kwargs: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    """Env of another package; one whose observation is a table of arrays gives them as one array with named slots.

    Raises:
        InputError: there is none of that id, it cannot be made here, it would import a module, or its observations
            cannot be flattened.
        NotInstalledError: its suite's package is missing.
    """
    if is_listed(address):
        return OutsideEnv(address, **kwargs)
    env_id = without_module(address)
    if axes := ", ".join(axis for axis, _ in OutsideAddress.parse(address).axes.axes()):
        raise InputError(
            f"{address}: {axes} does not apply: it is no env of an outside suite, whose models can be edited"
        )
    try:
        env = gymnasium.make(env_id, **kwargs)
    except (gymnasium.error.NameNotFound, gymnasium.error.NamespaceNotFound):
        raise InputError(f"{address}: no env has this id{suggested_id(env_id, gymnasium.registry)}") from None
    except (gymnasium.error.Error, ImportError, OSError, TypeError) as error:
        raise InputError(f"{address}: {' '.join(str(error).split()) or type(error).__name__}") from None
    if not isinstance(env.observation_space, spaces.Dict | spaces.Tuple):
        return env
    try:
        return FlatObservationEnv(env)
    except (NotImplementedError, ValueError) as error:
        env.close()
        raise InputError(f"{address}: its observations are {env.observation_space}: {error}") from None


class FlatObservationEnv(FlattenObservation[Any, Any, Any]):
    """Env whose Dict or Tuple observation is one array; its slots are `achieved_goal.0`, `achieved_goal.1`, ...

    Raises:
        ValueError: a part has no fixed number of values.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        if not env.observation_space.is_np_flattenable:
            raise ValueError("a part of them has no fixed number of values, so that they cannot be flattened")
        super().__init__(env)
        names = flat_names(env.observation_space)
        actions = anonymous(0, flatdim(env.action_space)).action
        self.interface = Interface(observation=tuple(Slot(name, "?") for name in names), action=actions)


def flat_names(space: spaces.Space[Any], prefix: str = "") -> list[str]:
    """Names of the numbers of a space in the order in which Gymnasium flattens it: `goal.0`, `goal.1`, ..."""
    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        parts = [(str(index), part) for index, part in enumerate(space.spaces)]
    else:
        return [f"{prefix}{index}" for index in range(flatdim(space))]
    return [name for key, part in parts for name in flat_names(part, f"{prefix}{key}.")]


def interface_of(env: gymnasium.Env[Any, Any]) -> Interface:
    """Meaning of the env's numbers: `obs.0 ...` and `action.0 ...` where nobody has named them."""
    observations, actions = flatdim(env.observation_space), flatdim(env.action_space)
    if not all(map(neutral, _wrappers(env))):
        return anonymous(observations, actions)
    interface = getattr(env.unwrapped, "interface", None) or _flat_interface(env) or _interface_of_equal(env)
    if isinstance(interface, Interface) and (len(interface.observation), len(interface.action)) == (
        observations,
        actions,
    ):
        return interface
    return anonymous(observations, actions)


def _flat_interface(env: gymnasium.Env[Any, Any]) -> Interface | None:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, FlatObservationEnv):
            return env.interface
        env = env.env
    return None


def _wrappers(env: gymnasium.Env[Any, Any]) -> list[str]:
    """Return the paths of the wrappers around an env, from the outside in."""
    paths: list[str] = []
    while isinstance(env, gymnasium.Wrapper):
        paths.append(f"{type(env).__module__}.{type(env).__qualname__}")
        env = env.env
    return paths


def _interface_of_equal(env: gymnasium.Env[Any, Any]) -> Interface | None:
    """Return the interface of the suite's env that equals this one of Gymnasium's, if it is one of those."""
    registered = env.unwrapped.spec
    if registered is None or "xml_file" in registered.kwargs:
        return None
    for name in content.names("envs"):
        spec = load(name)
        if spec.equals == registered.id:
            return BoundTask(spec, compiled(spec, Address(env=name).axes)).interface
    return None


def built(address: Address) -> tuple[EnvSpec, mujoco.MjModel, BoundTask, Variation]:
    """Return table, model and task under the address's variation, and that variation.

    Raises:
        InputError: the variant or an axis does not exist, or does not apply.
    """
    spec = load(address.env)
    variation = address.variation(spec)
    try:
        model = compiled(spec, variation)
        refuse_sleeping(model)
        spec = variation_axes.edit_task(spec, variation, model)
        with located(str(content.find("envs", address.env) / content.MARKER["envs"])):
            _refuse_unknown_camera(spec, model)
            task = BoundTask(spec, model)
            refuse_unmatched(spec, model, task, shaped=bool(variation.shape))
        return spec, model, task, variation
    except InputError as error:
        raise InputError(f"{address}: {error}") from None


def refuse_sleeping(model: mujoco.MjModel) -> None:
    """Refuse a model whose bodies fall asleep.

    Raises:
        InputError: it enables sleeping, which MuJoCo's batches do not simulate.
    """
    if model.opt.enableflags & int(mujoco.mjtEnableBit.mjENBL_SLEEP):
        raise InputError(
            '<flag sleep="enable"/> in its model: MuJoCo\'s batches simulate no sleeping: take the flag out'
        )


def _refuse_unknown_camera(spec: EnvSpec, model: mujoco.MjModel) -> None:
    names = [model.body(index).name for index in range(model.nbody)]
    if spec.camera.body and spec.camera.body not in names:
        raise unknown("body", spec.camera.body, names, "camera.body")


def action_space(model: mujoco.MjModel, task: BoundTask) -> Box:
    """Return the actions' ranges: those of the controls, and ±1 of what displaces a hand."""
    low, high = action_limits(model, task).astype(np.float32)
    return Box(low, high, dtype=np.float32)


def action_limits(model: mujoco.MjModel, task: BoundTask) -> Array:
    """Return the same in double precision (2, actions), infinite where there are none."""
    limited = model.actuator_ctrllimited.astype(bool)
    limits = np.where(limited, model.actuator_ctrlrange.T, [[-np.inf], [np.inf]])
    if task.displacement is None:
        return limits
    return np.array([task.displacement.action_of(limits[0], -1.0), task.displacement.action_of(limits[1], 1.0)])


def _renderer(model: mujoco.MjModel, data: mujoco.MjData, size: tuple[int, int], camera: Camera) -> Any:
    # imported here because training must not need a rendering library
    from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

    width, height = size
    model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
    model.vis.global_.offheight = max(model.vis.global_.offheight, height)
    camera_config: dict[str, Any] = {}
    if camera.body:
        camera_config["trackbodyid"] = int(model.body(camera.body).id)
    if camera.lookat is not None:
        camera_config["lookat"] = np.array(camera.lookat)
    if camera.distance is not None:
        camera_config["distance"] = camera.distance
    if camera.elevation is not None:
        camera_config["elevation"] = camera.elevation
    return MujocoRenderer(model, data, camera_config, width, height)


def _followed(model: mujoco.MjModel, camera: Camera) -> int:
    """Return the body that the camera follows: the table's, or that of the model's camera `track`; 0 for none."""
    if camera.body:
        return int(model.body(camera.body).id)
    track = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
    return int(model.cam_bodyid[track]) if track >= 0 else 0
