"""Play between motors and links: a link is free between two stops, and its env has the slots of one without."""

from typing import Any

import mujoco
import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.worlds.axes.play_promises import play_breaches
from trl_suite.worlds.axes.variation import Play, Variation
from trl_suite.worlds.deployment import deployment_of
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.model.compilation import compiled
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.terms.play_joints import PLAY_SUFFIX, seen_numbers

ROBOTS = ["quadruped", "arm-reach", "arm-push", "ant", "humanoid", "walker2d"]
STIFF = {"armature": 20.0, "timestep": 0.25}  # of the arms' light rotors


def with_play(name: str, **axes: Any) -> RobotEnv:
    return RobotEnv(name, backlash=0.04, **(STIFF if name.startswith("arm") else {}) | axes)


@pytest.mark.parametrize("name", ROBOTS)
def test_slots_actions_and_first_observations_are_those_without(name: str):
    plain, played = RobotEnv(name), with_play(name)
    assert played.interface == plain.interface
    assert played.model.nq > plain.model.nq
    for seed in range(2):
        assert np.array_equal(plain.reset(seed=seed)[0], played.reset(seed=seed)[0])
        assert np.array_equal(plain.np_random.random(3), played.np_random.random(3))  # nothing else was drawn


def test_what_is_deployed_names_the_robots_own_joints():
    plain, played = (deployment_of(address) for address in ("quadruped", "quadruped?backlash=0.04"))
    assert plain == played


def test_a_link_swings_free_between_its_stops_while_the_motor_stands():
    """The elbow's motor is held; the link hangs on one stop, and on the other where gravity is the other way."""
    angles: list[float] = []
    for sign in (1.0, -1.0):
        model = compiled(
            load("arm-reach"), Variation(backlash=Play(joint="elbow", value=0.04), armature=20.0, timestep=0.25)
        )
        model.opt.gravity[2] *= sign
        data, joint = mujoco.MjData(model), model.joint("elbow")
        data.qpos[joint.qposadr[0]] = 1.5
        model.dof_damping[joint.dofadr[0]] = 1e6  # the motor stands
        mujoco.mj_step(model, data, 2_000)
        assert data.qpos[joint.qposadr[0]] == pytest.approx(1.5, abs=1e-3)
        angles.append(float(data.joint(f"elbow{PLAY_SUFFIX}").qpos[0]))
    assert angles == pytest.approx([0.02, -0.02], abs=1e-3)


def test_a_motor_that_turns_back_first_crosses_the_play():
    """Its rotor moves alone from one stop to the other, and the link waits."""
    model = compiled(load("hopper"), Variation(backlash=Play(joint="foot_joint", value=0.2)))
    model.opt.gravity[:] = 0.0
    data = mujoco.MjData(model)
    motor, play = data.joint("foot_joint"), data.joint(f"foot_joint{PLAY_SUFFIX}")

    def driven(control: float, steps: int) -> np.ndarray:
        data.ctrl[2], data.qvel[:] = control, 0.0
        states = []
        for _ in range(steps):
            mujoco.mj_step(model, data)
            states.append((float(play.qpos[0]), float(motor.qpos[0] + play.qpos[0])))
        return np.array(states)

    there, back = driven(0.2, 60), driven(-0.2, 100)
    assert there[-1, 0] == pytest.approx(-0.1, abs=2e-3)
    assert back[-1, 0] == pytest.approx(0.1, abs=2e-3)
    assert np.abs(np.concatenate([there, back])[:, 0]).max() < 0.11
    assert back[40, 0] > 0.0  # the rotor is on its way
    assert np.abs(back[:45, 1] - back[0, 1]).max() < 1e-3  # and the link waits
    assert back[-1, 1] < back[0, 1] - 0.3


def planted(plant: Any) -> list[str]:
    """Breaches of a quadruped with play, into which something was planted."""
    spec, change = load("quadruped"), Play(value=0.04)
    after = compiled(spec, Variation(backlash=change))
    plant(after)
    return [*play_breaches(compiled(spec, Variation()), after, change)]


PLANTED = {
    "other stops": ("jnt_range", "FR_hip~play", "the stops of joint 'FR_hip' are not 0.04 apart"),
    "a brake": ("dof_frictionloss", "FR_hip~play", "the play of joint 'FR_hip' is held between its stops"),
    "a spring": ("jnt_stiffness", "FL_calf~play", "the play of joint 'FL_calf' is held between its stops"),
    "another axis": ("jnt_axis", "FL_calf~play", "the play of joint 'FL_calf' is about another axis"),
    "a motor's friction": ("dof_frictionloss", "FR_hip", "dof_frictionloss of 'FR_hip' is changed by the play"),
    "a motor's range": ("jnt_range", "FR_hip", "jnt_range of 'FR_hip' is changed by the play"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_joint_that_is_not_the_promised_one_is_found(what: str):
    field, joint, words = PLANTED[what]

    def plant(model: mujoco.MjModel) -> None:
        index = model.joint(joint).id if field.startswith("jnt") else int(model.joint(joint).dofadr[0])
        getattr(model, field)[index] += 0.3

    assert words in planted(plant)


def test_another_change_beside_the_play_is_found():
    def heavier(model: mujoco.MjModel) -> None:
        model.body_mass[3] *= 2

    def displaced(model: mujoco.MjModel) -> None:
        model.body_pos[3] += 0.01

    assert not planted(lambda model: None)
    assert planted(heavier) == ["body_mass of 'FR_thigh' is changed by the play"]
    assert planted(displaced) == ["body_pos of 'FR_thigh' is changed by the play"]


def test_play_goes_together_with_other_axes_which_leave_it_alone():
    model = compiled(
        load("quadruped"), Variation(backlash=0.04, damping=4.0, frictionloss=4.0, stiffness=None, mass=1.5)
    )
    seen = seen_numbers(model)
    assert seen is not None
    hidden = np.setdiff1d(np.arange(model.nv), seen.velocities)
    assert len(hidden) == 12
    assert not model.dof_damping[hidden].any()
    assert not model.dof_frictionloss[hidden].any()


def test_keyframes_grow_with_the_model(tmp_path, monkeypatch: pytest.MonkeyPatch):
    from tests.worlds.test_planted_edits import ROBOT, TABLE
    from trl_suite import content
    from trl_suite.worlds.model import mjcf

    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    monkeypatch.setattr(mjcf, "vet", lambda path: None)
    folder = tmp_path / "envs" / "mine"
    folder.mkdir(parents=True)
    keyed = ROBOT.replace("<sensor>", '<keyframe><key name="k" qpos=".3 .4" qvel="1 2"/></keyframe><sensor>')
    (folder / "robot.xml").write_text(keyed.replace('damping=".1"/>', 'damping=".1" armature=".1"/>'))
    (folder / "env.toml").write_text(
        TABLE.format("backlash = 0.02").replace("reset = { ", 'reset = { keyframe = "k", ')
    )
    plain, played = RobotEnv("mine"), RobotEnv("mine", "v")
    assert played.model.key_qpos.tolist() == [[0.3, 0.0, 0.4, 0.0]]
    assert np.array_equal(plain.reset(seed=0)[0], played.reset(seed=0)[0])
    limits = [np.rad2deg(played.model.joint(f"{name}{PLAY_SUFFIX}").range) for name in "jk"]  # the file has degrees
    assert np.allclose(np.deg2rad(limits), [-0.01, 0.01])


def test_a_batch_of_worlds_with_play_and_without_goes_as_each_alone():
    variants = [None, {"backlash": 0.04}]
    batch = RobotVectorEnv(2, "quadruped", [{"backlash": 0.04}] * 2, autoreset_mode="Disabled")
    alone = [RobotEnv("quadruped", backlash=0.04) for _ in range(2)]
    batch.reset(seed=0)
    for seed, env in enumerate(alone):
        env.reset(seed=seed)
    rng = np.random.default_rng(0)
    for _ in range(10):
        actions = rng.uniform(-1, 1, (2, 12)).astype(np.float32)
        observations, *_ = batch.step(actions)
        assert np.array_equal(observations, [env.step(action)[0] for env, action in zip(alone, actions, strict=True)])
    with pytest.raises(InputError, match="has other joints than quadruped: they cannot share a batch"):
        RobotVectorEnv(2, "quadruped", variants)


@pytest.mark.parametrize(
    ("env", "backlash", "message"),
    [
        ("quadruped", -0.1, "backlash: Expected `float` > 0"),
        ("quadruped", 3.0, "backlash: Expected `float` <= 0.5"),
        ("quadruped", {"joint": "FR_clf", "value": 0.1}, "motor 'FR_clf' (did you mean 'FR_calf'?)"),
        ("quadruped", {"joint": "root", "value": 0.1}, "unknown joint with a motor 'root'"),
        ("quadruped", [{"value": 0.1}, {"joint": "FR_calf", "value": 0.1}], "joint 'FR_calf' is changed twice"),
        ("inverted-pendulum", 0.02, "joint 'slider' has no rotor: give it an inertia, armature = { value = 0.01 }"),
        ("arm-reach", 0.02, "too light for its servo at 0.005 s a step: give an armature of 0.2"),
    ],
)  # fmt: skip
def test_play_that_cannot_be_is_refused_in_one_line(env: str, backlash: Any, message: str):
    with pytest.raises(InputError) as caught:
        RobotEnv(env, backlash=backlash)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
