"""What could not be made or would not fit is said when an experiment is loaded, with file, key and name."""

import subprocess
import sys

import pytest

from tests.experiment.conftest import ON_SAC, TINY
from trl_suite.cli import main
from trl_suite.errors import InputError
from trl_suite.experiment.specification import experiment_file

MODEL = """<mujoco><worldbody><body name="b" pos="0 0 1"><joint name="slider" type="slide" axis="1 0 0"/>
<geom name="g" type="sphere" size="0.1"/></body></worldbody>{actuator}</mujoco>"""
ENV = """
title = "a ball"
about = "it rolls"
model = "robot.xml"
version = 0
frame_skip = 4
episode_steps = 100
observation = [{ kind = "position", of = ["slider"] }]
reward = [{ term = "alive", weight = 1.0 }]
[reset]
position = { spread = 0.1, shape = "uniform" }
velocity = { spread = 0.1, shape = "uniform" }
"""


def of_method(table: str, text: str = TINY) -> str:
    return text.replace('"finetune"', '"odd"') + f"\n[method.odd]\n{table}\n"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('copy = ["actr"]', "no component 'actr'"),
        ('copy = ["actor"]\nfreeze = ["actor.trunk.9"]', "no component 'actor.trunk.9'"),
        ('copy = ["actor.trunk.:5"]', "no component 'actor.trunk.:5'"),
        ('copy = ["actor", "critic"]\nfreeze = ["actor", "critic", "log_std"]', "every component is frozen"),
        ('copy = ["actor"]\nthaw = { "critic" = 0.5 }', "no component 'critic'"),
        ('copy = ["actor"]\nrate = { "zz" = 0.5 }', "no component 'zz'"),
        ('copy = ["actor"]\nshuffle = ["zz"]', "no component 'zz'"),
        ('copy = ["actor"]\nkeep = { "zz" = 0.5 }', "no component 'zz'"),
        ('copy = ["actor"]\nfresh = ["zz"]', "no component 'zz'"),
        ('copy = ["actor"]\nreset = { components = ["zz"], at = [0.5] }', "no component 'zz'"),
        ('copy = ["actor"]\nreset = { components = ["normaliser"], at = [0.5] }', "is no layer"),
        ('copy = ["actor"]\nfreeze = ["actor"]\nreset = { components = ["actor"], at = [0.5] }', "is frozen then"),
    ],
)
def test_a_method_that_names_what_is_not_there_is_refused(tiny, table, message):
    (tiny / "experiment.toml").write_text(of_method(table))
    with pytest.raises(InputError, match=rf"experiment\.toml: methods: odd, from .*{message}"):
        experiment_file.load(tiny)


@pytest.mark.parametrize("name", ["partial-freeze-999", "partial-freeze-3", "random-freeze-9"])
def test_a_depth_that_the_network_has_not_is_refused(tiny, name):
    (tiny / "experiment.toml").write_text(TINY.replace('"finetune"', f'"{name}"'))
    with pytest.raises(InputError, match=rf"methods: {name}, from .*no component"):
        experiment_file.load(tiny)


@pytest.mark.parametrize(
    "table",
    [
        'copy = ["actor", "critic", "replay"]\nkeep = { replay = 0.1 }',
        'copy = ["actor", "replay", "optimiser.actor"]\nfreeze = ["replay"]\nkeep = { replay = 0.1 }',
        'distillation = { strength = 1.0 }',
        'copy = ["actor"]\nfreeze = ["actor.trunk.0"]\nthaw = { "actor.trunk.0" = 0.5 }',
    ],
)  # fmt: skip
def test_what_fits_is_left_alone(tiny, table):
    (tiny / "experiment.toml").write_text(of_method(table, ON_SAC))
    experiment_file.load(tiny)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("gymnasium:Nope-v0", "Nope"),
        ("gymnasium:", "gymnasium:"),
        ("gymnasium:CartPole-v1", "vectors"),
        ("gymnasium:a/b/c-v0", "gymnasium:a/b/c-v0"),
        ('inverted-pendulum?cripple=[\\"nope\\"]', "nope"),
        ("half-cheetah", "no counterpart"),
    ],
)
def test_an_env_that_cannot_be_made_or_matched_is_refused(tiny, env, message):
    (tiny / "experiment.toml").write_text(TINY.replace('["inverted-pendulum.gravity-1.5"]', f'["{env}"]'))
    with pytest.raises(InputError, match=rf"experiment\.toml: .*{message}"):
        experiment_file.load(tiny)


def robot(workspace, actuator: str) -> None:
    folder = workspace / "envs" / "ball"
    folder.mkdir(parents=True)
    (folder / "robot.xml").write_text(MODEL.format(actuator=actuator))
    (folder / "env.toml").write_text(ENV)


def test_a_robot_without_an_actuator_is_refused_before_the_source_is_trained(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    robot(tmp_path, "")
    text = TINY.replace('"inverted-pendulum"', '"ball"').replace('"inverted-pendulum.gravity-1.5"', '"ball"')
    (tiny / "experiment.toml").write_text(text)
    with pytest.raises(InputError, match=r"experiment\.toml: source\.env: .*no actuator"):
        experiment_file.load(tiny)


@pytest.mark.parametrize("engine", ["auto", "sb3"])
@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("n_envs = 2", "n_envs = 1_000_000_000_000", "ppo.n_envs"),
        ("n_steps = 64", "n_steps = 1_000_000_000_000", "ppo.n_steps"),
        ("hidden = [8, 8]", "hidden = [8, 1_000_000_000_000]", "ppo.hidden"),
        ("episodes = 2", "episodes = 1_000_000_000_000", "evaluation.episodes"),
    ],
)
def test_a_run_beyond_the_memory_names_file_and_key(tiny, capsys, old, new, key, engine):
    text = TINY.replace(old, new).replace("[source]", f'engine = "{engine}"\n[source]')
    (tiny / "experiment.toml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tiny), "--plan"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert f"experiment.toml: {key}: " in error
    assert "MB" in error
    assert f"or a smaller {key}" in error


def test_no_file_imports_a_module_and_a_user_may(tmp_path):
    """A card, a record or a plan names `gymnasium:module:Env-v0`; only what a user typed is imported."""
    (tmp_path / "evilmod.py").write_text(
        "import pathlib\npathlib.Path('canary').write_text('')\n"
        "import gymnasium\ngymnasium.register('Evil-v0', entry_point='gymnasium.envs.classic_control:PendulumEnv')\n"
    )
    code = """
from pathlib import Path
from trl_suite.errors import InputError
from trl_suite.training.policy_import import spaces_of
from trl_suite.worlds.address import import_asked
from trl_suite.worlds.stepping.env import make
for act in (make, spaces_of):
    try:
        act("gymnasium:evilmod:Evil-v0")
    except InputError as error:
        assert "no file may ask for" in str(error), error
    else:
        raise SystemExit("not refused")
assert not Path("canary").exists()
try:
    import_asked("gymnasium:nomod:Evil-v0")
except InputError as error:
    assert "cannot be imported" in str(error), error
import_asked("gymnasium:evilmod:Evil-v0")
assert Path("canary").exists()
make("gymnasium:evilmod:Evil-v0").close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
