"""A user's MJCF: what is refused, before MuJoCo opens it or after, and what is not. See SECURITY.md."""

from pathlib import Path

import numpy as np
import pytest

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.identity import identity
from trl_suite.worlds.model import mjcf
from trl_suite.worlds.stepping.env import make

BODY = """<worldbody>
<body name="cart"><joint name="slide" type="slide" axis="1 0 0"/><geom name="box" size="0.1"/></body>
</worldbody><actuator><motor joint="slide" ctrllimited="true" ctrlrange="-1 1"/></actuator>"""
ROBOT = f"<mujoco>{BODY}</mujoco>"
TABLE = """
title = "Mine"
about = ""
model = "robot.xml"
version = 0
frame_skip = 2
episode_steps = 100
observation = [{ kind = "position", of = ["slide"] }, { kind = "velocity", of = ["slide"] }]
reward = [{ term = "forward", of = "slide", weight = 1.0 }, { term = "effort", weight = -0.1 }]
reset = { position = { spread = 0.1, shape = "uniform" }, velocity = { spread = 0.1, shape = "uniform" } }
[variants]
heavy = { mass = 2.0 }
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "envs" / "mine"
    folder.mkdir(parents=True)
    (folder / "env.toml").write_text(TABLE)
    (folder / "robot.xml").write_text(ROBOT)
    (tmp_path / "secret.xml").write_text("<mujocoinclude/>")
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    return folder


def test_a_users_model_is_a_world_with_axes(mine: Path):
    base, heavy = make("mine").unwrapped, make("mine.heavy").unwrapped
    assert base.interface.observation_names == ("slide.position", "slide.velocity")
    assert heavy.model.body("cart").mass == 2 * base.model.body("cart").mass
    base.reset(seed=0)
    assert base.step(np.ones(1, np.float32))[1] > -1


def test_a_changed_file_is_another_world(mine: Path):
    before, model = identity("mine"), make("mine").unwrapped.model
    (mine / "robot.xml").write_text(ROBOT.replace('size="0.1"', 'size="0.2"'))
    assert identity("mine") != before
    assert make("mine").unwrapped.model.geom("box").size[0] == 0.2
    assert model.geom("box").size[0] == 0.1


def test_an_include_inside_the_folder_is_allowed(mine: Path):
    (mine / "parts").mkdir()
    (mine / "parts" / "body.xml").write_text(f"<mujocoinclude>{BODY}</mujocoinclude>")
    (mine / "robot.xml").write_text('<mujoco><include file="parts/body.xml"/></mujoco>')
    before = identity("mine")
    assert make("mine").unwrapped.model.nq == 1
    (mine / "parts" / "body.xml").write_text(f"<mujocoinclude>{BODY.replace('0.1', '0.3')}</mujocoinclude>")
    assert identity("mine") != before


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ('<mujoco><include file="../../secret.xml"/></mujoco>', "leaves the model's folder"),
        ('<mujoco><include file="/etc/passwd"/></mujoco>', "is not a path inside the model's folder"),
        ('<mujoco><asset><mesh file="../../../etc/passwd"/></asset></mujoco>', "leaves the model's folder"),
        ('<mujoco><asset><texture type="2d" file="/etc/passwd"/></asset></mujoco>', "is not a path inside"),
        ('<mujoco><asset><hfield name="h" file="../x.png"/></asset></mujoco>', "leaves the model's folder"),
        ('<mujoco><compiler meshdir="../../.."/></mujoco>', "leaves the model's folder"),
        ('<mujoco><compiler assetdir="/"/></mujoco>', "is not a path inside the model's folder"),
        ('<mujoco><compiler meshdir="link"/></mujoco>', "leaves the model's folder"),
        ('<mujoco><asset><mesh file="http://x/y.obj"/></asset></mujoco>', "is not a path inside the model's folder"),
        ('<!DOCTYPE m [<!ENTITY a "b">]><mujoco/>', "a DOCTYPE is refused"),
        ('<!DOCTYPE m SYSTEM "file:///etc/passwd"><mujoco/>', "a DOCTYPE is refused"),
        ('<mujoco><extension><plugin plugin="mujoco.pid"/></extension></mujoco>', "plugins are refused"),
        ("<mujoco><worldbody></mujoco>", "not XML"),
        ("", "not XML"),
        ("\0", "not XML"),
        ("<robot/>", "<robot> is no MJCF"),
        (f'<mujoco><option timestep="0"/>{BODY}</mujoco>', "a timestep is above 0"),
        (f'<mujoco><option timestep="-0.01"/>{BODY}</mujoco>', "a timestep is above 0"),
        (f'<mujoco><option timestep="nan"/>{BODY}</mujoco>', "robot.xml"),
        (f'<mujoco><option timestep="0.2"/>{BODY}</mujoco>', "a timestep is above 0 and 0.1 s at most"),
        (ROBOT.replace('name="cart"', 'name="cart" pos="nan 0 0"'), "robot.xml"),
        (ROBOT.replace('size="0.1"', 'size="0.1" wings="2"'), "wings"),
        (ROBOT.replace("<geom", "<light/><nogeom"), "nogeom"),
        (f'<mujoco><size nuserdata="2000000000"/>{BODY}</mujoco>', "robot.xml"),
        (f'<mujoco><option gravity="0 0 inf"/>{BODY}</mujoco>', "robot.xml"),
    ],
)
def test_what_is_refused(mine: Path, xml: str, message: str):
    (mine / "link").symlink_to(mine.parent.parent)
    (mine / "robot.xml").write_text(xml)
    with pytest.raises(InputError) as caught:
        make("mine")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "xml",
    [
        '<mujoco><worldbody><replicate count="2000" offset="1 0 0"><replicate count="2000" offset="0 1 0">'
        '<body><freejoint/><geom size=".1"/></body></replicate></replicate></worldbody></mujoco>',
        '<mujoco><asset><hfield name="h" nrow="60000" ncol="60000" size="1 1 1 1"/></asset></mujoco>',
    ],
)
def test_what_would_eat_time_or_memory_is_stopped(mine: Path, xml: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mjcf, "SECONDS", 5)
    (mine / "robot.xml").write_text(xml)
    with pytest.raises(InputError, match=r"compiles for more than|gave up on it|robot\.xml"):
        make("mine")


def test_a_binary_or_oversized_model_is_refused(mine: Path):
    (mine / "robot.mjb").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="a binary model is refused"):
        mjcf.vet(mine / "robot.mjb")
    (mine / "robot.xml").write_text(ROBOT + " " * mjcf.MAX_BYTES)
    with pytest.raises(InputError, match="bytes; a model may have"):
        mjcf.vet(mine / "robot.xml")
    with pytest.raises(InputError, match="No such file"):
        mjcf.vet(mine / "robt.xml")


@pytest.mark.parametrize("name", ["../robot.xml", "sub/robot.xml", "robot.mjb", "/etc/passwd"])
def test_a_model_is_a_file_beside_its_table(mine: Path, name: str):
    (mine / "env.toml").write_text(TABLE.replace("robot.xml", name))
    with pytest.raises(InputError, match="neither a name nor an XML file beside the table"):
        make("mine")
