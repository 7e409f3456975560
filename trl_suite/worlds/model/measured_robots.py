"""Robots of primitives with the measures of machines that laboratories own; knows no task.

Lengths, masses and motor limits are those of the sources below. Inertias follow from the primitives, evenly filled.
"""

from typing import Any

import mujoco
import numpy as np

_GEOM, _JOINT = mujoco.mjtGeom, mujoco.mjtJoint
_GREY, _DARK, _GREEN, _RED = (0.6, 0.6, 0.65, 1.0), (0.2, 0.2, 0.25, 1.0), (0.5, 0.8, 0.4, 1.0), (0.9, 0.2, 0.2, 1.0)
TIMESTEP = 0.005  # s

# Unitree Go1: unitree_ros, robots/go1_description/xacro/const.xacro (BSD-3), rotors added to the links that carry them
_TRUNK_MASS, _HIP_MASS, _THIGH_MASS, _CALF_MASS = 5.204, 0.680, 1.009, 0.136  # kg
_FOOT_MASS, _FOOT_RADIUS = 0.060, 0.020  # kg, m
_TRUNK_SIZE = (0.3762, 0.0935, 0.114)  # m
_HIP_AT = (0.1881, 0.04675)  # m, forwards and to the side of the trunk's centre
_THIGH_ASIDE, _LEG = 0.080, 0.213  # m, of the thigh from the hip; length of thigh and calf each
_RANGES = {"hip": (-0.863, 0.863), "thigh": (-0.686, 4.501), "calf": (-2.818, -0.888)}  # rad
_ARMATURE, _DRY_FRICTION = 0.005, 0.2  # kg m², N m: of geared motors of that size

# Franka Emika Robot (Panda): data sheet 2020 (lengths, ranges, torques); link masses of Gaz et al. 2019, RA-L 4(4)
_COLUMN, _UPPER, _FORE, _HAND = 0.333, 0.316, 0.384, 0.107  # m
_COLUMN_MASS, _UPPER_MASS, _FORE_MASS, _HAND_MASS = 5.617, 3.229, 4.814, 2.402  # kg, links 1-2, 3, 4-5, 6-7
_PAYLOAD_MASS, _PAYLOAD_RADIUS = 0.05, 0.03  # kg, m: of what the hand holds
_BOX, _BOX_MASS = 0.03, 0.2  # m, kg: half a side of what is pushed, and its mass
# Franka Hand: product manual 2022 (stroke 80 mm); masses and frames: franka_description, hand.xacro (Apache-2.0)
_STROKE, _GRIP = 0.08, 0.1034  # m: between the open pads; from the flange to the point between them
_FINGER_BASE, _FINGER_RADIUS, _PAD = -0.045, 0.008, (0.011, 0.004, 0.01)  # m: along z from there; half sides
_FINGER_MASS, _PAD_MASS, _PALM_MASS = 0.01, 0.005, 0.73  # kg
_PALM_AT, _PALM_HALF, _PALM_RADIUS = -0.075, 0.07, 0.03  # m
_FINGER_ARMATURE, _FINGER_DRY_FRICTION = 0.1, 1.0  # kg, N: of a geared motor of that size
_STIFF = (2 * TIMESTEP, 1.0)  # s, 1: as the timestep allows
_HARD = (0.99, 0.999, 0.001, 0.5, 2)  # MuJoCo's solimp
_CUBE, _CUBE_MASS = 0.02, 0.1  # m, kg: half a side of what is lifted, and its mass
# D'Claw: Ahn et al. 2019, arXiv 1909.11639; measures, masses and rotors of its MJCF, dclaw3xh_valve3 (Apache-2.0), as
# robel_dclaw_env has it; motors, XM430-W210: ROBOTIS e-Manual (3.0 N m at stall, 8.06 rad/s without load, at 12 V)
_BASE_AT, _BASE_HEIGHT, _PALM_ABOVE = 0.06, 0.299, 0.034  # m: first joints, from the valve's axis and the table; palm
_FINGER_LINKS = {"swing": (0.0675, 0.105), "bend": (0.068, 0.105), "tip": (0.073, 0.032)}  # m, kg, below that joint
_TIP_RADIUS, _LINK_RADIUS, _FINGER_RANGE = 0.011, 0.015, (-1.57, 1.57)  # m, m, rad
_ROTOR, _BACK_EMF, _FINGER_FRICTION = 0.001, 3.0 / 8.06, 0.05  # kg m², N m s/rad; N m, assumed
_LOBE, _LOBE_RADIUS, _LOBE_HEIGHT, _HUB = 0.073, 0.021, 0.102, 0.054  # m
_LOBE_MASS, _HUB_MASS = 0.05, 0.05  # kg: of hollow prints of that size, assumed
_VALVE_DAMPING, _VALVE_FRICTION = 0.1, 0.05  # N m s/rad; N m, assumed: it stays where it is left
_ARM_JOINTS = {  # name: (body, axis, range, how many joints an arm has that has it)
    "yaw": ("column", (0, 0, 1), (-2.8973, 2.8973), 3),
    "shoulder": ("upper_arm", (0, 1, 0), (-1.7628, 1.7628), 3),
    "upper_roll": ("upper_arm", (0, 0, 1), (-2.8973, 2.8973), 7),
    "elbow": ("forearm", (0, 1, 0), (0.0698, 3.0718), 3),
    "forearm_roll": ("forearm", (0, 0, 1), (-2.8973, 2.8973), 6),
    "wrist": ("hand", (0, 1, 0), (-0.0175, 3.7525), 4),
    "hand_roll": ("hand", (0, 0, 1), (-2.8973, 2.8973), 5),
}


def quadruped(pairs: int) -> mujoco.MjSpec:
    """Return a trunk on pairs of legs of three joints: of two pairs, a robot of the Unitree Go1's measures."""
    spec = _spec("quadruped")
    _floor(spec)
    trunk = spec.worldbody.add_body(name="trunk", pos=(0, 0, 0.3))
    trunk.add_joint(name="root", type=_JOINT.mjJNT_FREE)
    half = np.array(_TRUNK_SIZE) / 2
    trunk.add_geom(name="trunk", type=_GEOM.mjGEOM_BOX, size=half, mass=_TRUNK_MASS, rgba=_GREY)
    names = ("F", "R") if pairs == 2 else ("F", "M", "R")
    for letter, forwards in zip(names, np.linspace(_HIP_AT[0], -_HIP_AT[0], pairs), strict=True):
        for side, sign in (("R", -1.0), ("L", 1.0)):
            _leg(trunk, f"{letter}{side}", float(forwards), sign)
    return spec


def _leg(trunk: Any, name: str, forwards: float, side: float) -> None:
    """Add a leg whose hip turns about x, and whose thigh and calf about y."""
    hip = trunk.add_body(name=f"{name}_hip", pos=(forwards, side * _HIP_AT[1], 0))
    _turning(hip, f"{name}_hip", (1, 0, 0), _RANGES["hip"])
    reach = (0, 0, 0, 0, side * _THIGH_ASIDE, 0)
    _capsule(hip, f"{name}_hip", reach, 0.04, _HIP_MASS, solid=False)
    thigh = hip.add_body(name=f"{name}_thigh", pos=(0, side * _THIGH_ASIDE, 0))
    _turning(thigh, f"{name}_thigh", (0, 1, 0), _RANGES["thigh"])
    _capsule(thigh, f"{name}_thigh", (0, 0, 0, 0, 0, -_LEG), 0.017, _THIGH_MASS)
    calf = thigh.add_body(name=f"{name}_calf", pos=(0, 0, -_LEG))
    _turning(calf, f"{name}_calf", (0, 1, 0), _RANGES["calf"])
    _capsule(calf, f"{name}_calf", (0, 0, 0, 0, 0, -_LEG), 0.01, _CALF_MASS, solid=False)
    calf.add_geom(
        name=f"{name}_foot",
        type=_GEOM.mjGEOM_SPHERE,
        pos=(0, 0, -_LEG),
        size=(_FOOT_RADIUS, 0, 0),
        mass=_FOOT_MASS,
        friction=(0.8, 0.02, 0.01),
        rgba=_DARK,
        contype=0,
        conaffinity=1,
    )
    calf.add_site(name=f"{name}_foot", pos=(0, 0, -_LEG), size=(_FOOT_RADIUS, 0, 0))


def arm(joints: int) -> mujoco.MjSpec:
    """Return an arm of three to seven joints, with a payload and a target: of seven, the Panda's measures."""
    spec = _spec("arm")
    _floor(spec)
    hand = _links(spec, joints)
    payload = hand.add_body(name="payload", pos=(0, 0, _HAND + _PAYLOAD_RADIUS))
    _ball(payload, "payload", _PAYLOAD_RADIUS, _GREEN, mass=_PAYLOAD_MASS, contype=0, conaffinity=1)
    payload.add_site(name="tip", size=(0.01, 0, 0))
    target = spec.worldbody.add_body(name="target", pos=(0.5, 0, 0.4), gravcomp=1)
    for axis, at, vector in (("x", 0.5, (1, 0, 0)), ("y", 0.0, (0, 1, 0)), ("z", 0.4, (0, 0, 1))):
        target.add_joint(
            name=f"target_{axis}", type=_JOINT.mjJNT_SLIDE, axis=vector, ref=at, armature=1.0, damping=(10, 0, 0)
        )
    _ball(target, "target", 0.03, _RED, mass=0.1, contype=0, conaffinity=0)
    return spec


def _links(spec: mujoco.MjSpec, joints: int) -> Any:
    """Add the links of an arm, and return the last of them: the hand, whose flange is `_HAND` along z."""
    body, height = spec.worldbody, 0.0
    parts = (
        ("column", _COLUMN, 0.06, _COLUMN_MASS),
        ("upper_arm", _UPPER, 0.05, _UPPER_MASS),
        ("forearm", _FORE, 0.045, _FORE_MASS),
        ("hand", _HAND, 0.04, _HAND_MASS),
    )
    for name, length, radius, mass in parts:
        body = body.add_body(name=name, pos=(0, 0, height))
        _capsule(body, name, (0, 0, 0, 0, 0, length), radius, mass, solid=name in ("forearm", "hand"))
        for joint, (at, axis, limits, least) in _ARM_JOINTS.items():
            if at == name and joints >= least:
                _turning(body, joint, axis, limits)
        height = length
    return body


def arm_with_object(joints: int) -> mujoco.MjSpec:
    """Return the arm with a box of 0.2 kg and 6 cm on the floor in front of it."""
    spec = arm(joints)
    _object(spec, _BOX, _BOX_MASS, ("payload", "hand"))
    return spec


def arm_with_gripper(joints: int) -> mujoco.MjSpec:
    """Return an arm of five to seven joints with the Franka Hand's measures, and a cube of 0.1 kg and 4 cm.

    The body `gripper` is at the point between the finger pads. A finger's joint is 0 where they touch each other.
    """
    spec = _spec("arm")
    spec.option.cone, spec.option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10  # what is held doesn't creep
    _floor(spec)
    gripper = _links(spec, joints).add_body(name="gripper", pos=(0, 0, _HAND + _GRIP))
    gripper.add_site(name="tip", size=(0.005, 0, 0))
    _capsule(gripper, "palm", (0, -_PALM_HALF, _PALM_AT, 0, _PALM_HALF, _PALM_AT), _PALM_RADIUS, _PALM_MASS)
    for name, side in (("finger_left", 1.0), ("finger_right", -1.0)):
        _finger(gripper, name, side)
    spec.add_equality(
        name="fingers", type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT, name1="finger_right",
        name2="finger_left", data=(0, 1, *[0] * 10), solref=_STIFF, solimp=_HARD,
    )  # fmt: skip
    _object(spec, _CUBE, _CUBE_MASS, ("hand", "palm", "pad_left", "pad_right"))
    return spec


def _finger(gripper: Any, name: str, side: float) -> None:
    """Add a finger that slides along y, away from the other one."""
    finger = gripper.add_body(name=name, pos=(0, 0, _FINGER_BASE))
    finger.add_joint(
        name=name, type=_JOINT.mjJNT_SLIDE, axis=(0, side, 0), limited=1, range=(0, _STROKE / 2),
        armature=_FINGER_ARMATURE, frictionloss=_FINGER_DRY_FRICTION, damping=(1.0, 0, 0),
    )  # fmt: skip
    aside, half = side * _FINGER_RADIUS, np.array(_PAD)
    _capsule(finger, name, (0, aside, 0, 0, aside, -_FINGER_BASE), _FINGER_RADIUS, _FINGER_MASS, solid=False)
    finger.add_geom(
        name=name.replace("finger", "pad"), type=_GEOM.mjGEOM_BOX, pos=(0, side * half[1], -_FINGER_BASE), size=half,
        mass=_PAD_MASS, rgba=_DARK, contype=0, conaffinity=1, priority=1, friction=(1.0, 0.005, 0.0001), solref=_STIFF,
        solimp=_HARD,
    )  # fmt: skip


def _object(spec: mujoco.MjSpec, half: float, mass: float, touching: tuple[str, ...]) -> None:
    """Add a cube that lies on the floor, and that these geoms of the arm can touch."""
    box = spec.worldbody.add_body(name="object", pos=(0.5, 0, half))
    box.add_joint(name="object", type=_JOINT.mjJNT_FREE, damping=(0.01, 0, 0))
    box.add_geom(
        name="object", type=_GEOM.mjGEOM_BOX, size=(half, half, half), mass=mass, rgba=_DARK, contype=2,
        conaffinity=1, friction=(0.5, 0.005, 0.0001),
    )  # fmt: skip
    for geom in spec.geoms:
        if geom.name in touching:
            geom.conaffinity = int(geom.conaffinity) | 2


def hand_with_valve(fingers: int) -> mujoco.MjSpec:
    """Return fingers of three joints above a valve of as many lobes: of three, the D'Claw's measures.

    A finger swings past the valve, and bends twice towards its axis. The joint `target` turns a mark about that axis.
    """
    spec = _spec("hand")
    _floor(spec)
    palm = spec.worldbody.add_body(name="palm", pos=(0, 0, _BASE_HEIGHT))
    palm.add_geom(
        name="palm", type=_GEOM.mjGEOM_CYLINDER, pos=(0, 0, _PALM_ABOVE), size=(0.075, 0.004, 0), mass=0.11,
        rgba=_GREY, contype=0, conaffinity=0,
    )  # fmt: skip
    for number in range(fingers):
        _hanging_finger(palm, f"finger_{number + 1}", 2 * np.pi * (number + 0.5) / fingers)
    _valve(spec, fingers)
    target = spec.worldbody.add_body(name="target", pos=(0, 0, _LOBE_HEIGHT))
    target.add_joint(name="target", type=_JOINT.mjJNT_HINGE, axis=(0, 0, 1), armature=1.0, damping=(10, 0, 0))
    at = (_LOBE + 3 * _LOBE_RADIUS, 0, 0)
    _ball(target, "target", _TIP_RADIUS, _RED, pos=at, mass=0.01, contype=0, conaffinity=0)
    return spec


def _hanging_finger(palm: Any, name: str, angle: float) -> None:
    """Add a finger that hangs at an angle about the valve's axis, in rad; its frame has x outwards."""
    place = (_BASE_AT * np.cos(angle), _BASE_AT * np.sin(angle), 0)
    turn = (np.cos(angle / 2), 0, 0, np.sin(angle / 2))
    body, height = palm.add_body(name=name, pos=place, quat=turn), 0.0
    for part, (length, mass) in _FINGER_LINKS.items():
        body = body.add_body(name=f"{name}_{part}", pos=(0, 0, height))
        axis = (1, 0, 0) if part == "swing" else (0, 1, 0)
        body.add_joint(
            name=f"{name}_{part}", type=_JOINT.mjJNT_HINGE, axis=axis, limited=1, range=_FINGER_RANGE, armature=_ROTOR,
            frictionloss=_FINGER_FRICTION, damping=(_BACK_EMF, 0, 0),
        )  # fmt: skip
        radius = _TIP_RADIUS if part == "tip" else _LINK_RADIUS
        _capsule(body, f"{name}_{part}", (0, 0, 0, 0, 0, -length), radius, mass, solid=False)
        height = -length
    tip = body.geoms[0]  # touches lobes, and other fingers' tips
    tip.contype, tip.conaffinity, tip.rgba = 4, 2 | 4, _DARK


def _valve(spec: mujoco.MjSpec, lobes: int) -> None:
    """Add a valve that turns about the vertical; its first lobe is green, and points along x where its angle is 0."""
    valve = spec.worldbody.add_body(name="valve", pos=(0, 0, _LOBE_HEIGHT))
    valve.add_joint(
        name="valve", type=_JOINT.mjJNT_HINGE, axis=(0, 0, 1), frictionloss=_VALVE_FRICTION,
        damping=(_VALVE_DAMPING, 0, 0),
    )  # fmt: skip
    _capsule(valve, "hub", (0, 0, -_HUB, 0, 0, 0), _LOBE_RADIUS, _HUB_MASS, solid=False)
    for number in range(lobes):
        angle = 2 * np.pi * number / lobes
        end = (_LOBE * np.cos(angle), _LOBE * np.sin(angle), 0)
        _capsule(valve, f"lobe_{number + 1}", (0, 0, 0, *end), _LOBE_RADIUS, _LOBE_MASS, solid=False)
    for geom in valve.geoms:
        geom.contype = 2
    spec.geom("lobe_1").rgba = _GREEN


def _spec(name: str) -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    spec.modelname, spec.compiler.degree = name, False
    spec.option.timestep, spec.option.integrator = TIMESTEP, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.worldbody.add_light(name="sun", pos=(0, 0, 3), dir=(0, 0, -1), diffuse=(1, 1, 1))
    return spec


def _floor(spec: mujoco.MjSpec) -> None:
    spec.worldbody.add_geom(
        name="floor", type=_GEOM.mjGEOM_PLANE, size=(40, 40, 40), rgba=(0.8, 0.9, 0.8, 1.0), contype=1, conaffinity=0,
        friction=(0.8, 0.02, 0.01),
    )  # fmt: skip


def _turning(body: Any, name: str, axis: Any, limits: tuple[float, float]) -> None:
    body.add_joint(
        name=name, type=_JOINT.mjJNT_HINGE, axis=axis, limited=1, range=limits, armature=_ARMATURE,
        frictionloss=_DRY_FRICTION, damping=(0.1, 0, 0),
    )  # fmt: skip


def _capsule(body: Any, name: str, ends: Any, radius: float, mass: float, solid: bool = True) -> None:
    body.add_geom(
        name=name, type=_GEOM.mjGEOM_CAPSULE, fromto=ends, size=(radius, 0, 0), mass=mass, rgba=_GREY, contype=0,
        conaffinity=int(solid),
    )  # fmt: skip


def _ball(body: Any, name: str, radius: float, colour: Any, **fields: Any) -> None:
    body.add_geom(name=name, type=_GEOM.mjGEOM_SPHERE, size=(radius, 0, 0), rgba=colour, **fields)
