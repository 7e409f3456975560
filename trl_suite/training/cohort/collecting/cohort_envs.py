"""The worlds of all members as one batch."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode

from trl_suite.worlds.stepping.vector_env import RobotVectorEnv, batch_arguments
from trl_suite.worlds.warp.host import HostWarpEnv
from trl_suite.worlds.warp.warp_env import WarpVectorEnv

Physics = Literal["mujoco", "warp"]
Array = npt.NDArray[Any]


class SteppedBatch(Protocol):
    """A batch of worlds as seen from the host, whatever simulates it."""

    num_envs: int
    single_action_space: Any

    def reset(self, *, seed: Sequence[int] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start new episodes in all worlds."""
        ...

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Return observations, rewards, terminations, truncations and infos."""
        ...

    def state(self, envs: Sequence[int] | Array | None = None) -> dict[str, Array]:
        """Return all that worlds need to go on exactly."""
        ...

    def restore(self, envs: Sequence[int] | Array | None, state: Mapping[str, Array]) -> None:
        """Put worlds where `state` found them."""
        ...

    def share_ranges(self, leaders: Sequence[int]) -> None:
        """Let envs learn together how far their ranges may widen: of each env, the first of those of its run."""
        ...

    def ranges(self, env: int) -> dict[str, tuple[float, float]]:
        """Return the ranges that an env's episodes are drawn from now, by the numbers' names."""
        ...

    def overflow_mask(self) -> npt.NDArray[np.bool_]:
        """Return in which worlds the physics was wrong for want of room (worlds,)."""
        ...

    def close(self) -> None:
        """End the worlds."""
        ...


EnvAddresses = Sequence[str]
EnvMaker = Callable[[EnvAddresses, AutoresetMode], SteppedBatch]
"""Makes the worlds of these addresses."""


def simulated(physics: Physics, device: torch.device, cores: int = 1) -> EnvMaker:
    """Return the maker of worlds: on Warp on the learner's device, or on MuJoCo on the CPU's cores.

    Args:
        physics: what simulates them.
        device: of the learner; where it is a GPU, MuJoCo has all cores.
        cores: of a learner on the CPU, where other cohorts have the others.
    """

    def on_warp(addresses: EnvAddresses, mode: AutoresetMode) -> SteppedBatch:
        batch = WarpVectorEnv(len(addresses), device=device, autoreset_mode=mode, **batch_arguments(addresses))
        return HostWarpEnv(batch)

    def on_mujoco(addresses: EnvAddresses, mode: AutoresetMode) -> SteppedBatch:
        threads = cores if device.type == "cpu" else None
        return RobotVectorEnv(len(addresses), threads=threads, autoreset_mode=mode, **batch_arguments(addresses))

    return on_warp if physics == "warp" else on_mujoco


class StepResult(NamedTuple):
    """Result of one env step; axes (members, worlds, ...)."""

    observation: npt.NDArray[np.float64]  # of the next episode where one has ended and starts anew by itself
    reward: npt.NDArray[np.float64]
    ended: npt.NDArray[np.bool_]
    cut: npt.NDArray[np.bool_] | None  # which episodes only the time limit ended; None where none
    last: npt.NDArray[np.float64] | None  # what those ended with, and anything elsewhere
    unstable: npt.NDArray[np.bool_] | None  # which episodes the simulation ended; None where none
    success: npt.NDArray[np.bool_] | None = None  # which episodes are one so far; None where nothing is
    terms: Mapping[str, npt.NDArray[np.float64]] = MappingProxyType({})  # of the reward, those that were asked for


class CohortEnvs:
    """As many worlds for each member, stepped together."""

    def __init__(self, addresses: Sequence[EnvAddresses], make: EnvMaker, autoreset: AutoresetMode) -> None:
        self._shape = (len(addresses), len(addresses[0]))
        self.batch = make([address for of_member in addresses for address in of_member], autoreset)
        self.batch.share_ranges([index - index % self._shape[1] for index in range(self.batch.num_envs)])
        space: Any = self.batch.single_action_space
        self.low, self.high = space.low, space.high  # of actions

    @property
    def actions(self) -> int:
        """How many numbers an action has."""
        return len(self.low)

    def reset(self, seeds: Sequence[int]) -> npt.NDArray[np.float64]:
        """Start episodes under one seed per world, in order; return the observations (members, worlds, slots)."""
        observation, _ = self.batch.reset(seed=list(seeds))
        return self._by_member(observation)

    def step(self, actions: npt.NDArray[np.float32], terms: Sequence[str] = ()) -> StepResult:
        """Step all worlds with actions (members, worlds, actions), clipped to the action space as by SB3's PPO.

        Args:
            actions: in the worlds' units.
            terms: of the reward, which are to be told.
        """
        bounded = np.clip(actions, self.low, self.high).reshape(self.batch.num_envs, -1)
        observation, reward, terminated, truncated, infos = self.batch.step(bounded)
        ended, cut = terminated | truncated, truncated & ~terminated
        unstable = infos.get("final_info", infos).get("sim_unstable") if ended.any() else None
        return StepResult(
            observation=self._by_member(observation),
            reward=self._by_member(reward),
            ended=self._by_member(ended),
            cut=self._by_member(cut) if cut.any() else None,
            last=self._by_member(_last(observation, cut, infos)) if cut.any() else None,
            unstable=None if unstable is None else self._by_member(unstable),
            success=self._by_member(_term("is_success", ended, infos)) if _judged(infos) else None,
            terms={name: self._by_member(_term(f"reward_{name}", ended, infos)) for name in terms},
        )

    def ranges(self, member: int) -> dict[str, tuple[float, float]]:
        """Return the ranges that a member's episodes are drawn from now, by the numbers' names."""
        return self.batch.ranges(member * self._shape[1])

    def overflown(self) -> npt.NDArray[np.int64]:
        """Return in how many worlds of each member the physics was wrong, on Warp, for want of room (members,)."""
        return self._by_member(self.batch.overflow_mask()).sum(1)

    def close(self) -> None:
        """End the threads."""
        self.batch.close()

    def _by_member(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values.reshape(*self._shape, *values.shape[1:])


def _judged(infos: Mapping[str, Any]) -> bool:
    return "is_success" in infos or "is_success" in infos.get("final_info", {})


def _term(key: str, ended: npt.NDArray[np.bool_], infos: dict[str, Any]) -> npt.NDArray[np.float64]:
    """Return one term of every world's reward, of those also whose episode has ended."""
    final = infos.get("final_info", infos)
    if key not in infos:  # all have ended
        return final[key]
    return np.where(ended, final[key], infos[key]) if key in final else infos[key]


def _last(observation: npt.NDArray[np.float64], cut: npt.NDArray[np.bool_], infos: dict[str, Any]) -> Any:
    """Return the observations with those that episodes were cut off at in place of those that follow them."""
    if "final_obs" not in infos:  # nothing starts anew by itself
        return observation
    last = observation.copy()
    for world in np.flatnonzero(cut):
        last[world] = infos["final_obs"][world]
    return last
