"""Robots that nobody here built: each axis does to them what it says, or refuses in one line that names the reason."""

from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np
import pytest

import trl_suite
from trl_suite import content
from trl_suite.algorithms import registry
from trl_suite.errors import InputError
from trl_suite.worlds.certificate import certify
from trl_suite.worlds.identity import identity
from trl_suite.worlds.model import mjcf
from trl_suite.worlds.stepping.env import RobotEnv, make

TABLE = """title = "m"
about = ""
model = "robot.xml"
version = 0
frame_skip = 2
episode_steps = 100
observation = [{ kind = "position", of = ["*"] }, { kind = "velocity", of = ["*"] }]
reward = [{ term = "effort", weight = -0.1 }]
reset = { position = { spread = 0.0, shape = "uniform" }, velocity = { spread = 0.0, shape = "uniform" } }
[variants]
"""
MOTOR = '<actuator><motor joint="j" ctrlrange="-1 1" gear="10"/></actuator>'
JOINT = '<joint name="j" axis="0 1 0"/>'
LIMB = '<geom name="g" type="capsule" fromto="0 0 0 0 0 -.4" size=".05"/>'
MESH = '<asset><mesh name="m" vertex="0 0 0 .1 0 0 0 .1 0 0 0 .1"/></asset>'
TETRA = "v 0 0 0\nv .1 0 0\nv 0 .1 0\nv 0 0 .1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
Robot = Callable[..., Path]


def body(inner: str) -> str:
    return f'<body name="b" pos="0 0 .5">{inner}</body>'


@pytest.fixture
def robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Robot:
    """Lay out an env `mine` of an MJCF that is put together; these files are ours: no child looks at them first."""
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    monkeypatch.setattr(mjcf, "vet", lambda path: None)

    def lay(inner: str, rest: str = MOTOR, variants: str = "", head: str = "") -> Path:
        folder = tmp_path / "envs" / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "robot.xml").write_text(f"<mujoco>{head}<worldbody>{inner}</worldbody>{rest}</mujoco>")
        (folder / "env.toml").write_text(TABLE + variants)
        return folder

    return lay


def model(**axes) -> mujoco.MjModel:
    return RobotEnv("mine", **axes).model


def refused(message: str, **axes) -> None:
    with pytest.raises(InputError) as caught:
        RobotEnv("mine", **axes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def after(steps: int, control: float, **axes) -> float:
    """The last coordinate after some steps of MuJoCo under one control."""
    compiled = model(**axes)
    data = mujoco.MjData(compiled)
    data.ctrl[:] = control
    for _ in range(steps):
        mujoco.mj_step(compiled, data)
    return float(data.qpos[min(2, compiled.nq - 1)])


@pytest.mark.parametrize("kind", ["mesh", "capsule", "cylinder", "box", "sphere", "ellipsoid"])
def test_a_mesh_grows_about_its_own_centre_and_a_shape_that_is_fitted_to_it_too(robot: Robot, kind: str):
    geom = f'<frame euler="10 20 30"><geom name="g" type="{kind}" mesh="m" pos="1 2 3" euler="30 20 10"/></frame>'
    robot(body(JOINT + geom), head=MESH.replace("/>", ' refpos=".1 .2 .3" refquat="1 .5 .2 0" scale="1 2 3"/>', 1))
    base, big = model(), model(size={"body": "b", "scale": 2.0})
    assert big.body("b").mass == pytest.approx(8 * base.body("b").mass)
    assert big.body("b").inertia == pytest.approx(32 * base.body("b").inertia)
    assert big.body("b").ipos == pytest.approx(base.body("b").ipos)
    assert big.geom("g").pos == pytest.approx(base.geom("g").pos)
    refused("has its shape from mesh 'm', which has no radius", size={"body": "b", "scale": 2.0, "only": "radius"})


def test_a_mesh_that_two_geoms_share_grows_in_one_of_them(robot: Robot):
    other = '<body name="o" pos="1 0 0"><joint axis="0 1 0"/><geom name="h" type="mesh" mesh="m"/></body>'
    robot(body(JOINT + '<geom name="g" type="mesh" mesh="m"/>') + other, head=MESH)
    base, big = model(), model(size={"geom": "h", "scale": 2.0})
    assert big.body("o").mass == pytest.approx(8 * base.body("o").mass)
    assert big.body("b").mass == pytest.approx(base.body("b").mass)
    assert model(size={"scale": 2.0}).body_mass == pytest.approx(8 * base.body_mass)


def test_a_stretch_leaves_a_mesh_its_size(robot: Robot):
    robot(body(JOINT + LIMB + '<geom name="v" type="mesh" mesh="m"/>'), head=MESH)
    assert np.allclose(model(length={"body": "b", "scale": 1.0000001}).geom("v").pos, 0.025, atol=1e-7)
    assert np.allclose(model(length={"body": "b", "scale": 2.0}).geom("v").pos, [0.025, 0.025, 0.05])


@pytest.mark.parametrize("inertia", ['diaginertia=".01 .01 .002"', 'fullinertia=".01 .012 .004 .001 .0005 -.0007"'])
def test_an_inertial_grows_with_the_bodys_only_solid(robot: Robot, inertia: str):
    robot(body(f'<inertial pos="0 0 -.1" mass="1" {inertia}/>' + JOINT + LIMB + '<geom name="v" size=".1" mass="0"/>'))
    base, big = model(), model(size={"body": "b", "scale": 2.0})
    assert big.body("b").mass == pytest.approx(8 * base.body("b").mass)
    assert big.body("b").inertia == pytest.approx(32 * base.body("b").inertia)
    assert big.body("b").ipos == pytest.approx([0, 0, 0])  # 0.1 above the geom's centre, and now 0.2
    assert model(size={"geom": "v", "scale": 2.0}).body("b").mass == base.body("b").mass
    refused("the file fixes the mass of body 'b'", length={"body": "b", "scale": 2.0})
    refused("the file fixes the mass of body 'b'", size={"body": "b", "geom": "", "scale": 2.0, "only": "radius"})


def test_a_mass_that_the_file_gives(robot: Robot):
    two = LIMB + LIMB.replace('"g"', '"h"')
    robot(body('<inertial pos="0 0 -.2" mass="1" diaginertia=".01 .01 .002"/>' + JOINT + two))
    refused("the file fixes the mass of body 'b' in <inertial>, and not", size={"body": "b", "scale": 2.0})
    robot(body(JOINT + LIMB.replace("size", 'mass="1" size')))
    base, big = model(), model(size={"body": "b", "scale": 2.0})
    assert big.body("b").mass == pytest.approx(8 * base.body("b").mass)
    assert big.body("b").inertia == pytest.approx(32 * base.body("b").inertia)


@pytest.mark.parametrize("geom", ['type="sphere"', 'type="capsule"', 'type="cylinder"', 'type="box"', 'type="mesh"'])
def test_a_shell_grows_with_its_surface(robot: Robot, geom: str):
    sizes = 'mesh="m"' if "mesh" in geom else 'size=".1 .2 .3" shellinertia="true"'
    robot(body(f'{JOINT}<geom name="g" {geom} {sizes}/>'), head=MESH.replace("/>", ' inertia="shell"/>', 1))
    base, big = model(), model(size={"body": "b", "scale": 2.0})
    assert big.body("b").mass == pytest.approx(4 * base.body("b").mass)
    assert big.body("b").inertia == pytest.approx(16 * base.body("b").inertia)


def test_a_servo_of_half_the_force_goes_as_far(robot: Robot):
    servo = '<actuator><position name="p" joint="j" kp="50" kv="2" ctrlrange="-1 1"/></actuator>'
    robot(body('<joint name="j" axis="0 1 0" damping=".5"/>' + LIMB), servo, head='<option gravity="0 0 0"/>')
    assert after(3000, 0.5) == pytest.approx(0.5, abs=1e-3)
    assert after(3000, 0.5, gear=0.5) == pytest.approx(0.5, abs=1e-3)
    assert model(gear=0.5).actuator_gainprm[0, 0] == 25
    refused("give a scale", gear={"actuator": "p", "value": 2.0})


@pytest.mark.parametrize("folder", ["", "meshes"])
def test_a_robot_with_a_mesh_file_is_proved(robot: Robot, folder: str):
    head = f'<compiler meshdir="{folder}"/><asset><mesh name="m" file="m.obj"/></asset>'
    place = robot(body(JOINT + '<geom name="g" type="mesh" mesh="m"/>'), MOTOR, "heavy = { mass = 2.0 }\n", head)
    (place / folder).mkdir(exist_ok=True)
    (place / folder / "m.obj").write_text(TETRA)
    assert certify("mine", "heavy").problems == ()


def test_a_full_inertia_and_a_bound(robot: Robot):
    full = '<inertial pos="0 0 -.2" mass="1" fullinertia=".01 .012 .004 .001 .0005 -.0007"/>'
    robot(body(full + JOINT + LIMB))
    base, heavy = model(), model(mass=2.0)
    assert heavy.body("b").mass == 2
    assert heavy.body("b").inertia == pytest.approx(2 * base.body("b").inertia)
    assert heavy.body("b").iquat == pytest.approx(base.body("b").iquat)
    robot(body(JOINT + LIMB.replace("size", 'mass="1" size')), head='<compiler boundmass="0.8"/>')
    assert model(mass=0.5).body("b").mass == 0.5


def test_controls_without_a_range_and_with_an_inherited_one(robot: Robot):
    robot(body(JOINT + LIMB), '<actuator><motor joint="j" gear="10"/></actuator>', "v = { gravity = 2.0 }\n")
    refused("no control of it has a range", control_range=2.0)
    assert certify("mine", "v").problems == ()
    for algorithm in registry.DESCRIPTORS:
        with pytest.raises(InputError, match="action 'j.control' goes from -inf to inf: .* give its actuator a ctrlr"):
            trl_suite.train("mine", steps=2048, algorithm=algorithm)
    servo = '<actuator><position joint="j" kp="50" inheritrange="1"/></actuator>'
    robot(body('<joint name="j" axis="0 1 0" range="-60 60"/>' + LIMB), servo)
    assert RobotEnv("mine", control_range=0.5).action_space.high == pytest.approx(np.deg2rad(30))
    assert model(joint_range=0.5).actuator_ctrlrange == pytest.approx(model().actuator_ctrlrange)


def test_adhesion_and_muscles_are_crippled(robot: Robot):
    roof = '<geom type="plane" size="1 1 .1" zaxis="0 0 -1" pos="0 0 1"/>'
    ball = '<body name="p" pos="0 0 .951"><freejoint/><geom size=".05"/></body>'
    glue = '<actuator><adhesion name="a" body="p" ctrlrange="0 1" gain="100"/></actuator>'
    robot(roof + ball, glue)
    assert after(500, 1.0) > 0.9
    assert after(500, 1.0, cripple=("a",)) < 0
    muscle = '<actuator><muscle name="a" joint="j" ctrlrange="0 1"/></actuator>'
    robot(body('<joint name="j" axis="0 1 0" range="-60 60"/>' + LIMB), muscle, head='<option gravity="0 0 0"/>')
    assert abs(after(50, 1.0)) > 1e-3
    assert after(50, 1.0, cripple=("a",)) == 0


def test_a_muscle_is_as_strong_on_a_heavier_robot(robot: Robot):
    muscle = '<actuator><muscle name="a" joint="j" ctrlrange="0 1" lengthrange="-1 1"/></actuator>'
    robot(body(JOINT + LIMB), muscle)

    def force(**axes) -> float:
        compiled = model(**axes)
        data = mujoco.MjData(compiled)
        data.act[:] = 1.0
        mujoco.mj_forward(compiled, data)
        return float(data.actuator_force[0])

    assert force(mass=2.0) == pytest.approx(force())
    assert force(gear=0.5) == pytest.approx(force() / 2)


def test_models_that_are_in_order_or_named(robot: Robot):
    inner = '<body pos="0 0 .5"><joint name="knee" axis="0 1 0"/><geom size=".1"/></body>'
    motor = '<actuator><motor joint="knee" ctrlrange="-1 1"/></actuator>'
    robot(f'<body name="knee"><geom size=".1"/>{inner}</body>', motor)
    assert model().nbody == 3
    two = '<actuator><dcmotor name="d" joint="j" motorconst="1" resistance="1" input="pos vel" controller="10 0 5"/>'
    robot(body(JOINT + LIMB), two + "</actuator>")
    refused("actuator 'd' has 2 controls")
    robot(body(JOINT + LIMB), head='<option><flag sleep="enable"/></option>')
    refused("<flag sleep='enable'/> is refused")
    robot(body(JOINT + LIMB), "")
    refused("it has no actuator")


def test_a_spring_damper_is_written_out(robot: Robot):
    robot(body('<joint name="j" axis="0 1 0" springdamper=".1 1"/>' + LIMB))
    nominal = model().dof_damping[0]
    assert model(damping={"joint": "j", "value": 5.0}).dof_damping[0] == 5
    assert model(mass=2.0).dof_damping[0] == pytest.approx(nominal)
    servo = '<actuator><position joint="j" kp="20" dampratio="1"/></actuator>'
    robot(body(JOINT + LIMB), servo)
    assert model(mass=2.0).actuator_biasprm == pytest.approx(model().actuator_biasprm)


@pytest.mark.parametrize(
    ("flag", "axes"),
    [
        ("contact", {"friction": 0.5}),
        ("constraint", {"friction": 0.5}),
        ("limit", {"joint_range": 0.5}),
        ("actuation", {"gear": 0.5}),
        ("damper", {"damping": {"joint": "j", "value": 1}}),
        ("spring", {"stiffness": {"joint": "j", "value": 1}}),
    ],
)
def test_what_is_switched_off_is_refused(robot: Robot, flag: str, axes: dict):
    limb = '<joint name="j" axis="0 1 0" range="-60 60"/>' + LIMB
    robot('<geom type="plane" size="1 1 .1"/>' + body(limb), head=f'<option><flag {flag}="disable"/></option>')
    refused(f"<flag {flag}='disable'/>", **axes)


def test_what_cannot_touch_or_move_is_refused(robot: Robot):
    floor, table = '<geom type="plane" size="1 1 .1"/>', '<body name="table"><geom size=".1"/></body>'
    free = LIMB.replace("size", 'contype="0" conaffinity="0" size')
    robot(floor + table + body(JOINT + free))
    refused("no two of its geoms can touch with friction", friction=0.5)
    refused("body 'table' is welded to the world", mass={"body": "table", "scale": 2.0})
    other = '<body name="o" pos="1 0 0"><joint axis="0 1 0"/><geom size=".1"/></body>'
    robot(body(JOINT + LIMB) + other, MOTOR + '<contact><exclude body1="b" body2="o"/></contact>')
    refused("no two of its geoms can touch with friction", friction=0.5)
    child = '<body name="c" pos="0 0 -.4"><joint axis="0 1 0"/><geom size=".1"/></body>'
    robot(body(JOINT + LIMB + child))
    refused("no two of its geoms can touch with friction", friction=0.5)


def test_only_what_is_round_has_a_radius_and_what_is_long_a_length(robot: Robot):
    robot(body(JOINT + '<geom name="g" type="box" size=".1 .2 .3"/>'))
    refused("geom 'g' is a box, which has no radius", size={"body": "b", "scale": 2.0, "only": "radius"})
    robot(body(JOINT + '<geom name="g" size=".1" pos="0 0 -.3"/>'))
    refused("geom 'g' is a sphere, which has no length", size={"body": "b", "scale": 2.0, "only": "length"})


def test_a_decoration_is_no_limb(robot: Robot):
    hub = '<geom name="hub" type="cylinder" fromto="0 -.06 0 0 .06 0" size=".05" mass="0"/>'
    child = '<body name="c" pos="0 0 -.4"><joint name="k" axis="0 1 0"/><geom size=".05"/></body>'
    robot(body(hub + JOINT + LIMB + child))
    assert model(length={"body": "b", "scale": 2.0}).body("c").pos == pytest.approx([0, 0, -0.8])
    robot(body(JOINT + LIMB + LIMB.replace('"g"', '"g2"').replace("0 0 -.4", "0 .4 0")))
    refused("several long geoms, g, g2: name one", length={"body": "b", "scale": 2.0})


def test_a_stretch_goes_through_frames_and_turns(robot: Robot):
    child = '<body name="c" pos="0 0 -.4"><joint name="k" axis="0 1 0"/><geom name="h" size=".05"/></body>'
    inner = JOINT + LIMB + '<site name="s" pos="0 .1 -.2"/>' + child
    robot(body(f'<frame pos=".1 0 0" euler="0 90 0"><frame euler="0 0 30">{inner}</frame></frame>'))
    base, long = model(), model(length={"body": "b", "scale": 2.0})
    axis = base.body("c").pos - base.joint("j").pos  # along the limb, from its joint
    assert long.body("c").pos - long.joint("j").pos == pytest.approx(2 * axis)
    assert long.geom("g").size[1] == pytest.approx(2 * base.geom("g").size[1])
    along = np.dot(base.site("s").pos - base.joint("j").pos, axis) / np.dot(axis, axis)
    assert long.site("s").pos == pytest.approx(base.site("s").pos + along * axis)


def test_ball_joints_and_tendons_have_losses(robot: Robot):
    robot(body('<joint name="j" type="ball" damping=".1" armature=".1"/>' + LIMB))
    assert model(damping=2.0).dof_damping == pytest.approx([0.2] * 3)
    assert model(armature={"joint": "j", "value": 3.0}).dof_armature == pytest.approx([3.0] * 3)
    tendon = '<tendon><fixed name="t" damping=".3" frictionloss=".1"><joint joint="j" coef="1"/></fixed></tendon>'
    robot(body(JOINT + LIMB), MOTOR + tendon)
    assert model(damping=2.0).tendon_damping == pytest.approx(0.6)
    assert model(frictionloss={"tendon": "t", "value": 2.0}).tendon_frictionloss == pytest.approx(2.0)
    refused("unknown tendon 'tt'", damping={"tendon": "tt", "scale": 2.0})


def test_an_address_that_is_printed_can_be_read(robot: Robot):
    robot(f'<body name="a&amp;b=c" pos="0 0 .5">{JOINT}{LIMB}</body>')
    world = RobotEnv("mine", mass={"body": "a&b=c", "scale": 2.0}, gear=0.5)
    assert make(world.address).unwrapped.address == world.address
    with pytest.raises(InputError, match="gravity is set twice"):
        make("mine?gravity=1.5&gravity=2")


@pytest.mark.parametrize(
    "inner",
    [
        '<mesh name="m" file="../outside/secret.obj"/>',
        '<texture name="t" type="2d" file="../outside/secret.png"/>',
        '<model name="s" file="../outside/secret.xml"/>',
    ],
)
def test_a_file_that_an_included_file_names_lies_in_the_folder(robot: Robot, inner: str):
    folder = robot(body(JOINT + LIMB), MOTOR + '<include file="sub/a.xml"/>')
    (folder / "sub").mkdir()
    (folder / "sub" / "a.xml").write_text(f"<mujocoinclude><asset>{inner}</asset></mujocoinclude>")
    refused("leaves the model's folder")


def test_an_attached_model_is_looked_through_and_part_of_the_identity(robot: Robot):
    head = '<asset><model name="s" file="sub/s.xml"/></asset>'
    folder = robot('<frame><attach model="s" body="b" prefix="x_"/></frame>', MOTOR.replace('"j"', '"x_j"'), "", head)
    (folder / "sub").mkdir()
    mesh = '<asset><mesh name="m" file="m.obj"/></asset>'
    inner = body(JOINT + '<geom type="mesh" mesh="m"/>')
    (folder / "sub" / "s.xml").write_text(f"<mujoco>{mesh}<worldbody>{inner}</worldbody></mujoco>")
    (folder / "sub" / "m.obj").write_text(TETRA)
    before, mass = identity("mine"), float(model().body_mass.sum())
    (folder / "sub" / "m.obj").write_text(TETRA.replace(".1", ".2"))
    assert identity("mine") != before
    assert float(model().body_mass.sum()) == pytest.approx(8 * mass)
    (folder / "sub" / "s.xml").write_text('<mujoco><extension><plugin plugin="x"/></extension></mujoco>')
    refused("plugins are refused")
