"""A certificate refutes, by name, a model in which an axis did something else than it promises."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.axes import model_axes
from trl_suite.worlds.axes.model_axes import MODEL, SHAPE, Axis
from trl_suite.worlds.certificate import certify
from trl_suite.worlds.model import compilation, mjcf
from trl_suite.worlds.stepping.env import RobotEnv

ROBOT = """<mujoco>
<asset><mesh name="m" vertex="0 0 0 .1 0 0 0 .2 0 0 0 .3"/></asset>
<worldbody><geom name="floor" type="plane" size="2 2 .1"/><camera name="eye" pos="0 -2 1"/>
<body name="b" pos="0 0 .45">
  <joint name="j" axis="0 1 0" range="-60 60" damping=".1" stiffness=".2" armature=".01" frictionloss=".02"/>
  <geom name="g" type="capsule" fromto="0 0 0 0 0 -.4" size=".05"/><site name="s" pos=".1 0 0"/>
  <geom name="v" type="mesh" mesh="m"/>
  <body name="c" pos="0 0 -.4"><joint name="k" axis="0 1 0" range="-60 60" damping=".1"/>
  <geom name="h" size=".05"/></body>
</body></worldbody>
<tendon><fixed name="t" damping=".3"><joint joint="j" coef="1"/></fixed></tendon>
<actuator><motor name="m" joint="j" ctrlrange="-1 1" gear="10"/>
<position name="p" joint="k" kp="20" ctrlrange="-1 1" forcerange="-30 30"/></actuator>
<sensor><jointpos joint="j"/></sensor>
</mujoco>"""
TABLE = """title = "m"
about = ""
model = "robot.xml"
version = 0
frame_skip = 2
episode_steps = 100
observation = [{{ kind = "position", of = ["*"] }}, {{ kind = "velocity", of = ["*"] }}]
reward = [{{ term = "effort", weight = -0.1 }}]
reset = {{ position = {{ spread = 0.0, shape = "uniform" }}, velocity = {{ spread = 0.0, shape = "uniform" }} }}
[variants]
v = {{ {} }}
"""
AXES = {
    "gravity": "gravity = 0.5",
    "mass": "mass = 0.5",
    "friction": "friction = 0.5",
    "joint_range": "joint_range = 0.5",
    "damping": "damping = 0.5",
    "stiffness": "stiffness = 0.5",
    "armature": "armature = 0.5",
    "frictionloss": "frictionloss = 0.5",
    "gear": "gear = 0.5",
    "control_range": "control_range = 0.5",
    "cripple": 'cripple = ["m"]',
    "fluid": "fluid = { density = 1.2 }",
    "timestep": "timestep = 0.5",
    "integrator": 'integrator = "RK4"',
    "solver": 'solver = "PGS"',
    "cone": 'cone = "elliptic"',
    "contact_softness": "contact_softness = 2.0",
    "terrain": "terrain = { height = 0.1, extent = [4.0, 3.0], flat = 1.0 }",
    "backlash": 'backlash = { joint = "j", value = 0.1 }',
    "size": 'size = { body = "c", scale = 0.5 }',
    "length": 'length = { body = "b", scale = 0.5 }',
}
STANDING = ("contact_softness",)  # moves only a robot that presses on its floor
Plant = Callable[[mujoco.MjSpec], None]


def _attribute(kind: str, name: str, field: str, value: Any) -> Plant:
    def plant(spec: mujoco.MjSpec) -> None:
        setattr(getattr(spec, kind)(name), field, value)

    return plant


def _exclude(spec: mujoco.MjSpec) -> None:
    spec.add_exclude(bodyname1="b", bodyname2="c")


EXTRA: dict[str, tuple[Plant, str]] = {  # something else is changed too; what the certificate says of it
    "a child frame is displaced": (_attribute("body", "c", "pos", [0.01, 0, -0.4]), "body_pos of 'c'"),
    "a child frame is turned": (_attribute("body", "c", "quat", [1, 0.1, 0, 0]), "of 'c'"),
    "a geom is displaced": (_attribute("geom", "h", "pos", [0, 0, 0.02]), "of 'h'"),
    "a site is displaced": (_attribute("site", "s", "pos", [0.2, 0, 0]), "site_pos of 's'"),
    "a camera is displaced": (_attribute("camera", "eye", "pos", [0, -3, 1]), "cam_pos of 'eye'"),
    "a joint's axis": (_attribute("joint", "k", "axis", [1, 0, 0]), "jnt_axis of 'k'"),
    "contacts vanish": (_attribute("geom", "floor", "contype", 0), "geom_contype of 'floor'"),
    "contacts soften": (_attribute("geom", "floor", "solref", [0.1, 1]), "geom_solref of 'floor'"),
    "a motor of another gear": (_attribute("actuator", "m", "gear", [30, 0, 0, 0, 0, 0]), "'m'"),
    "a servo of twice the gear": (_attribute("actuator", "p", "gear", [2, 0, 0, 0, 0, 0]), "'p'"),
    "a force range": (_attribute("actuator", "p", "forcerange", [-1, 1]), "'p'"),
    "a tendon's stiffness": (_attribute("tendon", "t", "stiffness", [5, 0, 0]), "tendon_stiffness of 't'"),
    "no number": (_attribute("geom", "floor", "friction", [np.nan, 0, 0]), "geom_friction"),
    "the integrator": (lambda spec: setattr(spec.option, "integrator", 1), "opt.integrator"),
    "an exclusion": (_exclude, "nexclude"),
    "another name": (lambda spec: setattr(spec.site("s"), "name", "z"), "'s' is called 'z'"),
}


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lays out the robot with one variant of an axis, whose edit is followed, or replaced, by another."""
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    monkeypatch.setattr(mjcf, "vet", lambda path: None)
    folder = tmp_path / "envs" / "mine"
    folder.mkdir(parents=True)

    def plant(axis: str, edit: Callable[..., None] | None = None, then: Plant | None = None) -> tuple[str, ...]:
        (folder / "robot.xml").write_text(ROBOT.replace('"0 0 .45"', '"0 0 .449"') if axis in STANDING else ROBOT)
        (folder / "env.toml").write_text(TABLE.format(AXES[axis]))
        room = SHAPE if axis in SHAPE else MODEL
        right = room[axis].edit

        def wrong(spec: mujoco.MjSpec, nominal: mujoco.MjModel, change: Any) -> None:
            (edit or right)(spec, nominal, change)
            if then:
                then(spec)

        monkeypatch.setitem(room, axis, Axis("", wrong))
        compilation._compiled.cache_clear()
        try:
            problems = certify("mine", "v").problems
            if problems:
                with pytest.raises(InputError, match="does not apply"):  # nobody can make such a world either
                    RobotEnv("mine", "v")
        finally:
            compilation._compiled.cache_clear()
        return problems

    return plant


def test_every_axis_of_the_model_is_planted():
    assert AXES.keys() == {*MODEL, *SHAPE}


@pytest.mark.parametrize("axis", AXES)
def test_the_right_edit_is_proved_and_none_is_refuted(planted, axis: str):
    assert planted(axis) == ()
    problems = planted(axis, edit=lambda *_: None)
    assert problems
    assert problems[0].startswith(f"{axis}: ")


BESIDE = (
    "mass",
    "gear",
    "size",
    "length",
    "timestep",
    "cripple",
    "terrain",
    "backlash",
)  # these axes; in the quick tests, in turn


@pytest.mark.parametrize(
    ("axis", "extra"),
    [
        pytest.param(axis, extra, marks=[] if BESIDE[place % len(BESIDE)] == axis else [pytest.mark.slow])
        for axis in BESIDE
        for place, extra in enumerate(EXTRA)
    ],
)
def test_an_edit_that_changes_something_else_is_refuted_by_its_name(planted, axis: str, extra: str):
    then, words = EXTRA[extra]
    problems = planted(axis, then=then)
    assert any(words in problem for problem in problems), problems


def _scaled(kind: str, field: str, scale: float) -> Plant:
    def plant(spec: mujoco.MjSpec) -> None:
        for element in getattr(spec, kind):
            setattr(element, field, getattr(element, field) * scale)

    return plant


def _set_mass_alone(spec: mujoco.MjSpec, nominal: mujoco.MjModel, change: Any) -> None:
    model_axes.mass(spec, nominal, change)
    for body in spec.bodies[1:]:
        body.inertia = body.inertia * 2.0  # as it was


@pytest.mark.parametrize(
    ("axis", "edit", "words"),
    [
        ("mass", _set_mass_alone, "body_tensor of 'b'"),
        ("gear", lambda spec, *_: _scaled("actuators", "gear", 0.5)(spec), "'p'"),  # half as strong, twice as far
        ("gear", lambda spec, *_: _scaled("actuators", "gainprm", 0.5)(spec), "'p'"),  # its bias stays
        ("gravity", lambda spec, *_: setattr(spec.option, "gravity", [0, 0, 4.905]), "opt.gravity"),
        ("friction", lambda spec, *_: setattr(spec.geom("h"), "friction", [0.5, 0.0025, 5e-5]), "of 'floor'"),
        ("damping", lambda spec, *_: _scaled("joints", "damping", 0.5)(spec), "of 't'"),
        ("joint_range", lambda spec, *_: _scaled("joints", "range", 0.25)(spec), "jnt_range of 'j'"),
        ("control_range", lambda spec, *_: _scaled("actuators", "ctrlrange", 0.25)(spec), "of 'm'"),
        ("cripple", lambda spec, *_: setattr(spec.actuator("p"), "gear", np.zeros(6)), "'m'"),
        ("fluid", lambda spec, *_: setattr(spec.option, "viscosity", 1.2), "opt."),
        ("size", lambda spec, *_: setattr(spec.geom("h"), "size", [0.03, 0, 0]), "geom_size of 'h'"),
        ("length", lambda spec, *_: setattr(spec.geom("g"), "fromto", [0, 0, 0, 0, 0, -0.2]), "of 'c'"),
    ],
)
def test_a_wrong_edit_is_refuted_by_the_name_of_what_is_wrong(planted, axis: str, edit, words: str):
    problems = planted(axis, edit=edit)
    assert any(problem.startswith(f"{axis}: ") and words in problem for problem in problems), problems


def test_a_mesh_that_has_not_grown_is_refuted(planted, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(AXES, "size", 'size = { geom = "v", scale = 0.5 }')
    assert planted("size") == ()
    assert "the mesh of geom 'v' is not 0.5 times" in planted("size", edit=lambda *_: None)[0]
    moved = planted("size", then=lambda spec: setattr(spec.geom("v"), "quat", [1, 0.1, 0, 0]))
    assert any("'v'" in problem for problem in moved)
