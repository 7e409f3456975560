"""Every axis changes the compiled model, nothing but what it explains, and the motion."""

import hashlib

import mujoco
import numpy as np
import pytest

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.axes import model_axes
from trl_suite.worlds.axes.variation import Change, Gear, Gravity, Mass, Timestep, Variation
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.model.compilation import compiled
from trl_suite.worlds.stepping.env import RobotEnv

INERTIAL = {"body_mass", "body_inertia", "body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0"}
INERTIAL |= {"actuator_acc0", "tendon_invweight0", "cam_poscom0", "light_poscom0"}
EXPLAINED = {
    "gravity": {"opt.gravity"},
    "mass": INERTIAL | {"actuator_acc0", "stat.meanmass", "stat.meaninertia"},
    "friction": {"geom_friction"},
    "gear": {"actuator_gear", "actuator_acc0"},
}
PLANAR = ["half-cheetah", "hopper", "walker2d"]
ALL = [*PLANAR, "inverted-pendulum"]


def fields(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    found = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    found |= {f"opt.{name}": getattr(model.opt, name) for name in dir(model.opt) if not name.startswith("_")}
    found |= {f"stat.{name}": getattr(model.stat, name) for name in dir(model.stat) if not name.startswith("_")}
    return {name: np.asarray(v) for name, v in found.items() if isinstance(v, np.ndarray | float | int)}


def changed(first: mujoco.MjModel, second: mujoco.MjModel) -> set[str]:
    left, right = fields(first), fields(second)
    return {name for name in left if not np.array_equal(left[name], right[name])}


def moved(first: RobotEnv, second: RobotEnv, steps: int = 100) -> float:
    """Run both from the same state under the same controls; return how far their states part."""
    first.reset(seed=0)
    second.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        action = rng.uniform(first.action_space.low, first.action_space.high).astype(np.float32)
        first.step(action)
        second.step(action)
    return float(np.abs(first.data.qpos - second.data.qpos).max())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("axis", ["gravity", "mass", "friction", "gear"])
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_an_axis_changes_its_fields_and_the_motion(name: str, axis: str, scale: float):
    if (name, axis) == ("inverted-pendulum", "friction"):
        pytest.skip("refused: test_bad_input")
    base, varied = RobotEnv(name), RobotEnv(name, **{axis: scale})
    difference = changed(base.model, varied.model)
    assert difference
    assert difference <= EXPLAINED[axis]
    assert moved(base, varied) > 1e-3


@pytest.mark.parametrize("name", ALL)
def test_a_scale_of_one_is_the_identity(name: str):
    table = load(name)
    base = compiled(table, Variation())
    for axis in ("gravity", "mass", "gear"):
        assert changed(base, compiled(table, Variation(**{axis: 1.0}))) <= {"body_iquat"}, axis


@pytest.mark.parametrize("name", content.names("envs"))
def test_no_two_variants_compile_to_the_same_model(name: str):
    """What no variant shows in motion is the certificates' to find: tests/worlds/test_certificate.py."""
    table = load(name)
    physical = {*model_axes.MODEL, *model_axes.SHAPE}
    seen: dict[bytes, str] = {digest(compiled(table, Variation())): "the base"}
    for variant, change in table.variants.items():
        if {axis for axis, _ in change.axes()} <= physical:
            steps = change.timestep.frame_skip if isinstance(change.timestep, Timestep) else None
            code = digest(compiled(table, change)) + str(steps or "").encode()
            assert (other := seen.setdefault(code, variant)) == variant, other


def digest(model: mujoco.MjModel) -> bytes:
    return hashlib.sha256(b"".join(value.tobytes() for _, value in sorted(fields(model).items()))).digest()


@pytest.mark.parametrize("name", ALL)
def test_mass_takes_inertia_along(name: str):
    table = load(name)
    base, heavy = compiled(table, Variation()), compiled(table, Variation(mass=1.5))
    assert np.allclose(heavy.body_mass, 1.5 * base.body_mass, rtol=1e-12)
    assert np.allclose(heavy.body_inertia, 1.5 * base.body_inertia, rtol=1e-12)
    assert np.isclose(heavy.body_subtreemass[0], 1.5 * base.body_subtreemass[0])


def test_the_cheetahs_total_mass_does_not_undo_a_scale():
    base = RobotEnv("half-cheetah").model
    assert base.body_mass.sum() == pytest.approx(14.0)
    assert RobotEnv("half-cheetah", mass=1.5).model.body_mass.sum() == pytest.approx(21.0)
    torso = RobotEnv("half-cheetah", mass={"body": "torso", "scale": 2}).model
    others = np.arange(base.nbody) != base.body("torso").id
    assert np.array_equal(torso.body_mass[others], base.body_mass[others])
    assert torso.body("torso").mass == 2 * base.body("torso").mass
    assert np.allclose(torso.body("torso").inertia, 2 * base.body("torso").inertia)


@pytest.mark.parametrize("name", PLANAR)
def test_friction_changes_what_a_contact_gets(name: str):
    """MuJoCo takes the larger of two frictions: a scale of the robot alone may do nothing at all."""

    def at_contact(world: RobotEnv) -> float:
        world.reset(seed=0)
        for _ in range(200):
            world.step(np.zeros(world.action_space.shape, np.float32))
            if world.data.ncon:
                return float(world.data.contact[0].friction[0])
        raise AssertionError("no contact")

    base = at_contact(RobotEnv(name))
    for scale in (0.1, 0.5, 2.0):
        assert at_contact(RobotEnv(name, friction=scale)) == pytest.approx(scale * base)


def test_values_take_the_place_of_the_nominal():
    table = load("hopper")
    assert list(compiled(table, Variation(gravity=Gravity(value=(0.0, 1.0, -3.7)))).opt.gravity) == [0.0, 1.0, -3.7]
    heavy = compiled(table, Variation(mass=Mass(body="torso", value=7.0)))
    assert heavy.body("torso").mass == pytest.approx(7.0)
    smooth = compiled(table, Variation(friction=Change(value=0.3)))
    assert set(smooth.geom_friction[:, 0]) == {0.3}
    geared = compiled(table, Variation(gear=Gear(actuator="leg_joint", value=50.0)))
    assert list(geared.actuator_gear[:, 0]) == [200.0, 50.0, 200.0]


def test_changes_of_several_bodies_and_axes_combine():
    table = load("hopper")
    base = compiled(table, Variation())
    both = (Mass(body="torso", scale=2.0), Mass(body="foot", scale=0.5))
    varied = compiled(table, Variation(gravity=0.5, mass=both, gear=2.0))
    ratio = varied.body_mass[1:] / base.body_mass[1:]
    assert np.allclose(ratio, [2.0, 1.0, 1.0, 0.5])
    assert varied.opt.gravity[2] == 0.5 * base.opt.gravity[2]
    assert np.array_equal(varied.actuator_gear, 2 * base.actuator_gear)


def test_the_severities_of_an_axis_are_ordered():
    """Heavier, the cheetah's motors accelerate it less."""
    table = load("half-cheetah")
    strength = [compiled(table, Variation(mass=scale)).actuator_acc0.sum() for scale in (0.5, 1.0, 1.5, 2.0)]
    assert strength == sorted(strength, reverse=True)


def test_a_stretched_limb_keeps_its_joints_together():
    """Knees at another height: the hip stays above the ankle by as much as before."""
    base, low = RobotEnv("walker2d"), RobotEnv("walker2d", "knee-height-0.2")
    for world in (base, low):
        mujoco.mj_resetData(world.model, world.data)
        mujoco.mj_forward(world.model, world.data)
    for joint, height in (("thigh_joint", 1.05), ("leg_joint", 0.2), ("foot_joint", 0.1)):
        assert low.data.joint(joint).xanchor[2] == pytest.approx(height, abs=1e-5)
    assert base.data.joint("leg_joint").xanchor[2] == pytest.approx(0.6)


def test_a_longer_torso_grows_at_its_top():
    def top(world: RobotEnv) -> float:
        mujoco.mj_resetData(world.model, world.data)
        mujoco.mj_forward(world.model, world.data)
        return float(world.data.geom("torso_geom").xpos[2] + world.model.geom("torso_geom").size[1])

    assert top(RobotEnv("hopper")) == pytest.approx(1.45)
    assert top(RobotEnv("hopper", "torso-length-2.0")) == pytest.approx(1.85)
    hips = [RobotEnv("hopper", variant).model.body("thigh").pos[2] for variant in (None, "torso-length-2.0")]
    assert hips[0] == pytest.approx(hips[1])


def test_a_joints_range_shrinks_towards_zero_or_its_near_end():
    def degrees(name: str, variant: str, joint: str) -> list[float]:
        return np.rad2deg(RobotEnv(name, variant).model.joint(joint).range).round(6).tolist()

    assert degrees("ant", "hip-range-0.8", "hip_1") == [-24, 24]
    assert degrees("ant", "ankle-range-0.8", "ankle_1") == [30, 62]
    assert degrees("ant", "ankle-range-0.2", "ankle_2") == [-38, -30]
    assert degrees("hopper", "leg-range-0.5", "leg_joint") == [-75, 0]


def test_a_new_shape_of_the_cheetah_leaves_the_other_masses_alone():
    base, thick = RobotEnv("half-cheetah").model, RobotEnv("half-cheetah", "hugefoot").model
    feet = {base.body("bfoot").id, base.body("ffoot").id}
    for body in range(1, base.nbody):
        if body in feet:
            assert thick.body_mass[body] > 1.5 * base.body_mass[body]
        else:
            assert thick.body_mass[body] == pytest.approx(base.body_mass[body], rel=1e-9)


def test_a_tilt_turns_gravity_and_keeps_its_strength():
    tilted = compiled(load("hopper"), Variation(gravity=Gravity(tilt=30.0))).opt.gravity
    assert np.linalg.norm(tilted) == pytest.approx(9.81)
    assert tilted[0] == pytest.approx(-9.81 / 2)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("hopper", {"stiffness": 2.0}, "no joint has stiffness"),
        ("hopper", {"damping": {"joint": "rootx", "scale": 2}}, "joint 'rootx' has no damping to scale: give a value"),
        ("hopper", {"joint_range": {"joint": "rootx", "scale": 0.5}}, "unknown limited joint 'rootx'"),
        ("hopper", {"size": {"body": "fot", "scale": 2}}, "unknown body 'fot' (did you mean 'foot'?)"),
        ("hopper", {"size": [{"body": "foot", "scale": 2}, {"geom": "foot_geom", "scale": 2}]}, "is changed twice"),
        ("ant", {"length": {"body": "torso", "scale": 2}}, "no capsule or cylinder to stretch"),
        ("hopper", {"fluid": {"wind": [1, 0, 0]}}, "a wind needs a medium"),
        ("hopper", {"timestep": 0.3}, "give a frame_skip"),
        ("inverted-pendulum", {"timestep": {"scale": 6, "frame_skip": 1}}, "a timestep is 0.1 s at most"),
        ("hopper", {"cripple": ["thigh"]}, "unknown actuator 'thigh'"),
        ("hopper", {"cripple": ["leg_joint"], "gear": {"actuator": "leg_joint", "scale": 2}}, "contradict each other"),
        ("hopper", {"direction": -1, "target_speed": 1.0}, "direction and target_speed contradict each other"),
        ("hopper", {"reward": {"forwards": 2}}, "unknown term 'forwards' (did you mean 'forward'?)"),
        ("hopper", {"goal": {"low": [0], "high": [1]}}, "the task draws no goal"),
        ("reacher", {"goal": {"low": [0.3, 0.3], "high": [0.4, 0.4]}}, "no goal of this region is allowed"),
        ("reacher", {"goal": {"low": [0.3], "high": [0.4]}}, "a goal is 2 numbers"),
        ("half-cheetah", {"terminates": False}, "it never ends before its time"),
        ("hopper", {"observe": {"contact": True}}, "unknown block 'contact'"),
        ("hopper", {"observation_mask": ["rootz"]}, "unknown slot 'rootz'"),
        ("hopper", {"action_inversion": ["thigh"]}, "unknown slot 'thigh.control'"),
        ("hopper", {"observation_delay": 0}, "observation_delay"),
        ("hopper", {"target_speed": float("nan")}, "must be finite"),
        ("pusher", {"gravity": 0.5}, "no joint feels it"),
    ],
)
def test_an_axis_that_does_not_apply_says_why(name: str, wrong: dict, message: str):
    with pytest.raises(InputError) as caught:
        RobotEnv(name, **wrong)
    assert message in str(caught.value)
