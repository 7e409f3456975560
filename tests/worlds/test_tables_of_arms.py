"""The table that an arm's object lies on: softer, slippery or sloped, the object and the hand feel it."""

from typing import Any

import mujoco
import numpy as np
import pytest

from trl_suite.worlds.stepping.env import RobotEnv

ENVS = ["arm-push", "arm-lift", "arm-lift-displacement"]
PLACE = (2.0, 2.0)  # m, out of the arm's reach
SPEED = 1.0  # m/s


def slid(name: str, variant: str | None, direction: float = 1.0) -> float:
    """Distance along x that the object slides on the table after a push, in m."""
    model, data, joint = settled(name, variant)
    data.qvel[joint.dofadr[0]] = direction * SPEED
    start = float(data.qpos[joint.qposadr[0]])
    for _ in range(400):
        mujoco.mj_step(model, data)
        if abs(data.qvel[joint.dofadr[0]]) < 1e-3:
            break
    return abs(float(data.qpos[joint.qposadr[0]]) - start)


def settled(name: str, variant: str | None) -> tuple[mujoco.MjModel, Any, Any]:
    """Model and state of an object that lies still on the table, and its joint."""
    model = RobotEnv(name, variant).model
    data, joint = mujoco.MjData(model), model.joint("object")
    data.qpos[joint.qposadr[0] : joint.qposadr[0] + 2] = PLACE
    mujoco.mj_step(model, data, 200)
    return model, data, joint


def pad_contact(variant: str | None) -> mujoco.MjContact:
    """Contact of a finger's pad and the cube, which is put between the fingers."""
    model = RobotEnv("arm-lift", variant).model
    data, first = mujoco.MjData(model), int(model.joint("object").qposadr[0])
    mujoco.mj_forward(model, data)
    data.qpos[first : first + 3] = data.body("gripper").xpos
    mujoco.mj_forward(model, data)
    pads = {model.geom("pad_left").id, model.geom("pad_right").id}
    return next(contact for contact in data.contact if pads.intersection(contact.geom))


@pytest.mark.parametrize("name", ENVS)
def test_an_object_slides_as_far_as_its_table_lets_it(name: str):
    """Coulomb's law: v² / 2 μ g; on a slope μ cos θ ± sin θ in the place of μ."""
    friction = float(RobotEnv(name).model.geom("floor").friction[0])
    scale = 0.25 if name == "arm-push" else 0.1
    plain, half, least = (slid(name, variant) for variant in (None, "slippery-0.5", f"slippery-{scale}"))
    assert plain == pytest.approx(SPEED**2 / (2 * friction * 9.81), rel=0.15)
    assert half / plain == pytest.approx(2.0, rel=0.15)
    assert least / plain == pytest.approx(1 / scale, rel=0.2)
    slope = np.deg2rad(10.0)
    up, down = friction * np.cos(slope) + np.sin(slope), friction * np.cos(slope) - np.sin(slope)
    ratio = slid(name, "steep-slope", -1.0) / slid(name, "steep-slope", 1.0)  # the slope rises towards +x
    assert ratio == pytest.approx(up / down, rel=0.15)


@pytest.mark.parametrize("name", ENVS)
def test_an_object_sinks_deeper_into_a_softer_table(name: str):
    depths = [
        -float(settled(name, variant)[1].contact.dist.min()) for variant in (None, "soft-floor-2", "soft-floor-4")
    ]
    assert 0 < depths[0] < depths[1] < depths[2]
    assert depths[2] > 4 * depths[0]


def test_a_gripper_holds_by_the_friction_and_softness_of_the_variant():
    plain, slippery, soft = (pad_contact(variant) for variant in (None, "slippery-0.5", "soft-floor-2"))
    assert slippery.friction[0] == pytest.approx(0.5 * plain.friction[0])
    assert soft.solref[0] == pytest.approx(2 * plain.solref[0])
