"""Small robots of a workspace, for tests of what a model or a table may hold."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trl_suite import content

TABLE = """title = "robot"
about = ""
model = "robot.xml"
version = 0
frame_skip = 2
episode_steps = 100
observation = [{ kind = "position", of = ["*"] }, { kind = "velocity", of = ["*"] }]
reward = [{ term = "effort", weight = -0.1 }]
reset = { KEY position = { spread = 0.0, shape = "uniform" }, velocity = { spread = 0.0, shape = "uniform" } }
"""
PENDULUM = """<mujoco>{head}<worldbody><body name="b" pos="0 0 .5"><joint name="j" axis="0 1 0"/>
<geom name="g" type="capsule" fromto="0 0 0 0 0 -.4" size=".05"/></body></worldbody>{rest}</mujoco>"""
MOTOR = '<actuator><motor joint="j" ctrlrange="-1 1" gear="10"/></actuator>'
Robot = Callable[..., Path]


@pytest.fixture
def robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Robot:
    """Writes a pendulum's env into a workspace: `robot(name, rest, head, key, table)`; returns its table's path."""
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))

    def write(name: str, rest: str = MOTOR, head: str = "", key: str = "", table: str = TABLE) -> Path:
        folder = tmp_path / "envs" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "robot.xml").write_text(PENDULUM.format(head=head, rest=rest))
        (folder / "env.toml").write_text(table.replace("KEY", key))
        return folder / "env.toml"

    return write
