"""Export as ONNX: onnxruntime, which knows nothing of us, gives the actions of `predict`."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import DESCRIPTORS
from trl_suite.errors import InputError
from trl_suite.interface import Deployment, Interface, Slot
from trl_suite.networks import store
from trl_suite.networks.card import Card, Network, Normaliser, Training
from trl_suite.networks.policy import Policy, load

TOLERANCE = 1e-6  # of an action whose range is of the order of 1
STATES = 1_000


def policy_of(algorithm: str, activation: str = "tanh", *, normalised: bool = True, **network) -> Policy:
    """A policy with the numbers of a fresh one, and statistics far from 0 and 1."""
    actions, observations = 3, 11
    bounds = {"action_low": (-1.0, -0.4, -3.0), "action_high": (1.0, 0.4, 2.0)} | network
    normaliser = Normaliser(
        observation=True, reward=False, clip_observation=10.0, clip_reward=10.0, epsilon=1e-8, gamma=0.99
    )
    card = Card(
        algorithm=algorithm,
        network=Network(actor=(32, 16), critic=(8,), activation=activation, critics=2, **bounds),
        interface=Interface(
            observation=tuple(Slot(f"j{i}.position", "rad") for i in range(observations)),
            action=tuple(Slot(f"j{i}.torque", "N m") for i in range(actions)),
        ),
        training=Training(env="hopper", seed=0, steps=10),
        normaliser=normaliser if normalised else None,
    )
    if DESCRIPTORS[algorithm].on_policy:
        card = msgspec.structs.replace(card, network=msgspec.structs.replace(card.network, critics=1))
    return Policy(card=card, components=numbers_of(card))


def numbers_of(card: Card) -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    components: dict[str, dict[str, torch.Tensor]] = {}
    for name, (shape, dtype) in store.expected(card).items():
        component, _, tensor = name.rpartition(".")
        scale = 0.6 / max(shape[1:], default=1) ** 0.5
        values = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) * scale
        if tensor.endswith("ra_var"):
            values = values.abs() + 0.5
        if component.startswith("normaliser"):
            values = values * 5 if tensor == "mean" else values.abs() + 0.01
        components.setdefault(component, {})[tensor] = values
    return components


def states_of(policy: Policy) -> np.ndarray:
    """States as the sensors of a robot give them, of which some leave the normaliser's range."""
    rng = np.random.default_rng(2)
    size = (STATES, len(policy.interface.observation))
    return (
        rng.standard_normal(size) * rng.choice([0.3, 3.0, 60.0] if policy.card.normaliser else [0.3, 1.0], size)
    ).astype(np.float32)


def session_of(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def difference(policy: Policy, path: Path) -> float:
    states = states_of(policy)
    [actions] = session_of(path).run(None, {"obs": states})
    ranges = np.maximum(1.0, policy.card.network.action_high)
    return float((np.abs(actions - policy.predict(states.astype(np.float64))[0]) / ranges).max())


@pytest.mark.parametrize("normalised", [True, False], ids=["normalised", "plain"])
@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("algorithm", DESCRIPTORS)
def test_onnxruntime_gives_the_actions_of_predict(algorithm, activation, normalised, tmp_path):
    policy = policy_of(algorithm, activation, normalised=normalised)
    assert difference(policy, policy.to_onnx(tmp_path / "policy.onnx")) <= TOLERANCE


@pytest.mark.parametrize("name", ["half-cheetah-ppo-seed-0", "ant-ppo-seed-0", "inverted-pendulum-ppo-seed-0"])
def test_onnxruntime_gives_the_actions_of_shipped_policies(name, tmp_path):
    policy = load(name)
    assert difference(policy, policy.to_onnx(tmp_path / "policy.onnx")) <= TOLERANCE


@pytest.mark.parametrize("activation", get_args(Activation))
def test_normalised_layers_are_exported(activation, tmp_path):
    policy = policy_of("sac", activation, layer_norm=True)
    assert "actor.trunk.0.norm" in policy.components
    assert difference(policy, policy.to_onnx(tmp_path / "policy.onnx")) <= 4 * TOLERANCE  # of numbers that are divided


def test_one_range_for_all_actions_is_one_clip(tmp_path):
    policy = policy_of("ppo", action_low=(-1.0,) * 3, action_high=(1.0,) * 3)
    path = policy.to_onnx(tmp_path / "policy.onnx")
    assert difference(policy, path) <= TOLERANCE
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators == ["Sub", "Sub", "Div", "Clip", "Gemm", "Tanh", "Gemm", "Tanh", "Gemm", "Clip"]


def test_a_mean_far_above_the_deviation_loses_no_digits(tmp_path):
    policy = policy_of("ppo")
    statistics = policy.components["normaliser.observation"]
    statistics["mean"].fill_(1234.56789)
    statistics["var"].fill_(1e-4)
    path, states = policy.to_onnx(tmp_path / "policy.onnx"), np.float32(1234.56789) + states_of(policy) * 1e-3
    [actions] = session_of(path).run(None, {"obs": states})
    assert np.abs(actions - policy.predict(states.astype(np.float64))[0]).max() <= TOLERANCE


@pytest.mark.parametrize("algorithm", ["ppo", "td3"])
def test_a_residual_policy_is_one_graph(algorithm, tmp_path):
    policy = policy_of(algorithm, residual=0.3)
    assert difference(policy, policy.to_onnx(tmp_path / "policy.onnx")) <= TOLERANCE


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_noise_draws_the_action_that_predict_draws(algorithm, tmp_path):
    policy = policy_of(algorithm)
    path, states = policy.to_onnx(tmp_path / "policy.onnx", stochastic=True), states_of(policy)
    noise = torch.randn(STATES, 3, generator=torch.Generator().manual_seed(3))
    [actions] = session_of(path).run(None, {"obs": states, "noise": noise.numpy()})
    drawn = policy.predict(states.astype(np.float64), deterministic=False, generator=torch.Generator().manual_seed(3))
    assert np.abs(actions - drawn[0]).max() <= 2 * TOLERANCE


def test_a_policy_without_deviation_is_not_stochastic(tmp_path):
    with pytest.raises(InputError, match="TD3 has no deviation"):
        policy_of("td3").to_onnx(tmp_path / "policy.onnx", stochastic=True)
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        policy_of("td3").to_onnx(tmp_path / "policy.zip")


def test_metadata_tell_a_controller_all(tmp_path):
    policy = policy_of("sac")
    facts = Deployment(
        control_hz=125.0, joint_names=("j0", "j1"), default_joint_pos=(0.1, -0.2), action_scale=(0.5,) * 3
    )
    entries = {entry.key: entry.value for entry in onnx.load(policy.to_onnx(tmp_path / "p.onnx", facts)).metadata_props}
    assert entries["observation_names"].split(",") == list(policy.interface.observation_names)
    assert entries["observation_units"] == ",".join(["rad"] * 11)
    assert entries["action_names"] == "j0.torque,j1.torque,j2.torque"
    assert entries["action_low"] == "-1.0,-0.4,-3.0"
    assert entries["control_hz"] == "125.0"
    assert entries["default_joint_pos"] == "0.1,-0.2"
    assert entries["action_scale"] == "0.5,0.5,0.5"
    assert entries["joint_stiffness"] == entries["command_names"] == ""
    assert entries["history_length"] == "1"
    assert entries["training_env"] == "hopper"
    assert entries["digest"] == policy.digest
    assert entries["interface_digest"] == policy.interface.digest()


CONTROLLER = """
import sys, gymnasium, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
env = gymnasium.make("InvertedPendulum-v5")
observation, total, done = env.reset(seed=5)[0], 0.0, False
while not done:
    [action] = session.run(None, {"obs": observation[None].astype(np.float32)})
    observation, reward, terminated, truncated, _ = env.step(action[0])
    total, done = total + reward, terminated or truncated
assert "torch" not in sys.modules and "trl_suite" not in sys.modules
print(total)
"""


def test_without_torch_the_policy_gets_the_same_return(tmp_path):
    import gymnasium

    policy = load("inverted-pendulum-ppo-seed-0")
    path = policy.to_onnx(tmp_path / "policy.onnx")
    command = [sys.executable, "-c", CONTROLLER, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    env = gymnasium.make("InvertedPendulum-v5")
    observation, total, ended = env.reset(seed=5)[0], 0.0, False
    while not ended:
        observation, reward, terminated, truncated, _ = env.step(policy.predict(observation)[0])
        total, ended = total + float(reward), terminated or truncated
    assert float(done.stdout) == pytest.approx(total, abs=1e-6)
    assert total > 100
