"""Actions that displace a hand: the law, the formula, engines alike, and what is refused."""

import msgspec
import mujoco
import numpy as np
import pytest
import torch

from trl_suite.errors import InputError
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.deployment import deployment_of
from trl_suite.worlds.env_spec import Displacement, EnvSpec, Motor, load
from trl_suite.worlds.model.compilation import compiled
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.terms.displacement import LEVER, bind_displacement
from trl_suite.worlds.terms.sensors import flat_fields

ENV = "arm-lift-displacement"
JOINTS = ("yaw", "shoulder", "elbow", "wrist", "hand_roll")
SETTLING = 40  # control steps


def action(**parts: float) -> np.ndarray:
    return np.array([parts.get(name, 0.0) for name in ("x", "y", "z", "turn", "fingers")], np.float32)


def settled(env: RobotEnv) -> mujoco.MjData:
    for _ in range(SETTLING):
        env.step(action(fingers=1.0))
    return env.data


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("way", [-1.0, 1.0])
@pytest.mark.parametrize("variant", [None, "joints-7", "long-forearm-1.25"])
def test_a_centimetre_along_an_axis_moves_the_hand_a_centimetre_along_it(axis: str, way: float, variant: str | None):
    env = RobotEnv(ENV, variant)
    env.reset(seed=0)
    before = settled(env).site("tip").xpos.copy()
    env.step(action(**{axis: way * 0.01 / env.table.displacement.scale}, fingers=1.0))
    moved = settled(env).site("tip").xpos - before
    expected = np.array([0.01 * way * (name == axis) for name in "xyz"])
    assert moved == pytest.approx(expected, abs=1.5e-3)  # m: the damping's share, and gravity's


def test_the_fourth_action_turns_the_hand_about_the_vertical_and_leaves_it_where_it_is():
    env = RobotEnv(ENV)
    env.reset(seed=0)
    data = settled(env)
    place, before = data.site("tip").xpos.copy(), data.site("tip").xmat.reshape(3, 3).copy()
    for _ in range(5):
        env.step(action(turn=1.0, fingers=1.0))
    turn = settled(env).site("tip").xmat.reshape(3, 3) @ before.T
    assert np.arctan2(turn[1, 0], turn[0, 0]) == pytest.approx(0.25, abs=0.03)  # 5 x 0.05 rad
    assert turn[2, 2] == pytest.approx(1.0, abs=1e-3)
    assert data.site("tip").xpos == pytest.approx(place, abs=3e-3)


def test_set_points_move_by_damped_least_squares():
    env = RobotEnv(ENV)
    env.reset(seed=1)
    rng, displacement = np.random.default_rng(0), env.table.displacement
    for _ in range(10):
        env.step(rng.uniform(-1, 1, 5).astype(np.float32))
    data, model, chosen = env.data, env.model, rng.uniform(-0.1, 0.1, 5)
    jacobian = np.zeros((6, model.nv))
    mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], model.site("tip").id)
    jacobian = jacobian[:, [int(model.joint(name).dofadr[0]) for name in JOINTS]]
    jacobian[3:] *= LEVER
    target = np.array([*displacement.scale * chosen[:3], 0, 0, LEVER * displacement.turn * chosen[3]])
    damped = jacobian @ jacobian.T + displacement.damping**2 * np.eye(6)
    expected = data.ctrl[:5] + jacobian.T @ np.linalg.solve(damped, target)
    env.step(chosen)
    assert data.ctrl == pytest.approx([*expected, chosen[4]], abs=1e-9)


def test_a_hand_that_is_held_back_does_not_wind_its_set_points_up():
    """They stay where the servos reach their greatest force, so that the hand turns round at once."""
    env = RobotEnv(ENV)
    env.reset(seed=0)
    for _ in range(60):
        env.step(action(z=-1.0))  # into the floor
    positions = env.data.qpos[[int(env.model.joint(name).qposadr[0]) for name in JOINTS]]
    ahead = np.abs(env.nominal_position[:5] + env.data.ctrl[:5] - positions)
    assert (ahead <= np.array([87 / 400] * 3 + [12 / 100] * 2) + 0.05).all()
    low = env.data.site("tip").xpos[2]
    for _ in range(10):
        env.step(action(z=1.0))
    assert env.data.site("tip").xpos[2] > low + 0.02


def test_a_batch_displaces_each_hand_as_alone_to_the_bit_and_goes_on_from_its_state():
    variants = [None, "weak-elbow-0.5", "latency-3", "cube-1", "long-fingers-1.5"]
    batch, other = (RobotVectorEnv(len(variants), ENV, variants, autoreset_mode="SameStep") for _ in range(2))
    envs = [RobotEnv(ENV, variant) for variant in variants]
    assert batch.interface.action_names == envs[0].interface.action_names
    seen = batch.reset(seed=3)[0]
    assert np.array_equal(seen, [env.reset(seed=3 + index)[0] for index, env in enumerate(envs)])
    rng = np.random.default_rng(0)
    for step in range(20):
        actions = rng.uniform(-1.5, 1.5, (len(variants), 5)).astype(np.float32)
        if step == 10:
            other.restore(None, batch.state())
        seen = batch.step(actions)[0]
        assert np.array_equal(seen, [env.step(each)[0] for env, each in zip(envs, actions, strict=True)])
        assert step < 10 or np.array_equal(other.step(actions)[0], seen)


def test_a_single_env_goes_on_from_its_state_in_another():
    env, other = RobotEnv(ENV), RobotEnv(ENV)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        env.step(rng.uniform(-1, 1, 5))
    other.reset(seed=1)
    other.restore(env.state())
    for chosen in rng.uniform(-1, 1, (5, 5)):
        assert np.array_equal(env.step(chosen)[0], other.step(chosen)[0])


def test_tensors_are_displaced_as_arrays_are():
    env = RobotEnv(ENV)
    env.reset(seed=0)
    env.step(action(x=1.0, y=0.5))
    displacement = bind_displacement(env.table, env.model)
    fields, chosen = flat_fields(env.data), action(x=0.3, z=-0.7, turn=0.5, fingers=0.2)
    tensors = displacement.moved(torch.as_tensor).converter(lambda name: torch.tensor(fields(name))[None])
    assert tensors(torch.tensor(chosen)[None])[0].numpy() == pytest.approx(displacement.converter(fields)(chosen))


def test_without_a_turn_three_actions_displace_the_hand_and_slides_count():
    spec = edited(turn=None)
    model = compiled(spec, Variation())
    displacement = bind_displacement(spec, model)
    assert [slot.name for slot in displacement.slots] == [f"tip.{axis}.control" for axis in "xyz"]
    rail = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><body name="cart"><joint name="rail" type="slide" axis="1 0 0"/><geom size="0.1"/></body>'
        '</worldbody><actuator><position name="rail" joint="rail" kp="100" kv="1"/></actuator></mujoco>'
    )
    spec = msgspec.structs.replace(spec, displacement=Displacement(of="cart", joints=("*",), scale=0.1, damping=1e-6))
    data = mujoco.MjData(rail)
    mujoco.mj_forward(rail, data)
    assert bind_displacement(spec, rail).converter(flat_fields(data))(np.array([0.5, 1.0, 1.0])) == pytest.approx(0.05)


def edited(**changes: object) -> EnvSpec:
    spec = load(ENV)
    return msgspec.structs.replace(spec, displacement=msgspec.structs.replace(spec.displacement, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": "tap"}, "displacement.of: unknown site or body 'tap' (did you mean 'tip'?)"),
        ({"of": "world"}, "displacement.of: unknown site or body 'world'"),
        ({"joints": ("yaww",)}, "displacement.joints: unknown hinge or slide joint 'yaww' (did you mean 'yaw'?)"),
        ({"joints": ("object",)}, "displacement.joints: unknown hinge or slide joint 'object'"),
        ({"joints": ("leg_*",)}, "displacement.joints: no joint of the model matches leg_*: name those of the arm"),
        ({"joints": ("yaw", "finger_left")}, "displacement.joints: 'finger_left' does not move 'tip': leave it out"),
        ({"of": "finger_right", "joints": ("finger_right",)}, "'finger_right' has no position servo: name it in"),
    ],
)
def test_what_the_model_lacks_is_refused(changes: dict[str, object], message: str):
    with pytest.raises(InputError) as caught:
        bind_displacement(edited(**changes), compiled(load(ENV), Variation()))
    assert message in str(caught.value)


def test_a_torque_motor_is_refused():
    spec = msgspec.structs.replace(edited(joints=("yaw",)), motors=(Motor(of=("yaw",), force=87.0),))
    with pytest.raises(InputError, match=r"'yaw' has no position servo: name it in a table \[\[motors\]\] with kp"):
        bind_displacement(spec, compiled(spec, Variation()))


def test_an_empty_list_of_joints_is_refused_with_the_table():
    with pytest.raises(msgspec.ValidationError, match="length >= 1"):
        msgspec.convert({"of": "tip", "joints": [], "scale": 0.01}, Displacement)


def test_a_controller_is_not_told_that_displacements_are_controls():
    assert deployment_of(ENV).action_names == ()
    assert deployment_of("arm-lift").action_names


@pytest.mark.slow  # Warp compiles its kernels
def test_warp_displaces_hands_as_mujoco_does():
    pytest.importorskip("mujoco_warp")
    from trl_suite.worlds.warp.warp_env import WarpVectorEnv

    device, host = WarpVectorEnv(2, ENV, [None, "latency-1"], device="cpu"), RobotVectorEnv(2, ENV, [None, "latency-1"])
    device.reset(seed=0)
    host.reset(seed=0)
    for name in ("qpos", "qvel"):
        device._simulation.field(name)[:] = torch.tensor(host._physics.field(name))
    rng = np.random.default_rng(0)
    names, arm = host.interface.observation_names, slice(0, 6)
    assert names[5] == "finger_left.position"
    for _ in range(5):
        actions = rng.uniform(-1, 1, (2, 5)).astype(np.float32)
        seen, expected = device.step(torch.tensor(actions))[0], host.step(actions)[0]
        assert seen[:, arm].numpy() == pytest.approx(expected[:, arm], abs=2e-3)
