"""Many simulations on a device that are stepped together, as torch tensors in the simulator's own memory.

Knows nothing of tasks. Numbers are in single precision.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trl_suite.worlds.warp.limits import Limits, data_of
from trl_suite.worlds.warp.merge import merged
from trl_suite.worlds.warp.warp_library import library

STATE_VALUE_MAX = 1e10  # MuJoCo's mjMAXVAL: a state beyond it is no state
# of what follows from a state, what kinematics gives; the rest takes a whole forward pass
_KINEMATIC = frozenset(
    ["qpos", "qvel", "xpos", "xquat", "xmat", "xipos", "ximat", "site_xpos", "xanchor", "xaxis", "cinert", "cvel"]
)
_WRITTEN_FIELDS = ("qpos", "qvel", "ctrl")  # of what is read, what is written as a state is
_LEFT_AT_ZERO = frozenset({"cfrc_ext"})  # by MuJoCo, until a step's end
_POSE_FIELDS = ("geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "xpos", "xquat", "xmat", "xipos", "ximat")


class StartControls(NamedTuple):
    """Controls and activations that the episodes of each env begin with."""

    control: NDArray[np.float64]  # (envs, nu)
    activation: NDArray[np.float64]  # (envs, na)

    def any(self) -> bool:
        """Whether one of them is not zero."""
        return bool(self.control.any() or self.activation.any())


class Simulation:
    """The worlds of a batch on a device.

    Args:
        models: the different ones, with solvers that Warp has.
        model_indices: which of them each env has (envs,).
        names: of the different ones, for messages.
        frame_skip: physics steps of a control step.
        fields: of MjData that are read, by name.
        needed: room for contacts and constraints.
        contact_forces: whether they are among what is read.
        start: controls and activations that an episode begins with.

    Raises:
        InputError: Warp cannot run a model, or two differ in what cannot differ between worlds.
    """

    def __init__(
        self,
        models: Sequence[mujoco.MjModel],
        model_indices: NDArray[np.int64],
        names: Sequence[str],
        *,
        frame_skip: int,
        fields: Sequence[str],
        needed: Limits,
        contact_forces: bool,
        start: StartControls,
    ) -> None:
        self._pulls_at_start = start.any()
        self._model = merged(models, model_indices, names)
        self._model.opt.warn_overflow = 0  # a kernel would print at every step; `overflow` is read instead
        self._data = data_of(models[0], len(model_indices), needed)
        self._substeps, self._contact_forces = frame_skip, contact_forces
        self._place(models, model_indices)
        self.position, self.velocity = self.field("qpos"), self.field("qvel")
        self.control, self.warm_start = self.field("ctrl"), self.field("qacc_warmstart")
        self.overflow: Tensor = self._shared("overflow")  # (worlds,) bits of what did not fit, or'ed over all steps
        self._acceleration = self.field("qacc")
        self._activation = self.field("act")
        cleared = [self.control, self.warm_start, self._activation, self.field("time")]
        self._cleared = [array for array in cleared if array.numel()]
        self._control_at_start: tuple[Tensor, Tensor] | None = None
        if start.any():
            self._control_at_start = (
                self._like(self.control, start.control),
                self._like(self._activation, start.activation),
            )
        following = [name for name in fields if name not in _WRITTEN_FIELDS]
        self._follows = [self.field(name) for name in following]
        state_fields = ("qpos", "qvel", "ctrl", "act", "time", "qacc_warmstart", *following)
        self.state_arrays = {name: self.field(name) for name in state_fields}  # what worlds need to go on exactly
        self._zero = [self.field(name) for name in fields if name in _LEFT_AT_ZERO or self._is_motor(name, models)]
        forward = not all(name in _KINEMATIC | _LEFT_AT_ZERO or self._is_motor(name, models) for name in following)
        self._passes_forward = forward
        self._bounds = torch.zeros(0)  # of the magnitude of every number that `unstable` looks at
        if forward:
            self._follows.append(self.warm_start)

    def forward(self) -> None:
        """Compute everything of all worlds from positions, velocities and controls: work of Warp's."""
        library().mujoco_warp.forward(self._model, self._data)

    @property
    def follows(self) -> bool:
        """Whether anything that is read must be computed anew where a state is written."""
        return bool(self._follows)

    def field(self, name: str) -> Tensor:
        """Return the array under MjData's name (worlds, n), live."""
        return self._shared(name).reshape(self._data.nworld, -1)

    def advance(self) -> None:
        """Run one control step of all worlds: work of Warp's."""
        steps = library().mujoco_warp
        for _ in range(self._substeps):
            steps.step(self._model, self._data)
        if self._contact_forces:
            steps.rne_postconstraint(self._model, self._data)

    def refresh(self) -> None:
        """Compute what is read of all worlds from positions and velocities: work of Warp's."""
        if self._passes_forward:
            self.forward()
            return
        steps = library().mujoco_warp
        steps.kinematics(self._model, self._data)
        steps.com_pos(self._model, self._data)
        steps.com_vel(self._model, self._data)

    def write(self, env_mask: Tensor, position: Tensor, velocity: Tensor) -> None:
        """Put the worlds of a mask (worlds,) into states (worlds, ...) as a new episode does."""
        mask = env_mask[:, None]
        torch.where(mask, position, self.position, out=self.position)
        torch.where(mask, velocity, self.velocity, out=self.velocity)
        for array in self._cleared:
            array.masked_fill_(mask, 0.0)
        if self._control_at_start is not None:
            control, activation = self._control_at_start
            self.control.copy_(torch.where(mask, control, self.control))
            self._activation.copy_(torch.where(mask, activation, self._activation))

    def lagging(self) -> list[Tensor]:
        """Return copies of what `refresh` overwrites: after a step it lags a substep behind the state, as MuJoCo's."""
        return [array.clone() for array in self._follows]

    def settle(self, env_mask: Tensor, lagging: Sequence[Tensor]) -> None:
        """Keep what `refresh` found in the worlds of a mask (worlds,), and what lagged in all others."""
        mask = env_mask[:, None]
        for array, before in zip(self._follows, lagging, strict=True):
            array.copy_(torch.where(mask, array, before))
        for array in self._zero:
            array.masked_fill_(mask, 0.0)

    def unstable(self, *finite: Tensor) -> Tensor:
        """Return which worlds have left what MuJoCo calls a state, or have a number here that is not finite (worlds,).

        Args:
            finite: numbers of each world (worlds, n).
        """
        state = (self.position, self.velocity, self._acceleration)
        numbers = torch.cat([*state, *finite], dim=1)
        if len(self._bounds) != numbers.shape[1]:
            bounded = sum(array.shape[1] for array in state)
            self._bounds = numbers.new_full((numbers.shape[1],), torch.inf)
            self._bounds[:bounded] = STATE_VALUE_MAX
        return ~(numbers.abs() < self._bounds).all(1)

    def _shared(self, name: str) -> Any:
        return library().warp.to_torch(getattr(self._data, name))

    def _is_motor(self, name: str, models: Sequence[mujoco.MjModel]) -> bool:
        """Return whether the field is the motors' forces, and none of them pulls without control."""
        pulls = self._pulls_at_start or any(model.actuator_biastype.any() for model in models)
        return name == "qfrc_actuator" and not pulls

    def _like(self, tensor: Tensor, array: NDArray[np.float64]) -> Tensor:
        return torch.as_tensor(array, dtype=tensor.dtype, device=tensor.device)

    def _place(self, models: Sequence[mujoco.MjModel], model_indices: NDArray[np.int64]) -> None:
        """Give each world the places of its own model: those of what does not move are never computed again."""
        data_of_models: list[mujoco.MjData] = []
        for model in models:
            data_of_models.append(mujoco.MjData(model))
            mujoco.mj_kinematics(model, data_of_models[-1])
        for name in _POSE_FIELDS:
            places = self.field(name)
            rows = np.array([getattr(data, name).reshape(-1) for data in data_of_models], dtype=np.float32)
            places.copy_(torch.from_numpy(rows[model_indices]).to(places.device))
