"""`model = "package:NAME/path.xml"` and `"menagerie:NAME"`: what another package holds, or one line on why not."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.worlds.test_model_sensors import MODEL, TABLE, table
from trl_suite.errors import InputError, NotInstalledError
from trl_suite.worlds.address import Address
from trl_suite.worlds.identity import identity
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv

__all__ = ["table"]  # a fixture
ROBOTS = Path(__file__).parents[2] / "docs" / "robots"


@pytest.fixture
def package(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that holds the walker's model, and an env that refers to it."""
    folder = tmp_path / "site" / "some_robots" / "walker"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('its code is not run')")
    (folder / "robot.xml").write_text(MODEL)
    (table.parent / "robot.xml").unlink()
    table.write_text(TABLE.replace('"robot.xml"', '"package:some_robots/walker/robot.xml"'))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder / "robot.xml"


def test_a_model_of_another_package_is_an_env_whose_file_decides_its_identity(package: Path):
    env = RobotEnv("walker")
    assert np.isfinite(env.reset(seed=0)[0]).all()
    before = identity("walker")
    package.write_text(MODEL.replace('damping=".1"', 'damping=".2"'))
    assert identity("walker") != before
    assert RobotEnv("walker", Address.parse("walker").variant or None).model.dof_damping.max() == 0.2


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("package:some_robots/robot.xml", InputError, "unknown model 'robot.xml'"),
        ("package:some_robots/walker/robo.xml", InputError, "holds no 'walker/robo.xml'"),
        ("package:some_robots/../x.xml", InputError, "NAME as Python imports it"),
        ("package:some_robots", InputError, "NAME as Python imports it"),
        ("package:no_such_package/x.xml", NotInstalledError, "no package 'no_such_package' is installed: pip install"),
        ("packages:x/y.xml", InputError, "a model's name opens with"),
    ],
)
def test_what_is_not_there_is_one_line(package: Path, table: Path, model: str, error: type[Exception], message: str):
    table.write_text(TABLE.replace('"robot.xml"', f'"{model}"'))
    with pytest.raises(error) as caught:
        RobotEnv("walker")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_menagerie_is_asked_for_by_name(table: Path):
    table.write_text(TABLE.replace('"robot.xml"', '"menagerie:unitree_go11"'))
    there = importlib.util.find_spec("mujoco_menagerie") is not None
    with pytest.raises(
        InputError if there else NotInstalledError,
        match="did you mean 'unitree_go1'" if there else r"pip install 'trl-suite\[menagerie\]'",
    ):
        RobotEnv("walker")


@pytest.mark.skipif(importlib.util.find_spec("mjlab") is None, reason="mjlab, whose model it is, is not installed")
def test_the_go1_of_mjlab_stands(table: Path):
    shutil.copytree(ROBOTS / "unitree-go1", table.parents[1] / "go1")
    batch = RobotVectorEnv(2, "go1", [None, "payload-2"])
    batch.reset(seed=0)
    for _ in range(100):
        _, reward, terminated, *_ = batch.step(np.zeros((2, 12), np.float32))
        assert not terminated.any()
        assert np.isfinite(reward).all()


def test_the_tables_of_real_robots_are_short_and_read():
    from trl_suite import tables
    from trl_suite.worlds.env_spec import EnvSpec

    for path in sorted(ROBOTS.glob("*/env.toml")):
        assert len(path.read_text().splitlines()) <= 40, path
        tables.read(path, EnvSpec)
