"""Actions that displace a hand, turned into set points of its joints by differential inverse kinematics.

On one state or on many, as NumPy arrays or torch tensors; knows nothing of tasks.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError, located, unknown
from trl_suite.interface import Slot
from trl_suite.worlds.env_spec import Displacement, EnvSpec
from trl_suite.worlds.terms import arrays
from trl_suite.worlds.terms.play_joints import seen_joints
from trl_suite.worlds.terms.sensors import HINGE, SLIDE, Fields, controls

LEVER = 0.1  # m: a turn counts as the way of a point so far from its axis
_AXES = ("x", "y", "z")


class BoundDisplacement(NamedTuple):
    """Displacement of a table, bound to a model: where its joints lie, and the numbers of their servos."""

    spec: Displacement
    field: str  # of MjData, that has the hand's place
    place: Any  # indices of the place there (3,)
    joints: Any  # their indices (n,)
    hinges: Any  # whether each is one, as a number (n, 1)
    positions: Any  # indices of the joints' positions (n,)
    servos: Any  # indices of their actuators (n,)
    passed: Any  # indices of all other actuators: the rest of the action is theirs
    servo_numbers: dict[str, Any]  # of the servos (..., n): scale, pose, reach, low, high

    @property
    def fields(self) -> tuple[str, ...]:
        """The arrays of MjData that are read, by name."""
        return self.field, "xanchor", "xaxis", "qpos", "ctrl"

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Slots of the action that displace the hand."""
        parts = (*_AXES, "turn") if self.spec.turn else _AXES
        return tuple(Slot(f"{self.spec.of}.{part}.control", "1") for part in parts)

    def slots_of(self, plain: tuple[Slot, ...]) -> tuple[Slot, ...]:
        """Slots of the whole action, from those of the actuators."""
        return (*self.slots, *(plain[index] for index in self.passed))

    def action_of(self, plain: NDArray[Any], displacing: float) -> NDArray[Any]:
        """A number per slot of the action, from those of the actuators (nu,) and one of all that displace."""
        return np.concatenate((np.full(len(self.slots), displacing, plain.dtype), plain[self.passed]))

    def moved(self, put: Callable[[Any], Any]) -> "BoundDisplacement":
        """Displacement for arrays that lie elsewhere: where `put` puts its own."""
        arrays_here = {name: value for name, value in self._asdict().items() if isinstance(value, np.ndarray)}
        numbers = {name: put(value) for name, value in self.servo_numbers.items()}
        return self._replace(**{name: put(value) for name, value in arrays_here.items()}, servo_numbers=numbers)

    def converter(self, fields: Fields) -> Callable[[Any], Any]:
        """Converter of actions (..., actions) to controls (..., nu), on a state that is stepped in place."""
        place, anchors, axes, positions, last_controls = (fields(name) for name in self.fields)

        count = len(self.slots)

        def convert(action: Any) -> Any:
            lines = _vectors(axes, self.joints)  # (..., n, 3)
            arms = place[..., self.place][..., None, :] - _vectors(anchors, self.joints)
            change = self._joint_change(action[..., :count].clip(-1.0, 1.0), lines, arms)
            control = arrays.copied(last_controls)
            control[..., self.passed] = arrays.like(action[..., count:], control)
            control[..., self.servos] = self._servo_controls(
                change, control[..., self.servos], positions[..., self.positions]
            )
            return control

        return convert

    def _joint_change(self, moved: Any, lines: Any, arms: Any) -> Any:
        """Change of the joints' positions (..., n), in rad and m, that displaces the hand; n joints, m = 3 or 6.

        Damped least squares (Buss 2004, equation 11), the least of ‖J Δq - Δx‖² + λ² ‖Δq‖²:

            Δq = Jᵀ (J Jᵀ + λ² I)⁻¹ Δx

        A hinge of axis a, the hand at r from its anchor, has the column (a × r, l a) of J; a slide has (a, 0).
        With a turn, Δx = (Δp, 0, 0, l Δφ), so that the hand keeps its tilt; without one it is Δp, and rows 4 to 6 lack.

        Args:
            moved: displacing part of the action (..., 3 or 4), within ±1.
            lines: axes of the joints in the world (..., n, 3).
            arms: from their anchors to the hand (..., n, 3), m.
        """
        spec = self.spec
        jacobian = self.hinges * _cross(lines, arms) + (1.0 - self.hinges) * lines  # (..., n, m)
        target = spec.scale * moved[..., :3]
        if spec.turn:
            jacobian = arrays.joined([jacobian, LEVER * self.hinges * lines])
            target = arrays.joined([target, 0.0 * moved[..., :2], LEVER * spec.turn * moved[..., 3:]])
        rows = jacobian.swapaxes(-1, -2)  # (..., m, n)
        square = arrays.summed(rows[..., :, None, :] * rows[..., None, :, :])
        weights = arrays.solved(square, target, spec.damping**2)
        return arrays.summed(jacobian * weights[..., None, :])

    def _servo_controls(self, change: Any, last_controls: Any, positions: Any) -> Any:
        """Controls (..., n) whose set points have moved on by a change (..., n) of the joints.

        A set point is pose + s·u. It is moved from where it was, so that a load does not make the hand sink, and stays
        within F / kp of the joint: further away the servo has no more force, and would only answer later.
        """
        scale, pose, reach, low, high = self.servo_numbers.values()
        controls = last_controls + change / scale
        nearest, furthest = (positions - reach - pose) / scale, (positions + reach - pose) / scale
        return controls.clip(nearest, furthest).clip(low, high)


def _vectors(vectors: Any, joints: Any) -> Any:
    """Vectors of some joints (..., n, 3), of those of all (..., 3 njnt)."""
    return vectors.reshape((*vectors.shape[:-1], -1, 3))[..., joints, :]


def _cross(left: Any, right: Any) -> Any:
    """Cross products (..., 3)."""
    turns = ((1, 2), (2, 0), (0, 1))
    return arrays.stacked([left[..., i] * right[..., j] - left[..., j] * right[..., i] for i, j in turns])


def stacked_displacement(displacements: Sequence[BoundDisplacement]) -> BoundDisplacement:
    """One displacement of many envs, whose servos have numbers of their own."""
    first = displacements[0]
    numbers = {name: np.array([entry.servo_numbers[name] for entry in displacements]) for name in first.servo_numbers}
    return first._replace(servo_numbers=numbers)


def action_slots(spec: EnvSpec, model: mujoco.MjModel) -> tuple[Slot, ...]:
    """Slots of the action of an env.

    Raises:
        InputError: as `bind_displacement`.
    """
    displacement = bind_displacement(spec, model)
    return displacement.slots_of(controls(model)) if displacement else controls(model)


def bind_displacement(spec: EnvSpec, model: mujoco.MjModel) -> BoundDisplacement | None:
    """Displacement of a table, bound to a model; None where its actions are its actuators' controls.

    Raises:
        InputError: the model lacks the site, body or a joint, no joint is named, one does not move the hand, or has no
            position servo.
    """
    if spec.displacement is None:
        return None
    with located("displacement.of"):
        hand = _hand(model, spec.displacement.of)
    with located("displacement.joints"):
        joints = _joints(model, spec.displacement)
        for joint in joints:
            _refuse_unless_moving(model, joint, hand.body, spec.displacement.of)
        servos = [_servo(model, joint) for joint in joints]
    return BoundDisplacement(
        spec.displacement,
        hand.field,
        hand.place,
        np.array(joints),
        (model.jnt_type[joints] == HINGE).astype(np.float64)[:, None],
        model.jnt_qposadr[joints],
        np.array(servos),
        np.array([index for index in range(model.nu) if index not in servos], dtype=np.intp),
        _servo_numbers(model, servos),
    )


class _Hand(NamedTuple):
    """Site or body that is displaced."""

    body: int
    field: str
    place: Any  # indices in the field (3,)


def _hand(model: mujoco.MjModel, name: str) -> _Hand:
    sites = {model.site(index).name: index for index in range(model.nsite)}
    bodies = {model.body(index).name: index for index in range(1, model.nbody)}
    if name in sites:
        index = sites[name]
        return _Hand(int(model.site_bodyid[index]), "site_xpos", np.arange(3 * index, 3 * index + 3))
    if name in bodies:
        return _Hand(bodies[name], "xpos", np.arange(3 * bodies[name], 3 * bodies[name] + 3))
    raise unknown("site or body", name, [*sites, *bodies])


def _joints(model: mujoco.MjModel, displacement: Displacement) -> list[int]:
    """Indices of the joints that a table names, in its order.

    Raises:
        InputError: there is no such hinge or slide, or none at all.
    """
    names = [model.joint(index).name for index in seen_joints(model) if model.jnt_type[index] in (HINGE, SLIDE)]
    for name in displacement.joints:
        if "*" not in name and name not in names:
            raise unknown("hinge or slide joint", name, names)
    listed = [name for pattern in displacement.joints for name in names if fnmatchcase(name, pattern)]
    if not listed:
        raise InputError(f"no joint of the model matches {', '.join(displacement.joints)}: name those of the arm")
    return [int(model.joint(name).id) for name in dict.fromkeys(listed)]


def _refuse_unless_moving(model: mujoco.MjModel, joint: int, body: int, hand: str) -> None:
    """Refuse a joint that the hand does not hang on."""
    moved = int(model.jnt_bodyid[joint])
    while body > 0 and body != moved:
        body = int(model.body_parentid[body])
    if body != moved:
        raise InputError(f"'{model.joint(joint).name}' does not move '{hand}': leave it out")


def _servo(model: mujoco.MjModel, joint: int) -> int:
    """Index of the position servo of a joint.

    Raises:
        InputError: the joint has no actuator, several, or one that is no servo with a limited force.
    """
    name, drives = model.joint(joint).name, model.actuator_trntype == int(mujoco.mjtTrn.mjTRN_JOINT)
    drivers = np.flatnonzero(drives & (model.actuator_trnid[:, 0] == joint))
    affine = int(mujoco.mjtBias.mjBIAS_AFFINE)
    servo = int(drivers[0]) if len(drivers) == 1 else -1
    if servo < 0 or model.actuator_biastype[servo] != affine or model.actuator_biasprm[servo, 1] >= 0:
        raise InputError(f"'{name}' has no position servo: name it in a table [[motors]] with kp")
    return servo


def _servo_numbers(model: mujoco.MjModel, servos: Sequence[int]) -> dict[str, Any]:
    """Numbers of servos (n,): of a force kp (pose + s·u - q) within ±F, s, pose and F / kp; and the ends of u."""
    gear = model.actuator_gear[servos, 0]
    stiffness = -model.actuator_biasprm[servos, 1] * np.where(gear == 0, 1.0, gear)  # 0 of a crippled one
    limited = model.actuator_forcelimited[servos].astype(bool)
    low, high = model.actuator_ctrlrange[servos].T
    bounded = model.actuator_ctrllimited[servos].astype(bool)
    return {
        "scale": model.actuator_gainprm[servos, 0] / stiffness,
        "pose": model.actuator_biasprm[servos, 0] / stiffness,
        "reach": np.where(limited, model.actuator_forcerange[servos, 1] / abs(stiffness), np.inf),
        "low": np.where(bounded, low, -np.inf),
        "high": np.where(bounded, high, np.inf),
    }
