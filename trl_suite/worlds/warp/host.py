"""A batch on a device for callers on the host: NumPy arrays in and out, each step waited for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trl_suite.worlds.warp.warp_env import WarpVectorEnv

Array = NDArray[Any]


class HostWarpEnv:
    """A `WarpVectorEnv` whose arrays are NumPy's, in double precision as `RobotVectorEnv`'s, and the caller's to keep.

    Args:
        batch: what is stepped.
    """

    def __init__(self, batch: WarpVectorEnv) -> None:
        self.on_device = batch
        self.num_envs, self.single_action_space = batch.num_envs, batch.single_action_space

    def reset(self, *, seed: Sequence[int] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start new episodes in all worlds."""
        observation, _ = self.on_device.reset(seed=seed)
        return _double(observation), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Return the results of `WarpVectorEnv.step`, on the host."""
        device_actions = torch.as_tensor(actions, dtype=torch.float32, device=self.on_device.device)
        observation, reward, terminated, truncated, infos = self.on_device.step(device_actions)
        host_infos = {key: _own(value) for key, value in infos.items()}
        return _double(observation), _double(reward), _own(terminated), _own(truncated), host_infos

    def state(self, envs: Sequence[int] | Array | None = None) -> dict[str, Array]:
        """Return all that worlds need to go on exactly."""
        return self.on_device.state(envs)

    def restore(self, envs: Sequence[int] | Array | None, state: Mapping[str, Array]) -> None:
        """Put worlds where `state` found them."""
        self.on_device.restore(envs, state)

    def share_ranges(self, leaders: Sequence[int]) -> None:
        """Nothing: on a device no env is drawn anew."""

    def ranges(self, env: int) -> dict[str, tuple[float, float]]:
        """Return none: on a device no env is drawn anew."""
        return {}

    def overflow_mask(self) -> NDArray[np.bool_]:
        """Return in which worlds the physics was wrong for want of room (worlds,): a wait."""
        return self.on_device.overflow_mask().cpu().numpy()

    def close(self) -> None:
        """End the worlds."""
        self.on_device.close()


def _own(values: torch.Tensor) -> Array:
    return np.array(values.cpu().numpy())


def _double(values: torch.Tensor) -> Array:
    return values.cpu().numpy().astype(np.float64)
