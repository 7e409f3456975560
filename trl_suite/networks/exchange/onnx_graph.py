"""Reading of an ONNX graph as a feed-forward policy: its nodes are followed, and none is executed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trl_suite.errors import InputError, located, printable, suggestion
from trl_suite.networks.exchange.feed_forward import SIDE_MAX, Floats, Inputs, Norm, Signal
from trl_suite.networks.exchange.onnx_export import ELU_ALPHA, LEAKY_SLOPE

NODES_MAX = 300  # of a policy's graph; one of ten layers has forty
LAYERS_MAX = 64
NAME_MAX_CHARACTERS = 200
METADATA_MAX_CHARACTERS = 1_000_000  # of one entry
OPSET_MIN = 7  # before, Add and the like had attributes for what they now do by themselves
_OUTPUTS = ("actions", "action", "output", "mean", "mu", "continuous_actions")  # of several, the first of these
_NUMBER_TYPES = {1: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}  # number in onnx.TensorProto -> numpy's


class Gate(NamedTuple):
    """sigmoid(x), which only x itself may be multiplied by."""

    of: Signal


Value = Any  # Signal, Gate or a constant array


class PolicyGraph(NamedTuple):
    """Content of an ONNX file: the policy from observation to actions, and its metadata."""

    actions: Signal
    observations: int
    metadata: Mapping[str, str]
    producer: str


def read(model: Any, where: str) -> PolicyGraph:
    """The policy in a parsed model.

    Raises:
        InputError: an operator, a tensor or an input is none of a plain feed-forward policy; it is named.
    """
    graph = model.graph
    _check_model(model, where)
    constants = {tensor.name: _array(tensor, where) for tensor in graph.initializer}
    name, size = _observation(graph, constants, where)
    values: dict[str, Value] = {**constants, name: Signal(Inputs.plain(size))}
    output = _output(graph, where)
    needed = _needed(graph, output)
    with np.errstate(all="ignore"):
        for node in graph.node:
            if needed.intersection(node.output):
                _follow(node, values, where)
    actions = values.get(output)
    if not isinstance(actions, Signal) or not actions.layers:
        raise InputError(f"{where}: its output '{_shown(output)}' is not computed by layers from its observation")
    entries = {entry.key: entry.value for entry in model.metadata_props}
    return PolicyGraph(actions.settled(), size, entries, model.producer_name)


def _check_model(model: Any, where: str) -> None:
    """Refuse what no feed-forward policy needs, by name, before any number is read."""
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        raise InputError(f"{where}: refused: functions, training or sparse tensors, which a policy's graph has not")
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
    if opset < OPSET_MIN:
        raise InputError(f"{where}: is of opset {opset}; {OPSET_MIN} or later can be read")
    if len(graph.node) > NODES_MAX:
        raise InputError(f"{where}: {len(graph.node)} nodes; a policy has {NODES_MAX} at most")
    for node in graph.node:
        if node.op_type not in _OPERATORS or node.domain not in ("", "ai.onnx"):
            operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            near = suggestion(node.op_type, _OPERATORS)
            listed = ", ".join(sorted(_OPERATORS))
            raise InputError(
                f"{where}: operator {_shown(operator)} (node '{_shown(node.name)}') is not of a plain feed-forward "
                f"policy{near}; read are {listed}"
            )
    if (layers := sum(node.op_type in ("Gemm", "MatMul") for node in graph.node)) > LAYERS_MAX:
        raise InputError(f"{where}: {layers} layers; a policy has {LAYERS_MAX} at most")
    names = Counter([*(name for node in graph.node for name in node.output), *(t.name for t in graph.initializer)])
    if twice := next((name for name, count in names.items() if count > 1), ""):
        raise InputError(f"{where}: '{_shown(twice)}' is computed or stored twice")
    for entry in model.metadata_props:
        if len(entry.key) > NAME_MAX_CHARACTERS or len(entry.value) > METADATA_MAX_CHARACTERS:
            raise InputError(f"{where}: its metadata '{_shown(entry.key)}' is longer than {METADATA_MAX_CHARACTERS}")


def _shown(name: str) -> str:
    return printable(name[:80])


def _array(tensor: Any, where: str) -> Floats:
    """The numbers of a tensor, whose size its dimensions must tell truly.

    Raises:
        InputError: it lies outside of the file, is too large, of another type, or has another size than it says.
    """
    named = f"{where}: tensor '{_shown(tensor.name)}'"
    if tensor.data_location == 1 or tensor.external_data:
        raise InputError(f"{named} lies in another file (external data), which is not read; save all in one file")
    shape = tuple(tensor.dims)
    if len(shape) > 2 or not all(0 < side <= SIDE_MAX for side in shape):
        raise InputError(f"{named} has shape {shape[:8]}; a policy's have two sides of {SIDE_MAX} at most")
    if tensor.data_type not in _NUMBER_TYPES:
        raise InputError(f"{named} is of type {tensor.data_type}; numbers of 16, 32 or 64 bits are read")
    values = _stored(tensor, named)
    if values.size != int(np.prod(shape, dtype=np.int64)):
        raise InputError(f"{named} says shape {shape} and holds {values.size} numbers")
    with np.errstate(invalid="ignore"):  # of a NaN that signals: it becomes a quiet one, which is refused
        return values.reshape(shape).astype(np.float64)


def _stored(tensor: Any, named: str) -> Any:
    number_type = np.dtype(_NUMBER_TYPES[tensor.data_type])
    if tensor.raw_data:
        if len(tensor.raw_data) % number_type.itemsize:
            raise InputError(f"{named} is cut off")
        return np.frombuffer(tensor.raw_data, number_type)
    if tensor.data_type == 10:  # halves lie in int32_data, bit by bit
        return np.array(tensor.int32_data, np.int64).astype(np.uint16).view(np.float16)
    lists = {1: tensor.float_data, 6: tensor.int32_data, 7: tensor.int64_data, 11: tensor.double_data}
    return np.array(lists[tensor.data_type], number_type)


def _observation(graph: Any, constants: Mapping[str, Any], where: str) -> tuple[str, int]:
    """Name and size of the graph's one input."""
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(_shown(value.name) for value in inputs) or "none"
        raise InputError(f"{where}: its inputs are {names}; a policy of one observation is read")
    [value] = inputs
    shape = value.type.tensor_type.shape.dim
    size = shape[1].dim_value if len(shape) == 2 else 0
    if not 0 < size <= SIDE_MAX:
        sides = ", ".join(_shown(side.dim_param) or str(side.dim_value) for side in shape) or "nothing"
        raise InputError(f"{where}: its input '{_shown(value.name)}' has shape ({sides}); (batch, numbers) is read")
    return value.name, int(size)


def _output(graph: Any, where: str) -> str:
    names = [value.name for value in graph.output]
    for name in names if len(names) == 1 else _OUTPUTS:
        if name in names:
            return name
    listed = ", ".join(map(_shown, names)) or "none"
    raise InputError(f"{where}: its outputs are {listed}; one is expected, or one that is named {', '.join(_OUTPUTS)}")


def _needed(graph: Any, output: str) -> set[str]:
    """Names of the values that the output depends on."""
    needed = {output}
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
    return needed


def _follow(node: Any, values: dict[str, Value], where: str) -> None:
    place = f"{where}: {node.op_type} (node '{_shown(node.name) or _shown(node.output[0])}')"
    attributes = {entry.name: _attribute(entry, place) for entry in node.attribute}
    inputs = [values[name] if name in values else _missing(name, place) for name in node.input]
    with located(place):
        result = _OPERATORS[node.op_type](_Call(inputs, attributes))
        if isinstance(result, np.ndarray) and not np.isfinite(result).all() and node.op_type != "Constant":
            raise InputError("gives numbers that are not finite")
    if len(node.output) != 1:
        raise InputError(f"{place} has {len(node.output)} outputs; one is read")
    values[node.output[0]] = result


def _missing(name: str, place: str) -> Value:
    if name:
        raise InputError(f"{place} reads '{_shown(name)}', which nothing before it gives")
    return None  # an optional input that was left out


def _attribute(entry: Any, place: str) -> Any:
    match entry.type:
        case 1:
            return float(entry.f)
        case 2:
            return int(entry.i)
        case 4:
            return _array(entry.t, place)
        case 6 | 7:
            return list(entry.floats if entry.type == 6 else entry.ints)
        case _:
            raise InputError(f"{place}: its attribute '{_shown(entry.name)}' is none that a policy needs")


@dataclass(frozen=True)
class _Call:
    """Inputs and attributes of one node."""

    inputs: list[Value]
    attributes: Mapping[str, Any]

    def signal(self, place: int = 0) -> Signal:
        """The input at a place, which must depend on the observation."""
        value = self.inputs[place] if place < len(self.inputs) else None
        if not isinstance(value, Signal):
            raise InputError(f"its input {place} does not come from the observation")
        return value

    def constant(self, place: int) -> Floats | None:
        """The input at a place, which must be a constant; None where it is left out."""
        value = self.inputs[place] if place < len(self.inputs) else None
        if value is not None and not isinstance(value, np.ndarray):
            raise InputError(f"its input {place} is computed, and a constant is needed there")
        return value

    def refuse_others(self, *names: str) -> None:
        """Refuse attributes that this reading does not know."""
        if others := sorted(set(self.attributes) - {*names}):
            raise InputError(f"its attribute '{_shown(others[0])}' is not read")


def _row(value: Floats, size: int) -> Floats:
    """A constant as one number, or one for each unit."""
    flat = value.reshape(-1)
    if len(flat) not in (1, size) or (value.ndim == 2 and value.shape[0] != 1):
        raise InputError(f"a constant of shape {value.shape} against {size} numbers of a row")
    if not np.isfinite(flat).all():
        raise InputError("a constant is not finite")
    return flat


def _gemm(call: _Call) -> Value:
    call.refuse_others("alpha", "beta", "transA", "transB")
    if call.attributes.get("transA", 0):
        raise InputError("transA: the observation's batch would become its slots")
    signal, matrix = call.signal(), call.constant(1)
    alpha, beta = (float(call.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    weight = _weight(matrix if call.attributes.get("transB", 0) else _turned(matrix), signal.size)
    weight = weight if alpha == 1.0 else weight * alpha
    bias = call.constant(2)
    return signal.linear(weight, np.zeros(len(weight)) if bias is None else _bias(bias, len(weight)) * beta)


def _turned(matrix: Floats | None) -> Floats | None:
    return None if matrix is None else matrix.T


def _weight(matrix: Floats | None, size: int) -> Floats:
    if matrix is None or matrix.ndim != 2 or matrix.shape[1] != size:
        shape = "nothing" if matrix is None else matrix.shape
        raise InputError(f"a weight of shape {shape} against {size} numbers of a row")
    if not np.isfinite(matrix).all():
        raise InputError("a weight is not finite")
    return matrix


def _bias(value: Floats, size: int) -> Floats:
    return np.broadcast_to(_row(value, size), (size,))


def _matmul(call: _Call) -> Value:
    call.refuse_others()
    signal = call.signal()
    weight = _weight(_turned(call.constant(1)), signal.size)
    return signal.linear(weight, np.zeros(len(weight)))


def _arithmetic(name: str) -> Callable[[_Call], Value]:
    def apply(call: _Call) -> Value:
        call.refuse_others()
        if len(call.inputs) != 2:
            raise InputError(f"has {len(call.inputs)} inputs; two are read")
        left, right = call.inputs
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            return _folded(name, left, right)
        if name == "Mul" and isinstance(left, Gate) != isinstance(right, Gate):
            return _swish(left, right)
        if isinstance(left, Signal) and isinstance(right, np.ndarray):
            return left.affine(*_factor_and_offset(name, _row(right, left.size)))
        if isinstance(right, Signal) and isinstance(left, np.ndarray) and name != "Div":
            factor, offset = _factor_and_offset(name, _row(left, right.size))
            return right.affine(factor, offset) if name != "Sub" else right.affine(-factor, -offset)
        raise InputError("combines two computed values: not a plain feed-forward policy (a residual, perhaps)")

    return apply


def _factor_and_offset(name: str, value: Floats) -> tuple[Floats, Floats]:
    """(factor, offset) of x op value; a constant minus x is the opposite of x minus the constant."""
    if name == "Div" and not np.all(value):
        raise InputError("divides by 0")
    match name:
        case "Add":
            return np.ones(1), value
        case "Sub":
            return np.ones(1), -value
        case "Mul":
            return value, np.zeros(1)
        case _:
            return 1.0 / value, np.zeros(1)


def _folded(name: str, left: Floats, right: Floats) -> Floats:
    """The result for two constants of one shape, or of which one is a single number: two others would grow."""
    if left.shape != right.shape and 1 not in (left.size, right.size):
        raise InputError(f"combines constants of shapes {left.shape} and {right.shape}")
    if max(left.size, right.size) > SIDE_MAX:
        raise InputError(f"computes with a constant of {max(left.size, right.size)} numbers; store the result")
    return {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[name](left, right)


def _swish(left: Value, right: Value) -> Value:
    gate, value = (left, right) if isinstance(left, Gate) else (right, left)
    if gate.of is not value:
        raise InputError("multiplies by a sigmoid of something else: only x sigmoid(x) is read")
    return value.activated("silu")


def _swish_operator(call: _Call) -> Value:
    call.refuse_others("alpha")
    _check_constant(call, "alpha", 1.0, 1.0)
    return call.signal().activated("silu")


def _check_constant(call: _Call, name: str, default: float, expected: float) -> None:
    value = float(call.attributes.get(name, default))
    if not np.isclose(value, expected, rtol=1e-6):
        raise InputError(f"{name} is {value:g}; a policy folder's networks have {expected:g}")


def _elu(call: _Call) -> Value:
    call.refuse_others("alpha")
    _check_constant(call, "alpha", 1.0, ELU_ALPHA)
    return call.signal().activated("elu")


def _leaky_relu(call: _Call) -> Value:
    call.refuse_others("alpha")
    _check_constant(call, "alpha", 0.01, LEAKY_SLOPE)
    return call.signal().activated("leaky_relu")


def _clip(call: _Call) -> Value:
    call.refuse_others("min", "max")
    signal, ends = call.signal(), list[Floats]()
    for place, (name, endless) in enumerate((("min", -np.inf), ("max", np.inf)), start=1):
        bound = call.constant(place)
        value = np.full(1, call.attributes.get(name, endless)) if bound is None else bound.reshape(-1)
        if len(value) != 1:
            raise InputError(f"{name} has {len(value)} numbers; one is read")
        ends.append(value)
    return _between(signal, *ends)


def _between(signal: Signal, low: Floats, high: Floats) -> Signal:
    if np.isnan(low).any() or np.isnan(high).any() or not np.all(low < high):
        raise InputError(f"clips from {low[0]:g} to {high[0]:g}: the lower bound is to lie below the upper one")
    return signal.clipped(low, high)


def _one_sided(upper: bool) -> Callable[[_Call], Value]:
    """Max and Min with a constant: a clip on one side."""

    def apply(call: _Call) -> Value:
        call.refuse_others()
        if len(call.inputs) != 2:
            raise InputError(f"has {len(call.inputs)} inputs; a computed value and a constant are read")
        place = 0 if isinstance(call.inputs[0], Signal) else 1
        signal, bound = call.signal(place), call.constant(1 - place)
        if bound is None or bound.size not in (1, signal.size):
            raise InputError("its constant has not one number for each unit")
        endless = np.full(1, np.inf)
        return _between(signal, *((-endless, bound.reshape(-1)) if upper else (bound.reshape(-1), endless)))

    return apply


def _layer_normalization(call: _Call) -> Value:
    call.refuse_others("axis", "epsilon", "stash_type")
    signal, scale, shift = call.signal(), call.constant(1), call.constant(2)
    if call.attributes.get("axis", -1) not in (-1, 1) or scale is None:
        raise InputError("normalises over another axis than the units of a layer")
    shift = np.zeros(1) if shift is None else shift
    epsilon = float(call.attributes.get("epsilon", 1e-5))
    return signal.normed(Norm(_bias(scale, signal.size), _bias(shift, signal.size), epsilon))


def _concat(call: _Call) -> Value:
    call.refuse_others("axis")
    if call.attributes.get("axis") not in (-1, 1):
        raise InputError("joins along another axis than the slots")
    return Signal.joined([call.signal(place) for place in range(len(call.inputs))])


def _slice(call: _Call) -> Value:
    call.refuse_others("starts", "ends", "axes")
    signal = call.signal()
    starts, ends, axes, steps = (
        _whole(call, place, name) for place, name in enumerate(("starts", "ends", "axes", "steps"), start=1)
    )
    if len(starts or ()) != 1 or len(ends or ()) != 1 or (axes or [0]) not in ([1], [-1]):
        raise InputError("cuts along another axis than the slots")
    assert starts is not None
    assert ends is not None
    step = (steps or [1])[0]
    if step == 0:
        raise InputError("cuts with a step of 0")
    places = np.arange(signal.size)[slice(starts[0], _end(ends[0], step, signal.size), step)]
    if not len(places):
        raise InputError(f"cuts nothing out of {signal.size} numbers")
    return signal.picked(places)


def _end(end: int, step: int, size: int) -> int | None:
    """ONNX's end as Python's: below -size, a backward cut goes down to the first."""
    return None if step < 0 and end < -size else end


def _whole(call: _Call, place: int, name: str) -> list[int] | None:
    value = call.attributes.get(name) if name in call.attributes else call.constant(place)
    return None if value is None else [int(number) for number in np.asarray(value).reshape(-1)]


def _tensor(call: _Call) -> Value:
    names = ("value", "value_float", "value_floats", "value_int", "value_ints")
    value = next((call.attributes[name] for name in names if name in call.attributes), None)
    if value is None:
        raise InputError("holds no tensor of numbers")
    return np.asarray(value, np.float64)


def _transpose(call: _Call) -> Value:
    call.refuse_others("perm")
    matrix = call.constant(0)
    if matrix is None or call.attributes.get("perm", [1, 0]) != [1, 0]:
        raise InputError("turns something else than a matrix of constants")
    return matrix.T


def _activation(name: Any) -> Callable[[_Call], Value]:
    def apply(call: _Call) -> Value:
        call.refuse_others()
        return call.signal().activated(name)

    return apply


def _root(call: _Call) -> Value:
    value = call.constant(0)
    if value is None or value.size > SIDE_MAX or np.any(value < 0):
        raise InputError("its number is missing or below 0")
    return np.sqrt(value)


_OPERATORS: Mapping[str, Callable[[_Call], Value]] = {
    **{name: _arithmetic(name) for name in ("Add", "Sub", "Mul", "Div")},
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _tensor,
    "Elu": _elu,
    "Gemm": _gemm,
    "Identity": lambda call: call.inputs[0],
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "Max": _one_sided(upper=False),
    "Min": _one_sided(upper=True),
    "Relu": _activation("relu"),
    "Sigmoid": lambda call: Gate(call.signal()),
    "Slice": _slice,
    "Sqrt": _root,
    "Swish": _swish_operator,
    "Tanh": _activation("tanh"),
    "Transpose": _transpose,
}
