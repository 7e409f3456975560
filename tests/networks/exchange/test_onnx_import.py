"""Import of ONNX files made here and elsewhere: the same function comes in, everything else is refused by name."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import gymnasium
import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import DESCRIPTORS
from trl_suite.errors import InputError
from trl_suite.interface import Deployment, Interface, Slot, Spaces
from trl_suite.networks.exchange import onnx_file, onnx_import
from trl_suite.networks.policy import Policy

TOLERANCE = 2e-6
LEGS = ("hip", "knee", "ankle")
FACTS = Deployment(
    control_hz=50.0, action_scale=(1.0,) * 3, action_offset=(0.0,) * 3, joint_names=LEGS, default_joint_pos=(0.0,) * 3
)


def spaces(bound: float = 1.0) -> Spaces:
    observation = tuple(
        Slot(f"{joint}.{kind}", unit) for kind, unit in (("position", "rad"), ("velocity", "rad/s")) for joint in LEGS
    )
    action = tuple(Slot(f"{joint}.control", "1") for joint in LEGS)
    return Spaces("robot", Interface(observation=observation, action=action), (-bound,) * 3, (bound,) * 3)


class Elsewhere:
    """A graph as another exporter writes it."""

    def __init__(self, seed: int = 0) -> None:
        self.rng, self.nodes, self.numbers, self.at = np.random.default_rng(seed), [], [], "obs"

    def const(self, value: Any, number_type: Any = np.float32) -> str:
        name = f"c{len(self.numbers)}"
        self.numbers.append(numpy_helper.from_array(np.asarray(value, number_type), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        self.at = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [self.at], name=f"n{len(self.nodes)}", **attributes))
        return self.at

    def random(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape) / max(shape[-1], 1) ** 0.5

    def gemm(self, outputs: int, inputs: int) -> str:
        weight, bias = self.const(self.random(outputs, inputs)), self.const(self.random(outputs))
        return self.add("Gemm", self.at, weight, bias, transB=1)

    def matmul(self, outputs: int, inputs: int) -> str:
        self.add("MatMul", self.at, self.const(self.random(inputs, outputs)))
        return self.add("Add", self.at, self.const(self.random(outputs)))

    def model(self, observations: int = 6, actions: int = 3, opset: int = 18, **metadata: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["batch", observations])],
            [helper.make_tensor_value_info(self.at, TensorProto.FLOAT, ["batch", actions])],
            self.numbers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        helper.set_model_props(model, metadata)
        return model


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "policy.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def load(path: Path, bound: float = 1.0, facts: Deployment = FACTS, **options: Any) -> onnx_import.ImportedPolicy:
    return onnx_import.load(path, spaces(bound), facts, **options)


def agrees(path: Path, policy: Policy, file_of: Callable[[np.ndarray], np.ndarray] = lambda states: states) -> None:
    """onnxruntime on the file's own numbers gives what `predict` gives on the env's."""
    states = np.random.default_rng(3).standard_normal((1_000, 6)) * 3
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [actions] = session.run(None, {"obs": file_of(states).astype(np.float32)})
    low, high = policy.card.network.action_low, policy.card.network.action_high
    assert np.abs(np.clip(actions, low, high) - policy.predict(states.astype(np.float32))[0]).max() < TOLERANCE


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("algorithm", DESCRIPTORS)
def test_what_goes_out_comes_in(algorithm, activation, tmp_path):
    from tests.networks.exchange.test_onnx_export import policy_of, states_of

    policy = policy_of(algorithm, activation)
    place = Spaces("hopper", policy.interface, policy.card.network.action_low, policy.card.network.action_high)
    imported, notes = onnx_import.load(policy.to_onnx(tmp_path / "policy.onnx"), place, Deployment())
    states = states_of(policy).astype(np.float64)
    assert np.abs(imported.predict(states)[0] - policy.predict(states)[0]).max() < TOLERANCE
    assert imported.card.algorithm == algorithm
    assert imported.card.network.actor_only
    assert not notes
    mean = policy.components["normaliser.observation"]["mean"].numpy()
    assert imported.components["normaliser.observation"]["mean"].numpy() == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("form", ["Elu", "Relu", "Tanh", "LeakyRelu", "Sigmoid", "Swish"])
def test_an_exporters_normaliser_and_layers_come_in(form, tmp_path):
    """rsl_rl's: (x - mean) / (std + eps), Gemm with transB; the constant sum is left to the runtime."""
    graph = Elsewhere()
    graph.add("Sub", "obs", graph.const(graph.random(1, 6)))
    centred = graph.at
    graph.add("Add", graph.const(np.abs(graph.random(1, 6)) + 0.2), graph.const(0.01))
    graph.add("Div", centred, graph.at)
    for outputs, inputs in ((8, 6), (5, 8)):
        value = graph.gemm(outputs, inputs)
        if form == "Sigmoid":
            graph.add("Mul", graph.add("Sigmoid", value), value)
        else:
            graph.add(form, value)
    graph.gemm(3, 5)
    path = saved(graph.model(opset=24 if form == "Swish" else 18), tmp_path)
    policy, _ = load(path)
    assert policy.card.network.activation == {"Sigmoid": "silu", "Swish": "silu", "LeakyRelu": "leaky_relu"}.get(
        form, form.lower()
    )
    assert policy.card.algorithm == "ppo"
    assert set(policy.components) == {"actor.trunk.0", "actor.trunk.1", "actor.head", "normaliser.observation"}
    if form != "Swish":  # onnxruntime has it in later versions
        agrees(path, policy)


def test_matmul_slice_concat_layer_norm_and_squashing_come_in(tmp_path):
    graph = Elsewhere(1)
    ends = [graph.const(value, np.int64) for value in ([0], [2], [6], [1])]
    left = graph.add("Slice", "obs", ends[0], ends[1], ends[3])
    right = graph.add("Slice", "obs", ends[1], ends[2], ends[3])
    scaled = graph.add("Mul", right, graph.const([0.5, -2.0, 1.0, 3.0]))
    graph.add("Concat", scaled, left, axis=-1)
    graph.add("Clip", graph.at, graph.const(-5.0), graph.const(5.0))
    for outputs, inputs in ((7, 6), (4, 7)):
        graph.matmul(outputs, inputs)
        graph.add(
            "LayerNormalization",
            graph.at,
            graph.const(graph.random(outputs)),
            graph.const(graph.random(outputs)),
            axis=-1,
        )
        graph.add("Elu", graph.at)
    graph.matmul(3, 4)
    graph.add("Tanh", graph.at)
    graph.add("Mul", graph.at, graph.const([-2.0]))
    path = saved(graph.model(), tmp_path)
    policy, _ = load(path, bound=2.0)
    assert policy.card.algorithm == "td3"
    assert policy.card.network.layer_norm
    assert policy.components["actor.trunk.1.norm"]["weight"].shape == (4,)
    assert policy.card.normaliser.clip_observation == 5.0
    agrees(path, policy)
    again, _ = load(policy.to_onnx(tmp_path / "again.onnx"), bound=2.0)
    agrees(path, again)


def test_metadata_in_mjlabs_form_are_matched_by_name(tmp_path):
    """Terms instead of slots, joints in another order, positions relative to the default pose, a scale of actions."""
    graph = Elsewhere(2)
    graph.gemm(8, 6)
    graph.add("Elu", graph.at)
    graph.gemm(3, 8)
    model = graph.model(
        observation_names="joint_pos,joint_vel", joint_names="knee,ankle,hip", default_joint_pos="0.100,-0.200,0.300",
        action_scale="0.500,0.500,0.250",
    )  # fmt: skip
    path = saved(model, tmp_path)
    policy, notes = load(path, bound=10.0)
    order = np.array([1, 2, 0])
    pose = np.array([0.1, -0.2, 0.3])

    def file_of(states: np.ndarray) -> np.ndarray:
        return np.concatenate([states[:, :3][:, order] - pose, states[:, 3:][:, order]], axis=1)

    states = np.random.default_rng(3).standard_normal((100, 6)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [actions] = session.run(None, {"obs": file_of(states).astype(np.float32)})
    expected = actions[:, np.argsort(order)] * np.array([0.25, 0.5, 0.5])
    assert np.abs(expected - policy.predict(states)[0]).max() < TOLERANCE
    text = "\n".join(notes)
    assert "observations reordered: hip.position is number 2" in text
    assert "actions reordered: hip.control is number 2" in text
    assert "knee: relative to 0.1 in the file, to 0 in robot: folded in" in text
    assert "hip.control: action_scale 0.25 in the file, 1 in robot: folded in" in text


def plain(folder: Path, **metadata: str) -> Path:
    graph = Elsewhere(4)
    graph.gemm(4, 6)
    graph.add("Tanh", graph.at)
    graph.gemm(3, 4)
    return saved(graph.model(**metadata), folder)


NAMES = ",".join(slot.name for slot in spaces().interface.observation)


def test_degrees_are_folded_in_and_other_quantities_refused(tmp_path):
    path = plain(tmp_path, observation_names=NAMES, observation_units="deg,rad,rad,rad/s,rad/s,rpm")
    policy, notes = load(path)
    factors = np.array([180 / np.pi, 1, 1, 1, 1, 60 / (2 * np.pi)])
    agrees(path, policy, lambda states: states * factors)
    assert notes[1] == "hip.position: deg in the file, rad in robot: folded in (57.2958)"
    with pytest.raises(InputError, match=r"hip\.position is in m, and hip\.position of robot in rad"):
        load(plain(tmp_path, observation_names=NAMES, observation_units="m,rad,rad,rad/s,rad/s,rad/s"))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"history_length": "3"}, r"a history of 3 control steps \(6 numbers\); robot shows 1"),
        (
            {"joint_names": "hip,knee,ankle", "default_joint_pos": "0.3,0,0"},
            r"default_joint_pos of hip is 0\.3, and 0 in robot",
        ),
        (
            {"observation_names": NAMES.replace("hip.position", "hip_l.position")},
            r"observes hip_l\.position \(did you mean 'hip\.position'\?\), which robot has not; --alias",
        ),
        ({"action_names": "hip,knee,toe"}, "moves toe, which robot has not"),
        ({"action_scale": "1,two"}, "'action_scale' is to be a list of numbers, not '1,two'"),
        ({"action_scale": "inf"}, "'action_scale' holds a number that is not finite"),
        ({"joint_names": "hip,knee,ankle", "joint_stiffness": "20,20,20"}, "joint_stiffness is 20 in the file and 0"),
    ],
)
def test_differences_that_no_scale_makes_up_for_are_refused(metadata, message, tmp_path):
    facts = msgspec.structs.replace(FACTS, joint_stiffness=(0.0,) * 3)
    with pytest.raises(InputError, match=message) as error:
        load(plain(tmp_path, **metadata), facts=facts)
    assert "\n" not in str(error.value)


def test_an_alias_pairs_names_and_a_rate_is_told(tmp_path):
    path = plain(tmp_path, observation_names=NAMES.replace("hip", "FL_hip"), control_hz="200.0")
    policy, notes = load(path, alias={"hip": "FL_hip"})
    agrees(path, policy)
    assert "control rate: 200 Hz in the file, 50 Hz in robot: not changed" in notes


def test_the_bounds_of_a_squashed_policy_are_the_envs(tmp_path):
    graph = Elsewhere()
    graph.gemm(3, 6)
    graph.add("Tanh", graph.at)
    with pytest.raises(InputError, match=r"squashes its actions into \[-1, 1\], and robot takes \[-3, 3\]"):
        load(saved(graph.model(), tmp_path), bound=3.0)


def node_of(operator: str, **attributes: Any) -> onnx.ModelProto:
    graph = Elsewhere()
    graph.gemm(4, 6)
    graph.add(operator, graph.at, **attributes)
    graph.gemm(3, 4)
    return graph.model()


@pytest.mark.parametrize(
    "operator", ["Softmax", "Conv", "LSTM", "GRU", "If", "Loop", "Scan", "Gather", "Softplus", "Cast"]
)
def test_other_operators_are_refused_by_name(operator, tmp_path):
    with pytest.raises(InputError, match=rf"operator {operator} \(node 'n1'\) is not of a plain feed-forward policy"):
        load(saved(node_of(operator), tmp_path))


def external(model: onnx.ModelProto) -> onnx.ModelProto:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return model


def huge(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.initializer[0].dims[:] = [1 << 40, 1 << 40]
    return model


def shortened(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-8]
    return model


def not_finite(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.initializer[0].raw_data = b"\x00\x00\xc0\x7f" * 24
    return model


def second_input(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.input.append(helper.make_tensor_value_info("time_step", TensorProto.FLOAT, ["batch", 1]))
    return model


def cycle(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[0].input[0] = model.graph.node[-1].output[0]
    return model


def local_function(model: onnx.ModelProto) -> onnx.ModelProto:
    model.functions.append(helper.make_function("x", "f", [], [], [], []))
    return model


def foreign_domain(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.node[1].domain = "com.microsoft"
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external, r"tensor 'c0' lies in another file \(external data\)"),
        (huge, "tensor 'c0' has shape"),
        (shortened, "tensor 'c0' says shape"),
        (not_finite, "a weight is not finite"),
        (second_input, "its inputs are obs, time_step"),
        (cycle, "which nothing before it gives"),
        (local_function, "refused: functions"),
        (foreign_domain, r"operator com\.microsoft\.Tanh"),
    ],
)
def test_crafted_files_are_refused_by_name(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load(saved(change(node_of("Tanh")), tmp_path))


def test_residuals_and_mixed_layers_are_refused_by_name(tmp_path):
    graph = Elsewhere()
    graph.gemm(6, 6)
    graph.add("Add", graph.at, "obs")
    with pytest.raises(InputError, match="combines two computed values"):
        load(saved(graph.model(actions=6), tmp_path))
    graph = Elsewhere()
    for outputs, inputs, form in ((4, 6, "Tanh"), (4, 4, "Relu")):
        graph.gemm(outputs, inputs)
        graph.add(form, graph.at)
    graph.gemm(3, 4)
    with pytest.raises(InputError, match="behind its hidden layers stand relu, tanh"):
        load(saved(graph.model(), tmp_path))
    with pytest.raises(InputError, match="alpha is 2; a policy folder's networks have 1"):
        load(saved(node_of("Elu", alpha=2.0), tmp_path))


def field(number: int, content: bytes) -> bytes:
    size, length = b"", len(content)
    while True:
        size += bytes([(length & 0x7F) | (0x80 if length > 127 else 0)])
        length >>= 7
        if not length:
            return bytes([number << 3 | 2]) + size + content


BOMBS = {
    "nodes": field(7, field(1, b"") * 5_000_000),
    "metadata": field(14, b"") * 5_000_000,
    "integers": field(7, field(5, field(7, b"\x01" * 12_000_000))),
    "levels": field(7, field(1, field(5, field(6, field(1, field(5, field(6, field(1, field(5, field(6, b"")))))))))),
    "length": field(7, b"")[:-1] + b"\xff\xff\xff\xff\x7f",
    "text": b"# not onnx at all\n" * 100,
    "nothing": b"",
    "pickle": b"\x80\x04\x95abc",
    "zip": b"PK\x03\x04abc",
    "large": b"\x00" * (onnx_file.ONNX_MAX_BYTES + 1),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_are_parsed(name, tmp_path):
    path = tmp_path / "policy.onnx"
    path.write_bytes(BOMBS[name])
    start = time.process_time()
    with pytest.raises(InputError) as error:
        load(path)
    assert time.process_time() - start < 1.0
    assert "\n" not in str(error.value)


def refusal(path: Path) -> str:
    """The message by which a file is refused; nothing where it is taken."""
    try:
        load(path)
    except InputError as error:
        return str(error)
    return ""


VALID = node_of("Tanh").SerializeToString()


def quickest(path: Path) -> float:
    """Seconds of the processor that a file takes, the least of three: garbage of other tests may be collected."""
    seconds: list[float] = []
    while len(seconds) < 3 and min(seconds, default=1.0) >= 1.0:
        start = time.process_time()
        refusal(path)
        seconds.append(time.process_time() - start)
    return min(seconds)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of what other tests left, collected while this one runs
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(data, tmp_path):
    content = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "double"])):
            case "flip":
                content[place] = data.draw(st.integers(0, 255))
            case "cut":
                del content[place : place + data.draw(st.integers(1, 40))]
            case "insert":
                content[place:place] = data.draw(st.binary(min_size=1, max_size=20))
            case "double":
                content[place:place] = content[place : place + data.draw(st.integers(1, 200))]
        if not content:
            return
    path = tmp_path / "policy.onnx"
    path.write_bytes(bytes(content))
    assert refusal(path).isprintable()
    assert quickest(path) < 1.0


def test_many_layers_of_the_same_large_weight_cost_neither_time_nor_memory(tmp_path):
    graph = Elsewhere()
    graph.gemm(1_500, 6)
    weight = graph.const(np.zeros((1_500, 1_500)))
    for _ in range(60):
        graph.add("Gemm", graph.at, weight)
    path = saved(graph.model(actions=1_500), tmp_path)
    assert "both are too large to be one" in refusal(path)
    assert quickest(path) < 1.0


PEAK = """
import resource, sys
from pathlib import Path
import numpy, onnx, torch  # before the measurement, as any process that reads policies has them
from trl_suite.errors import InputError
from trl_suite.interface import Deployment, Interface, Slot, Spaces
from trl_suite.networks.exchange import onnx_import
slots = tuple(Slot(f"s{i}", "1") for i in range(6))
spaces = Spaces("robot", Interface(observation=slots, action=slots[:3]), (-1.0,) * 3, (1.0,) * 3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    onnx_import.load(Path(sys.argv[1]), spaces, Deployment())
except InputError:
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def wide() -> bytes:
    """As many weights as a file may have, in half precision, which grow fourfold."""
    graph = Elsewhere()
    for outputs, inputs in ((2_048, 6), (2_048, 2_048)):
        weight = graph.const(np.zeros((outputs, inputs)), np.float16)
        graph.add("Gemm", graph.at, weight, transB=1)
        graph.add("Tanh", graph.at)
    graph.const(np.zeros((2_048, 1_600)), np.float16)
    graph.gemm(3, 2_048)
    return graph.model().SerializeToString()


@pytest.mark.parametrize("content", [BOMBS["nodes"], BOMBS["integers"], wide()], ids=["nodes", "integers", "wide"])
def test_no_file_takes_more_than_200_megabytes(content, tmp_path):
    path = tmp_path / "policy.onnx"
    path.write_bytes(content)
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 200


def elsewhere_of(policy: Policy) -> onnx.ModelProto:
    """The policy as rsl_rl's exporter writes one: its operators, sensors and motors in another order, names beside."""
    slots = policy.interface
    seen, moved = (list(reversed(range(len(side)))) for side in (slots.observation, slots.action))
    statistics, graph = policy.components["normaliser.observation"], Elsewhere()
    graph.add("Sub", "obs", graph.const(statistics["mean"].numpy()[seen]))
    graph.add("Div", graph.at, graph.const(np.sqrt(statistics["var"].numpy()[seen] + policy.card.normaliser.epsilon)))
    graph.add("Clip", graph.at, graph.const(-10.0), graph.const(10.0))
    for name in ("actor.trunk.0", "actor.trunk.1", "actor.head"):
        weight, bias = (policy.components[name][tensor].numpy() for tensor in ("weight", "bias"))
        weight = weight[:, seen] if name == "actor.trunk.0" else weight
        rows = moved if name == "actor.head" else slice(None)
        graph.add("Gemm", graph.at, graph.const(weight[rows]), graph.const(bias[rows]), transB=1)
        if name != "actor.head":
            graph.add("Tanh", graph.at)
    observations = ",".join(slots.observation_names[i] for i in seen)
    actions = ",".join(slots.action_names[i] for i in moved)
    return graph.model(len(seen), len(moved), observation_names=observations, action_names=actions)


def test_what_came_in_is_transplanted_into_a_payload_target_and_learns(tmp_path):
    import trl_suite

    shipped = trl_suite.load_policy("hopper-ppo-seed-0")
    path = saved(elsewhere_of(shipped), tmp_path)
    source = trl_suite.load_policy(path, env="hopper")
    states = np.random.default_rng(0).standard_normal((50, 11))
    assert np.abs(source.predict(states)[0] - shipped.predict(states)[0]).max() < 1e-5
    env = make_vec_env(lambda: gymnasium.make("trl_suite/Hopper-v0", mass={"body": "torso", "scale": 1.5}), n_envs=2)
    model = PPO("MlpPolicy", VecNormalize(env), n_steps=64, batch_size=64, seed=0, device="cpu")
    with pytest.raises(InputError, match="the source is an actor alone"):
        trl_suite.transplant(source, into=model, method="finetune")
    record = trl_suite.transplant(source, into=model, method="actor-only")
    assert {"actor.trunk.0", "actor.trunk.1", "actor.head", "normaliser.observation"} <= set(record.copied)
    assert "critic.trunk.0" in record.fresh
    before = model.policy.action_net.weight.detach().clone()
    model.learn(256)
    assert not torch.equal(before, model.policy.action_net.weight)
    assert evaluate_policy(model, model.get_env(), n_eval_episodes=2)[0] > 100  # a fresh one falls after 20 steps
