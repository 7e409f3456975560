"""Play between a motor and its link: a second joint in series, free between two stops.

The motor turns the rotor (the joint's armature), and the link follows where the play is used up: θ_link = θ_motor + δ
with |δ| <= play / 2 (Nordin & Gutman 2002, "Controlling mechanical systems with backlash: a survey", section 2).
A dead band in a servo's target would be no play for a torque motor, and no free link for a servo.
"""

from typing import Any

import mujoco
import numpy as np

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.axes.idle import refuse_disabled
from trl_suite.worlds.axes.simulator_axes import STIFFEST_TIMESTEPS
from trl_suite.worlds.axes.variation import Play
from trl_suite.worlds.terms.model_sensors import SINGLE
from trl_suite.worlds.terms.play_joints import PLAY_SUFFIX

_HARD_STOP = (0.9995, 0.9999, 0.001, 0.5, 2.0)  # impedance of the stops
_ON_JOINT = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
_AFFINE = int(mujoco.mjtBias.mjBIAS_AFFINE)
_TURNING = int(mujoco.mjtJoint.mjJNT_HINGE)
_JOINT_FIELDS = (
    "name", "type", "pos", "axis", "ref", "springref", "limited", "range", "margin", "armature", "damping", "stiffness",
    "frictionloss", "actfrclimited", "actfrcrange", "actgravcomp", "align", "group", "solref_limit", "solimp_limit",
    "solref_friction", "solimp_friction", "springdamper", "springyield",
)  # fmt: skip


def backlash(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Play | tuple[Play, ...]) -> None:
    """Let links have play against their motors: rad of a hinge, m of a slide, from one stop to the other.

    Raises:
        InputError: a joint does not exist, has no motor, no rotor or no play to be added, or is changed twice.
    """
    refuse_disabled(nominal, "backlash")
    plays = plays_of(nominal, change)
    joints = {joint.name: joint for joint in model.joints}
    damping = _servo_damping(model)
    for name in plays:
        _refuse_light_rotor(name, float(joints[name].armature), damping.get(name, 0.0), float(model.option.timestep))
    for body in model.bodies:
        if any(joint.name in plays for joint in body.joints):
            _add_play(model, body, plays)
    _lengthen_keys(model, nominal, plays)


def plays_of(model: mujoco.MjModel, change: float | Play | tuple[Play, ...]) -> dict[str, float]:
    """Play of each joint by name, from one stop to the other, in rad or m.

    Raises:
        InputError: a joint does not exist, is not driven, or is named twice.
    """
    parts = change if isinstance(change, tuple) else (change if isinstance(change, Play) else Play(value=change),)
    driven = _driven(model)
    if not driven:
        raise InputError("no motor drives a hinge or a slide of it")
    plays: dict[str, float] = {}
    for part in parts:
        if part.joint and part.joint not in driven:
            raise unknown("joint with a motor", part.joint, driven)
        for name in [part.joint] if part.joint else driven:
            if name in plays:
                raise InputError(f"joint '{name}' is changed twice")
            plays[name] = part.value
    return plays


def _driven(model: mujoco.MjModel) -> list[str]:
    """Hinges and slides that an actuator drives by themselves."""
    on_joint = np.isin(model.actuator_trntype, _ON_JOINT)
    joints = {int(joint) for joint in model.actuator_trnid[on_joint, 0]}
    return [model.joint(index).name for index in sorted(joints) if int(model.jnt_type[index]) in SINGLE]


def _servo_damping(model: mujoco.MjSpec) -> dict[str, float]:
    """Damping that servos give their joints, in N m s/rad or N s/m."""
    affine = [actuator for actuator in model.actuators if int(actuator.biastype) == _AFFINE]
    damping: dict[str, float] = {}
    for actuator in affine:
        force = max(0.0, -float(actuator.biasprm[2])) * float(actuator.gear[0]) ** 2
        damping[actuator.target] = damping.get(actuator.target, 0.0) + force
    return damping


def _refuse_light_rotor(joint: str, inertia: float, damping: float, timestep: float) -> None:
    """Refuse a rotor whose servo brings it to rest within a timestep: its stops would give way (I < d Δt).

    Raises:
        InputError: its inertia is too small, or none.
    """
    if not inertia > 0:
        raise InputError(f"joint '{joint}' has no rotor: give it an inertia, armature = {{ value = 0.01 }}")
    if inertia < damping * timestep * (1 - 1e-9):
        raise InputError(
            f"the rotor of joint '{joint}' is {inertia:g} kg m², too light for its servo at {timestep:g} s a step: "
            f"give an armature of {damping * timestep:g} or more, or a shorter timestep"
        )


def _add_play(model: mujoco.MjSpec, body: Any, plays: dict[str, float]) -> None:
    """Insert a joint behind each of a body's that has play: MuJoCo turns a body by its joints in order.

    Joints can only be appended to a body, so that those behind the first with play are written anew; what refers to a
    joint does so by its name.
    """
    rows: list[dict[str, Any]] = []
    for joint in body.joints:
        rows.append({field: _copied(getattr(joint, field)) for field in _JOINT_FIELDS} | {"frame": joint.frame})
        if joint.name in plays:
            rows.append(_play_fields(model, rows[-1], plays[joint.name]))
    for _ in range(len(rows) - len(body.joints)):
        body.add_joint()
    joints = list(body.joints)
    for index, joint in enumerate(joints):
        joint.name = f"{body.name}{PLAY_SUFFIX}{index}"  # no two have one name at any time
    for joint, fields in zip(joints, rows, strict=True):
        if (frame := fields.pop("frame")) is not None:
            joint.set_frame(frame)  # in whose axes its own are written
        for field, value in fields.items():
            setattr(joint, field, value)


def _copied(value: Any) -> Any:
    """Return a value that stays when its joint is written into."""
    return value.copy() if isinstance(value, np.ndarray) else value


def _play_fields(model: mujoco.MjSpec, joint: dict[str, Any], play: float) -> dict[str, Any]:
    """Fields of the joint that is the play of another: the same axis, two stops, and nothing that holds it between."""
    half = play / 2
    if model.compiler.degree and int(joint["type"]) == _TURNING:
        half = float(np.rad2deg(half))
    still = {"damping": np.zeros_like(joint["damping"]), "stiffness": np.zeros_like(joint["stiffness"])}
    plain = dict.fromkeys(("ref", "springref", "margin", "armature", "frictionloss"), 0.0)
    return joint | still | plain | {
        "name": joint["name"] + PLAY_SUFFIX,
        "limited": 1,
        "range": np.array([-half, half]),
        "actfrclimited": 0,
        "actfrcrange": np.zeros(2),
        "springdamper": np.zeros(2),
        "solref_limit": np.array([STIFFEST_TIMESTEPS * model.option.timestep, 1.0]),
        "solimp_limit": np.array(_HARD_STOP),
    }  # fmt: skip


def _lengthen_keys(model: mujoco.MjSpec, nominal: mujoco.MjModel, plays: dict[str, float]) -> None:
    """Put the play of every keyframe in the middle, at rest."""
    joints = [nominal.joint(name).id for name in plays]
    for key in model.keys:
        for field, addresses, size in (
            ("qpos", nominal.jnt_qposadr, nominal.nq),
            ("qvel", nominal.jnt_dofadr, nominal.nv),
        ):
            if len(values := np.array(getattr(key, field))) == size:
                setattr(key, field, np.insert(values, [int(addresses[joint]) + 1 for joint in joints], 0.0))
