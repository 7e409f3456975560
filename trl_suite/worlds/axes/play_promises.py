"""The promise of play: the model without it, and joints in series that are free between their stops.

Compared are all numbers that are of other things than joints, the rows of the joints that were there, and the
mechanics: places, inertias and forces at a few states, as they follow from the model without.
"""

from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.worlds.axes.backlash import plays_of
from trl_suite.worlds.axes.promises import derives_muscles, field_of_element, fields_of, renamed
from trl_suite.worlds.axes.variation import Play
from trl_suite.worlds.terms.play_joints import PLAY_SUFFIX, SeenNumbers, is_play, seen_joints, seen_numbers

Floats = NDArray[np.float64]

_STATES = 3  # at which the mechanics are compared
_TOLERANCE = 1e-6  # relative to a number, and to a hundredth of the largest of its field
_ROWS_OF_JOINTS = ("jnt_",)
_ROWS_OF_POSITIONS = ("qpos0", "qpos_spring", "key_qpos")
_ROWS_OF_VELOCITIES = ("dof_armature", "dof_damping", "dof_frictionloss", "dof_solref", "dof_solimp", "key_qvel")
_ADDRESSES = ("jnt_qposadr", "jnt_dofadr", "jnt_actuatorid")
# sizes, indices and what MuJoCo derives of a mechanism; the mechanics themselves are compared
_DERIVED = (
    *("nq", "nv", "njnt", "nM", "nB", "nC", "nD", "nJ", "nbuffer", "narena", "signature", "name", "nnames", "ntree"),
    *("body_jnt", "body_dof", "body_invweight0", "body_simple", "body_sameframe", "body_tree", "geom_sameframe"),
    *("dof_", "tree_", "tendon_invweight0", "tendon_tree", "actuator_acc0", "actuator_trnid", "actuator_moment"),
    *("sensor_objid", "sensor_refid", "wrap_objid", "eq_obj", "M_", "B_", "D_", "map", "ten_J", "stat."),
    *("bvh_", "oct_", "flex"),
)
_OF_MUSCLES = ("actuator_gainprm", "actuator_biasprm")  # whose peak force stays: the mechanics compare it


def play_breaches(
    before: mujoco.MjModel, after: mujoco.MjModel, change: float | Play | tuple[Play, ...]
) -> Iterator[str]:
    """Yield in which ways a model with play is not the model without it and the promised joints; none where it is."""
    plays = plays_of(before, change)
    expected = [name for joint in _joints(before) for name in _with_play(joint, plays)]
    if _joints(after) != expected:
        yield f"its joints are {', '.join(_joints(after))} instead of {', '.join(expected)}"
        return
    seen = seen_numbers(after)
    assert seen is not None
    broken = [*_stops(before, after, plays), *renamed(before, after), *_other_numbers(before, after, seen)]
    yield from broken or _other_mechanics(before, after, seen)


def _joints(model: mujoco.MjModel) -> list[str]:
    return [model.joint(index).name for index in range(model.njnt)]


def _with_play(joint: str, plays: dict[str, float]) -> tuple[str, ...]:
    return (joint, joint + PLAY_SUFFIX) if joint in plays else (joint,)


def _stops(before: mujoco.MjModel, after: mujoco.MjModel, plays: dict[str, float]) -> Iterator[str]:
    """Yield the joints that are not free between the promised stops."""
    for name, play in plays.items():
        motor, joint = before.joint(name).id, after.joint(name + PLAY_SUFFIX).id
        row = int(after.jnt_dofadr[joint])
        if not (after.jnt_limited[joint] and np.allclose(after.jnt_range[joint], (-play / 2, play / 2), rtol=1e-6)):
            yield f"the stops of joint '{name}' are not {play:g} apart"
        alike = [
            _close(getattr(before, field)[motor], getattr(after, field)[joint]) for field in ("jnt_axis", "jnt_pos")
        ]
        if not all(alike) or after.jnt_type[joint] != before.jnt_type[motor]:
            yield f"the play of joint '{name}' is about another axis"
        resists = [getattr(after, f"dof_{field}")[row] for field in ("damping", "frictionloss", "armature")]
        if np.any(resists) or np.any(after.jnt_stiffness[joint]):
            yield f"the play of joint '{name}' is held between its stops"


def _other_numbers(before: mujoco.MjModel, after: mujoco.MjModel, seen: SeenNumbers) -> Iterator[str]:
    """Yield the fields that differ in more than the added joints."""
    rows = {
        _ROWS_OF_JOINTS: np.array(seen_joints(after)),
        _ROWS_OF_POSITIONS: seen.positions,
        _ROWS_OF_VELOCITIES: seen.velocities,
    }
    others = fields_of(after)
    derived = (*_DERIVED, *(_OF_MUSCLES if derives_muscles(before) else ()))
    for name, value in fields_of(before).items():
        other = others[name]
        columns = next((columns for prefixes, columns in rows.items() if name.startswith(prefixes)), None)
        if name.startswith(_ADDRESSES) or (columns is None and name.startswith(derived)):
            continue
        if columns is not None:
            other = other[:, columns] if name.startswith("key_") else other[columns]
        if value.shape != other.shape:
            yield f"{name} is {other.shape} instead of {value.shape}"
        elif not (alike := _alike(value, other)).all():
            place = int(np.flatnonzero(~alike.reshape(-1))[0])
            yield f"{field_of_element(name, value, place, before)} is changed by the play"


def _close(value: NDArray[Any], other: NDArray[Any]) -> bool:
    value, other = np.asarray(value), np.asarray(other)
    return value.shape == other.shape and bool(_alike(value, other).all())


def _alike(value: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Which numbers of two arrays of one shape are the same, up to rounding."""
    if value.dtype.kind != "f":
        return np.asarray(value == other)
    size = float(np.abs(value[np.isfinite(value)]).max(initial=0.0))
    return np.isclose(other, value, rtol=_TOLERANCE, atol=_TOLERANCE * max(1e-6, 1e-2 * size), equal_nan=True)


def _other_mechanics(before: mujoco.MjModel, after: mujoco.MjModel, seen: SeenNumbers) -> Iterator[str]:
    """Yield what differs in places, inertias and forces.

    The links move as those without play at θ + δ, the rotors at θ. With E the map from velocities with play to those of
    the links, M and c the inertia and the bias without play, and A the rotors' inertia: M' = E (M - A) Eᵀ + A at the
    motors, and c' = E c. Springs, dampers and motors act at the motors alone, where δ = 0 as they do without play.
    """
    rng, onto = np.random.default_rng(0), _onto_links(after, seen)
    without, with_play = mujoco.MjData(before), mujoco.MjData(after)
    rotors = np.diag(before.dof_armature)
    for state in range(_STATES):
        _put(before, without, after, with_play, seen, rng, state > 0)
        inertia = onto @ (_inertia(before, without) - rotors) @ onto.T
        inertia[np.ix_(seen.velocities, seen.velocities)] += rotors
        forces = ("qfrc_actuator", "qfrc_spring", "qfrc_damper") if state == 0 else ()
        pairs = {"place of a body": (without.xpos, with_play.xpos), "inertia": (inertia, _inertia(after, with_play))}
        pairs["force of gravity"] = onto @ without.qfrc_bias, with_play.qfrc_bias
        pairs |= {name: (_at_motors(getattr(without, name), after, seen), getattr(with_play, name)) for name in forces}
        for words, (expected, value) in pairs.items():
            if not _close(expected, value):
                yield f"{words} is changed by the play"
                return


def _put(
    before: mujoco.MjModel,
    without: mujoco.MjData,
    after: mujoco.MjModel,
    with_play: mujoco.MjData,
    seen: SeenNumbers,
    rng: np.random.Generator,
    used: bool,
) -> None:
    """Put both into one state of the links, with the play in its middle or somewhere."""
    for model, data in ((before, without), (after, with_play)):
        mujoco.mj_resetData(model, data)
    mujoco.mj_integratePos(before, without.qpos, rng.uniform(-1, 1, before.nv), 0.3)
    without.qvel[:], without.ctrl[:] = rng.uniform(-1, 1, before.nv), rng.uniform(-0.1, 0.1, before.nu)
    with_play.qpos[seen.positions], with_play.qvel[seen.velocities] = without.qpos, without.qvel
    with_play.ctrl[:] = without.ctrl
    without.act[:] = with_play.act[:] = rng.uniform(0, 1, before.na)
    for joint in range(after.njnt):
        if used and is_play(after, joint):
            place, row = int(after.jnt_qposadr[joint]), int(after.jnt_dofadr[joint])
            for values, at, share in ((with_play.qpos, place, after.jnt_range[joint, 1]), (with_play.qvel, row, 1.0)):
                values[at] = share * rng.uniform(-1, 1)
                values[at - 1] -= values[at]
    for model, data in ((before, without), (after, with_play)):
        mujoco.mj_forward(model, data)


def _onto_links(after: mujoco.MjModel, seen: SeenNumbers) -> Floats:
    """Map of velocities with play to the links' (velocities with play, velocities without), of ones and zeros."""
    onto = np.zeros((after.nv, len(seen.velocities)))
    onto[seen.velocities, np.arange(len(seen.velocities))] = 1.0
    for joint in range(after.njnt):
        if is_play(after, joint):
            row = int(after.jnt_dofadr[joint])
            onto[row] = onto[row - 1]
    return onto


def _at_motors(forces: Floats, after: mujoco.MjModel, seen: SeenNumbers) -> Floats:
    """Forces (velocities with play,) that act at the motors alone."""
    spread = np.zeros(after.nv)
    spread[seen.velocities] = forces
    return spread


def _inertia(model: mujoco.MjModel, data: mujoco.MjData) -> Floats:
    matrix = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, matrix)
    return matrix
