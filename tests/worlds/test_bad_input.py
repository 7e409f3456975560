"""A mistake in an address, an axis or a table is an error that names it and what is possible."""

import math
import os
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from tests.worlds.conftest import TABLE, Robot
from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds import registration
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.stepping.env import RobotEnv, interface_of, make
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "half-cheeta",
            "unknown env 'half-cheeta' (did you mean 'half-cheetah'?); known: ant, arm-lift, arm-lift-displacement, ",
        ),
        ("up/hopper", "unknown env 'up/hopper'"),
        ("", "unknown env ''"),
        ("hopper.gravity-1.6", "hopper: unknown variant 'gravity-1.6' (did you mean 'gravity-1.5'?)"),
        ("hopper?gravty=1.5", "hopper: unknown key 'gravty' (did you mean 'gravity'?); known: shape, gravity, mass"),
        ("hopper?gravity=", "'' is not a number"),
        ("hopper?gravity", "gravity: no value"),
        ("hopper.gravity-1.5?gravity=2", "gravity is set twice"),
        ("inverted-pendulum?friction=0.5", "friction does not apply: no two of its geoms can touch with friction"),
        ("inverted-pendulum?direction=-1", "direction does not apply: no term of its reward pays for running"),
        ('hopper?mass={"body":"tors","scale":2}', "unknown body 'tors' (did you mean 'torso'?)"),
        ('hopper?gear={"actuator":"rootx","scale":2}', "unknown actuator 'rootx'"),
        ('hopper?mass=[{"body":"torso","scale":2},{"scale":3}]', "body 'torso' is changed twice"),
        ("gymnasium:NoSuchEnv-v0", "NoSuchEnv"),
    ],
)
def test_a_bad_address_names_what_is_wrong(address: str, message: str):
    with pytest.raises(InputError) as caught:
        make(address)
    assert message in str(caught.value)


@pytest.mark.parametrize("axis", ["gravity", "mass", "friction", "gear"])
@pytest.mark.parametrize("scale", [0, -1, -0.5, math.nan, math.inf])
def test_a_scale_is_above_zero_and_finite(axis: str, scale: float):
    for value in (scale, {"scale": scale}):
        with pytest.raises(InputError, match=rf"hopper: .*{axis}.*above 0 and finite|hopper: {axis}: .*above 0"):
            RobotEnv("hopper", **{axis: value})


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"gravity": {"scale": 2, "value": [0, 0, -1]}}, "either a scale or a value"),
        ({"gravity": {}}, "either a scale or a value"),
        ({"gravity": {"value": [0, 0, math.inf]}}, "gravity must be finite"),
        ({"gravity": "strong"}, "gravity: Expected"),
        ({"mass": {"bdy": "torso", "scale": 2}}, "unknown key 'bdy' in [mass] (did you mean 'body'?)"),
        ({"direction": 2}, "direction"),
        ({"wnd": 2}, "unknown key 'wnd'; known: shape, gravity, mass, friction"),
    ],
)
def test_a_bad_axis_names_what_is_wrong(axes: dict, message: str):
    with pytest.raises(InputError) as caught:
        RobotEnv("hopper", **axes)
    assert message in str(caught.value)


def test_gymnasium_make_gives_the_same_errors():
    with pytest.raises(InputError, match="unknown variant 'nope'"):
        gymnasium.make("trl_suite/Hopper-v0", variant="nope")
    with pytest.raises(InputError, match="unknown key 'gravty'"):
        gymnasium.make("trl_suite/Hopper-v0", gravty=1.5)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one env, `mine`, a copy of the hopper's."""
    (tmp_path / "envs" / "mine").mkdir(parents=True)
    (tmp_path / "envs" / "mine" / "env.toml").write_text((content.shipped() / "envs/hopper/env.toml").read_text())
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("frame_skip    = 4", "frameskip = 4", "unknown key 'frameskip' (did you mean 'frame_skip'?)"),
        ("frame_skip    = 4", "frame_skip = 0", "frame_skip"),
        ("episode_steps = 1000", "episode_steps = -1", "episode_steps"),
        ('kind = "position"', 'kind = "positon"', "unknown kind 'positon' (did you mean 'position'?)"),
        ('"rootz", "rooty", "thigh_joint"', '"rotz", "rooty", "thigh_joint"', "unknown joint 'rotz'"),
        ('term   = "forward"', 'term = "forwards"', "unknown reward term 'forwards'"),
        ('of     = "rootx"', "", "reward term 'forward': of which joint?"),
        ("gymnasium:hopper.xml", "gymnasium:hoper.xml", "unknown model 'hoper.xml' (did you mean 'hopper.xml'?)"),
        (
            "gymnasium:hopper.xml",
            "/etc/passwd",
            "model '/etc/passwd' is neither a name nor an XML file beside the table",
        ),
        ("gravity = 1.5", "gravity = -1.5", "above 0 and finite"),
        ("gravity = 1.5", "gravty = 1.5", "unknown key 'gravty'"),
        ("weight = -1e-3", "weight = nan", "nan is not a value"),
    ],
)
def test_a_bad_table_names_file_and_key(workspace: Path, old: str, new: str, message: str):
    path = workspace / "envs" / "mine" / "env.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        make("mine")
    assert message in str(caught.value)
    assert "mine" in str(caught.value)


_ALL = 'of   = ["yaw", "shoulder", "upper_*", "elbow", "forearm_*", "wrist*", "hand_*"]'


@pytest.mark.parametrize(
    ("env", "old", "new", "message"),
    [
        ("quadruped", 'of     = ["*_foot"]', 'of     = ["*_paw"]', "[8].of: unknown geom '*_paw'; known: FL_calf"),
        ("quadruped", '["*_foot"]\ntarget', '["*_foot", "*_paw"]\ntarget', "reward[8].of: unknown geom '*_paw'"),
        ("quadruped", '["*_foot"]\nweight', '["*_foot", "*_fot"]\nweight', "'*_fot' (did you mean 'FL_foot'?)"),
        ("quadruped", '"*_thigh", "*_calf"]\nweight', '"*_thig", "*_calf"]\nweight', "'*_thig' (did you mean 'FL_"),
        ("quadruped", 'of     = "*"', 'of     = ["*_hip", "*_clf"]', "reward[7].of: unknown joint '*_clf' (did"),
        ("quadruped", '# rad/s\nof   = ["trunk"]', '\nof   = ["trnk*"]', "observation[1].of: unknown site 'trnk*'"),
        ("quadruped", '# rad/s\nof   = ["trunk"]', '\nof   = ["trunk", "*_hip"]', "unknown site '*_hip'"),
        ("quadruped", 'of   = ["!root"]', 'of   = ["!rot"]', "observation[4].of: unknown joint '!rot' (did you mean"),
        ("quadruped", 'command"\nof   = ["*"]', 'command"\nof   = ["turning", "sped*"]', "unknown command 'sped*'"),
        ("quadruped", 'action"\nof   = ["*"]', 'action"\nof   = ["*_hip", "*_calfs"]', "unknown actuator '*_calfs'"),
        ("quadruped", '["*_calf"]\nkp', '["*_clf"]\nkp', "motors[1].of: unknown joints '*_clf' (did you mean "),
        ("quadruped", '["*_hip", "*_thigh"]', '["*_hip", "*_thigh", "*_paw"]', "motors[0].of: unknown joints '*_paw'"),
        ("quadruped", '["trunk.z"]\nrange', '["trunk.z", "trnk*.z"]\nrange', "healthy[0].of: unknown site 'trnk*.z'"),
        ("quadruped", "[reset]\n", '[reset]\nstill = ["FR_hip", "*_hp"]\n', "reset.still: unknown joint '*_hp'"),
        ("arm-push", _ALL, _ALL.replace("upper", "upr"), "unknown joint 'upr_*' (did you mean 'upper_roll'?)"),
        ("arm-push", '"target_y"], low', '"targt_*"], low', "reset.goal.joints: unknown joint 'targt_*' (did you mean"),
        ("arm-push", '"target_y"], low', '"object"], low', "target_x, object are 8 numbers: name single ones"),
        ("arm-push", '"object.y"], low', '"objct*"], low', "reset.objects[0].joints: unknown joint 'objct*'"),
        ("arm-push", '"object.y"], relative', '"objct.*"], relative', "conditions[0].of: unknown body 'objct.*'"),
        ("arm-lift-displacement", '"upper_*", "elbow", "fore', '"upper_*", "elbow", "fro', "displacement.joints: un"),
    ],
)  # fmt: skip
def test_each_pattern_of_a_table_that_fits_nothing_is_refused(
    workspace: Path, env: str, old: str, new: str, message: str
):
    text = (content.shipped() / "envs" / env / "env.toml").read_text()
    assert old in text
    (workspace / "envs" / "mine" / "env.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        make("mine")
    assert message in str(caught.value)
    assert "envs/mine/env.toml: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pattern_that_fits_another_robot_of_the_family_is_no_error(workspace: Path):
    path = workspace / "envs" / "mine" / "env.toml"
    text = (content.shipped() / "envs/arm-reach/env.toml").read_text()
    path.write_text(text)
    assert make("mine").action_space.shape == (5,)  # its table names the rolls of an arm of seven joints
    assert make('mine?shape={"joints":3}').action_space.shape == (3,)
    path.write_text(text.replace('"upper_*", "elbow"]\nkp', '"upper_*", "elbow", "elbw_*"]\nkp', 1))
    with pytest.raises(InputError, match=r"motors\[0\].of: unknown joints 'elbw_\*'"):
        make('mine?shape={"joints":3}')
    path.write_text(text.replace(_ALL, 'of   = ["upper_*"]', 1))
    with pytest.raises(InputError, match=r"observation\[0\].of: nothing of the model fits"):
        make("mine")


def test_a_bad_table_does_not_keep_the_others_from_being_registered(workspace: Path):
    (workspace / "envs" / "mine" / "env.toml").write_text("frameskip = 4")
    with pytest.warns(UserWarning, match="not registered: .*frameskip"):
        registration.register()
    assert "trl_suite/Hopper-v0" in gymnasium.registry


def test_a_users_own_env_is_found(workspace: Path):
    assert load("mine") == load("hopper")
    env = make("mine.gravity-1.5")
    assert env.spec.id == "trl_suite/Mine-v0"
    assert env.unwrapped.address == "mine.gravity-1.5"


def test_an_action_of_another_shape_is_refused():
    world = make("hopper").unwrapped
    world.reset(seed=0)
    for wrong in (0.5, np.zeros(1), np.zeros((3, 1)), np.zeros(4)):
        with pytest.raises(InputError, match=r"an action has shape \(3,\)"):
            world.step(np.asarray(wrong))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_an_action_that_is_not_finite_names_the_policy(number: float):
    world = make("hopper").unwrapped
    world.reset(seed=0)
    before = world.data.qpos.copy()
    with pytest.raises(FloatingPointError, match=r"hopper: the policy's action is not finite: .*leg_joint.control = "):
        world.step(np.array([0.0, number, 0.0], np.float32))
    assert np.array_equal(world.data.qpos, before)


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            '"effort"',
            '"efort"',
            "reward[0].term: unknown reward term 'efort' (did you mean 'effort'?); known: action_rate, ",
        ),
        ('of = ["*"] }, {', 'of = ["k"] }, {', "observation[0]: unknown joint 'k'"),
        ("frame_skip = 2", "frame_skip = 1_000_000_000_000", "frame_skip: Expected `int` <= 10000"),
        ("frame_skip = 2", f"frame_skip = {10**30}", "frame_skip: integers lie within ±2^53"),
        ("episode_steps = 100", f"episode_steps = {10**12}", "episode_steps: Expected `int` <= 10000000"),
        ("weight = -0.1", "weight = inf", "reward[0].weight: "),
        ("spread = 0.0", "spread = 1e300", "reset.position.spread: Expected `float` <= 10000000000.0"),
        ("title =", '[camera]\nbody = "x"\n[x]\ntitle =', "unknown key 'x'"),
    ],
)
def test_a_wrong_table_names_its_file_and_key(robot: Robot, wrong: str, right: str, message: str):
    path = robot("mine", table=TABLE.replace(wrong, right, 1))
    with pytest.raises(InputError) as caught:
        RobotEnv("mine")
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_model_that_sleeps_is_refused(robot: Robot):
    robot("mine", head='<option><flag sleep="enable"/></option>')
    for maker in (lambda: make("mine"), lambda: RobotVectorEnv(2, "mine")):
        with pytest.raises(InputError, match=r"mine: .*<flag sleep="):
            maker()


def test_gymnasium_shows_the_error_of_a_table_and_sees_that_it_is_mended(robot: Robot):
    path = robot("mine-too", table="frameskip = 1\n" + TABLE)
    with pytest.warns(UserWarning, match="not registered"):
        registration.register()
    with pytest.raises(InputError, match=r"env.toml: unknown key 'frameskip'"):
        gymnasium.make("trl_suite/MineToo-v0")
    path.write_text(TABLE.replace("KEY", ""))
    env = gymnasium.make("trl_suite/MineToo-v0")
    assert env.reset(seed=0)[0].shape == (2,)
    assert isinstance(env.unwrapped, RobotEnv)
    assert gymnasium.make("trl_suite/MineToo-v0").spec.max_episode_steps == 100


def test_a_batch_can_be_made_where_the_system_knows_no_affinity(robot: Robot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert gymnasium.make_vec("trl_suite/Hopper-v0", num_envs=2, vectorization_mode="vector_entry_point").num_envs == 2


class Reaching(gymnasium.Env):
    """An env whose observations are those of Gymnasium-Robotics."""

    observation_space = spaces.Dict(
        observation=spaces.Box(-1, 1, (3,)), desired_goal=spaces.Box(-1, 1, (2,)), mode=spaces.Discrete(2)
    )
    action_space = spaces.Box(-1, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


class Words(Reaching):
    """An env whose observations have no fixed length."""

    observation_space = spaces.Dict(words=spaces.Sequence(spaces.Box(-1, 1, (3,))))


def test_observations_that_are_tables_are_flattened_to_named_slots_or_refused():
    for name, kind in (("TrlReaching-v0", Reaching), ("TrlWords-v0", Words)):
        if name not in gymnasium.registry:
            gymnasium.register(name, kind)
    env = make("gymnasium:TrlReaching-v0")
    slots = ["observation.0", "observation.1", "observation.2", "desired_goal.0", "desired_goal.1", "mode.0", "mode.1"]
    assert list(interface_of(env).observation_names) == slots
    flat, raw = env.reset(seed=3)[0], env.unwrapped.reset(seed=3)[0]
    assert flat.tolist() == [*raw["observation"], *raw["desired_goal"], raw["mode"] == 0, raw["mode"] == 1]
    with pytest.raises(InputError, match=r"gymnasium:TrlWords-v0: its observations are .*cannot be flattened"):
        make("gymnasium:TrlWords-v0")
