"""Plain fields of an SB3 zip: algorithm, spaces, activation and hyperparameters; its pickles are read as data."""

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, get_args

from trl_suite.algorithms.descriptor import AlgorithmDescriptor
from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import DESCRIPTORS, Algorithm, find
from trl_suite.errors import InputError
from trl_suite.files import reason_of
from trl_suite.interface import Spaces
from trl_suite.networks.activation_functions import ACTIVATIONS
from trl_suite.networks.formats import pickled, vecnormalize
from trl_suite.networks.formats.pickled import Instance
from trl_suite.networks.formats.zip_reader import Archive
from trl_suite.networks.input_norms import INPUT_NORM_EPSILON

FIELDS, FIELDS_MAX_BYTES = "data", 16 * 1024**2
TEXT_MAX_CHARACTERS = 120  # of a hyperparameter
BOUND_TOLERANCE = 1e-6  # relative: numpy writes eight digits of a bound
SERIALISED, TYPE = ":serialized:", ":type:"  # the keys under which SB3 keeps a pickle and the name of its class

Fields = Mapping[str, Any]


class Origin(NamedTuple):
    """An algorithm by its own name, and the one of the suite whose policies are the same; None: there is none."""

    name: str
    algorithm: Algorithm | None
    reason: str = ""  # why there is none


class _Mark(NamedTuple):
    """Fields, or the module of the policy's class, that one algorithm alone has."""

    origin: Origin
    fields: tuple[str, ...] = ()
    module: str = ""  # opens the name of the policy class's module


_OTHER_MARKS = (  # of algorithms that the suite has not; the most particular first
    _Mark(Origin("ARS", None, "it has no critic"), ("n_delta", "delta_std")),
    _Mark(Origin("ARS", None, "it has no critic"), module="sb3_contrib.ars"),
    _Mark(Origin("QR-DQN", None, "its actions are discrete"), module="sb3_contrib.qrdqn"),
    _Mark(Origin("DQN", None, "its actions are discrete"), ("exploration_fraction",)),
    _Mark(Origin("RecurrentPPO", None, "its networks are recurrent"), ("_last_lstm_states",)),
    _Mark(Origin("RecurrentPPO", None, "its networks are recurrent"), module="sb3_contrib.common.recurrent"),
    _Mark(Origin("MaskablePPO", None, "its actions are discrete"), module="sb3_contrib.common.maskable"),
    _Mark(Origin("TRPO", "ppo"), ("cg_max_steps",)),
)


def _marks() -> list[_Mark]:
    """Return the marks of the algorithms of the descriptors, the most particular first.

    A policy class that one algorithm alone has tells it; else fields do, of two algorithms with all theirs, those of
    the one with more.
    """
    modules = Counter(_module(descriptor) for descriptor in DESCRIPTORS.values())
    by_module, by_fields = list[_Mark](), list[_Mark]()
    for name, descriptor in DESCRIPTORS.items():
        if descriptor.sb3_extra and modules[_module(descriptor)] == 1:
            by_module.append(_Mark(Origin(name.upper(), name), module=_module(descriptor)))
        by_fields.append(_Mark(Origin(name.upper(), name), descriptor.zip_signs))
    return [*by_module, *sorted(by_fields, key=lambda mark: -len(mark.fields))]


def _module(descriptor: AlgorithmDescriptor) -> str:
    return descriptor.sb3_policy.rpartition(".")[0]


_MARKS = (*_OTHER_MARKS, *_marks())
_POLICY_CLASSES = {descriptor.sb3_policy for descriptor in DESCRIPTORS.values()}
_POLICY_MODULES = {path.rpartition(".")[0] for path in _POLICY_CLASSES}
_EXTRACTOR = "stable_baselines3.common.torch_layers.FlattenExtractor"
_TORCH_MODULE = "torch.nn."
_ACTIVATION_NAMES: Mapping[str, Activation] = {
    f"{f.module.__module__}.{f.module.__name__}": name for name, f in ACTIVATIONS.items()
}
_ADMITTED_IN_FIELDS = re.compile(  # names that spaces, arrays and frequencies need
    r"(gym|gymnasium)\.spaces\.[a-z_]+\.[A-Z][A-Za-z]+"
    r"|numpy\.(ndarray|dtype)|numpy\.(_core|core)\.(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer)"
    r"|numpy\.random\.\w+(\.\w+)?|(gym|gymnasium)\.utils\.seeding\.\w+"
    r"|stable_baselines3\.[\w.]+"
)


def read(archive: Archive, where: str) -> Fields:
    """Return the fields in `data` as plain JSON; a pickle among them stays a text.

    Raises:
        InputError: they are not JSON, or not a table.
    """
    if FIELDS not in archive.names:
        return {}
    try:
        table = json.loads(archive.read(FIELDS, FIELDS_MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: {FIELDS} is not JSON: {reason_of(error)}") from None
    if not isinstance(table, dict):
        raise InputError(f"{where}: {FIELDS} is not a table")
    return {str(key): value for key, value in table.items()}


def origin(fields: Fields, asserted: Algorithm | None, where: str) -> Origin:
    """Return which algorithm trained the policy.

    Args:
        fields: of the zip.
        asserted: the caller's word for it, which counts where the fields tell nothing.
        where: opens every message.

    Raises:
        InputError: it is none whose policies can be imported, the fields tell nothing and the caller neither, or they
            contradict the caller.
    """
    module = str(_table(fields, "policy_class").get("__module__", ""))
    marked = next((mark.origin for mark in _MARKS if _fits(mark, fields, module)), None)
    if marked is None:
        if asserted is None:
            choices = ", ".join(DESCRIPTORS)
            raise InputError(f"{where}: its plain fields do not tell the algorithm: give algorithm= one of {choices}")
        return Origin(asserted.upper(), asserted)
    if marked.algorithm is None:
        raise InputError(f"{where}: is a policy of {marked.name}, which cannot be imported: {marked.reason}")
    if asserted and marked.algorithm != asserted:
        read_as = "" if marked.name == marked.algorithm.upper() else f" (give algorithm={marked.algorithm})"
        raise InputError(f"{where}: is a policy of {marked.name} by its fields, not of {asserted.upper()}{read_as}")
    return marked._replace(name="DDPG") if _is_ddpg(marked, fields) else marked


def _fits(mark: _Mark, fields: Fields, module: str) -> bool:
    return module.startswith(mark.module) if mark.module else all(name in fields for name in mark.fields)


def _is_ddpg(origin: Origin, fields: Fields) -> bool:
    """Whether TD3's fields are those with which SB3 makes DDPG of it."""
    return origin.name == "TD3" and fields.get("policy_delay") == 1 and fields.get("target_noise_clip") == 0


def activation(fields: Fields, algorithm: Algorithm, asserted: Activation | None, where: str) -> Activation:
    """Return the function between the layers.

    Raises:
        InputError: it is none that a policy folder can hold, is not told, or contradicts the caller.
    """
    choices = ", ".join(get_args(Activation))
    if not isinstance(fields.get("policy_kwargs"), dict):
        if asserted is None:
            raise InputError(f"{where}: its plain fields do not tell the activation: give activation= one of {choices}")
        return asserted
    written = _table(fields, "policy_kwargs").get("activation_fn")
    stated = _ACTIVATION_NAMES.get(_class_path(written)) if written else find(algorithm).activation
    if stated is None:
        name = _class_name(written) if _class_path(written).startswith(_TORCH_MODULE) else _class_path(written)
        raise InputError(f"{where}: its activation is {name[:80]}; a policy folder can hold one of {choices}")
    if asserted and asserted != stated:
        raise InputError(f"{where}: its activation is {stated} by its fields, not {asserted}")
    return stated


def check_network(fields: Fields, where: str) -> None:
    """Refuse a policy that computes more than its layers do.

    Raises:
        InputError: its class, its features extractor or its exploration is none of SB3's MlpPolicy; it is named.
    """
    keywords = _table(fields, "policy_kwargs")
    if fields.get("use_sde") or str(keywords.get("use_sde")) == "True":
        raise InputError(f"{where}: uses state-dependent exploration (gSDE), which cannot be imported")
    if str(keywords.get("squash_output", False)) not in ("False", "None"):
        raise InputError(f"{where}: its actions are squashed by squash_output, which cannot be imported for PPO")
    if (
        str(keywords.get("batch_norm", True)) != "True"
        or keywords.get("batch_norm_eps", INPUT_NORM_EPSILON) != INPUT_NORM_EPSILON
    ):
        raise InputError(f"{where}: its layers normalise otherwise than CrossQ's own (batch_norm, batch_norm_eps)")
    extractor = keywords.get("features_extractor_class")
    if extractor is not None and _class_path(extractor) != _EXTRACTOR:
        path = _class_path(extractor)[:120]
        raise InputError(f"{where}: its features extractor is {path}; only SB3's FlattenExtractor changes nothing")
    _check_class(_table(fields, "policy_class"), where)


def _check_class(policy_class: Mapping[str, Any], where: str) -> None:
    """Refuse a policy class of somebody else's, by the name that is pickled or by its module."""
    module = policy_class.get("__module__")
    written = _unpickled(policy_class)
    if isinstance(written, pickled.Name) and written.path not in _POLICY_CLASSES:
        raise InputError(f"{where}: its policy is a {written.path[:120]}; only SB3's MlpPolicy can be imported")
    if module is not None and module not in _POLICY_MODULES:
        raise InputError(f"{where}: its policy class is of {str(module)[:120]}; only SB3's MlpPolicy can be imported")


class Box(NamedTuple):
    """Bounds of a space, number by number."""

    low: tuple[float, ...]
    high: tuple[float, ...]


def check_spaces(fields: Fields, spaces: Spaces, where: str) -> None:
    """Refuse a policy that saw or commanded other numbers than those of the env: it was trained behind a wrapper.

    Raises:
        InputError: sizes or bounds of the zip's own spaces are not the env's; both are shown.
    """
    if not fields:
        return  # the caller vouches for it: an algorithm and an activation were given
    action, observation = _box(fields, "action_space", where), _box(fields, "observation_space", where)
    sizes = len(observation.low), len(action.low)
    expected = len(spaces.interface.observation), len(spaces.interface.action)
    if sizes != expected:
        raise InputError(
            f"{where}: sees {sizes[0]} numbers and gives {sizes[1]}; {spaces.env} has {expected[0]} observations and "
            f"{expected[1]} actions: name the env that it was trained in{_size_hint(sizes[0], expected[0])}"
        )
    _check_bounds("actions", action, Box(spaces.action_low, spaces.action_high), spaces.env, where)
    if spaces.observation_low:
        expected_box = Box(spaces.observation_low, spaces.observation_high)
        _check_bounds("observations", observation, expected_box, spaces.env, where)


def _size_hint(size: int, expected: int) -> str:
    if size == expected + 1:
        return "; one more is what a wrapper adds that shows the time"
    if size > expected and size % expected == 0:
        return f"; {size // expected} times as many are what a stack of {size // expected} frames gives"
    return ""


def _check_bounds(kind: str, stated: Box, expected: Box, env: str, where: str) -> None:
    pairs = [*zip(stated.low, expected.low, strict=True), *zip(stated.high, expected.high, strict=True)]
    if all(a == b or math.isclose(a, b, rel_tol=BOUND_TOLERANCE, abs_tol=BOUND_TOLERANCE) for a, b in pairs):
        return
    raise InputError(
        f"{where}: its {kind} go from {_shown(stated.low)} to {_shown(stated.high)}, those of {env} from "
        f"{_shown(expected.low)} to {_shown(expected.high)}: it was trained behind a wrapper that changes them "
        "(RescaleAction, ...), or in another env"
    )


def _shown(bounds: tuple[float, ...]) -> str:
    same = len(set(bounds)) == 1
    return f"{bounds[0]:g}" if same else f"[{', '.join(f'{bound:g}' for bound in bounds[:8])}]"


def _box(fields: Fields, key: str, where: str) -> Box:
    """Return the bounds of a space, from its pickle's arrays, or from the text beside it where these are not to be had.

    Raises:
        InputError: it is no Box, or its bounds do not stand in it.
    """
    entry, kind = _table(fields, key), key.partition("_")[0]
    name = _class_name(entry.get(TYPE))
    if name != "Box":
        raise InputError(f"{where}: its {kind}s are {name or 'not told'}; only vectors (Box) can be imported")
    box = _box_of_pickle(_unpickled(entry)) or _box_of_text(entry)
    if box is None or len(box.low) != len(box.high) or any(map(math.isnan, (*box.low, *box.high))):
        raise InputError(f"{where}: the bounds of its {kind}s cannot be read")
    return box


def _box_of_pickle(space: Any) -> Box | None:
    if not (isinstance(space, Instance) and isinstance(space.state, dict)):
        return None
    try:
        low, high = (vecnormalize.array(space.state[name]).double().flatten().tolist() for name in ("low", "high"))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError):
        return None
    return Box(tuple(low), tuple(high))


def _box_of_text(entry: Mapping[str, Any]) -> Box | None:
    texts = [str(entry.get(name, "")) for name in ("low", "high")]
    if any("..." in text for text in texts):
        return None
    low, high = (tuple(_numbers(text)) for text in texts)
    return Box(low, high) if low else None


def was_normalised(fields: Fields, algorithm: Algorithm) -> bool:
    """Whether an on-policy learner's env was a VecNormalize: SB3 keeps an unnormalised observation only then.

    Of an off-policy one it always keeps one, so that its fields do not tell.
    """
    return find(algorithm).on_policy and SERIALISED in _table(fields, "_last_original_obs")


def hyperparameters(fields: Fields, algorithm: Algorithm) -> dict[str, Any]:
    """Return the algorithm's hyperparameters from the zip, by SB3's names; a schedule as its text."""
    values = {name: _plain(fields, name) for name in ("n_envs", *hyperparameter_names(algorithm))}
    return {name: value for name, value in values.items() if value is not None}


def _plain(fields: Fields, name: str) -> Any:
    value = fields.get(name)
    if isinstance(value, dict):
        reader = _PICKLED.get(name)
        return reader(value) if reader else None
    if isinstance(value, str):
        return value if len(value) <= TEXT_MAX_CHARACTERS and value.isprintable() else None
    if isinstance(value, int | float) and abs(value) < 2**63:  # false for nan too
        return value
    return None


def _schedule(entry: Mapping[str, Any]) -> float | str:
    """Return the number of a constant schedule, or how another one is written: `LinearSchedule(...)`."""
    text = str(entry.get("value_schedule", ""))
    if constant := re.fullmatch(r"ConstantSchedule\(val=([-+.\de]{1,30})\)", text):
        try:
            if math.isfinite(value := float(constant[1])):
                return value
        except ValueError:
            pass
    name = text if 0 < len(text) <= TEXT_MAX_CHARACTERS and text.isprintable() else _class_name(entry.get(TYPE))
    return name[:TEXT_MAX_CHARACTERS] if name.isprintable() and name else "schedule"


def _frequency(entry: Mapping[str, Any]) -> int | None:
    """Return the env steps between two trainings; None where it is counted in episodes."""
    value = _unpickled(entry)
    arguments = value.arguments if isinstance(value, Instance) else value
    match arguments:
        case (int(count), Instance(arguments=("step",))) | (int(count), "step") if 0 < count < 2**31:
            return count
        case _:
            return None


def _noise(entry: Mapping[str, Any]) -> float | None:
    """Return the one standard deviation of Gaussian noise around 0; None for any other noise."""
    mean, deviation = (set(_numbers(str(entry.get(name, "")))) for name in ("_mu", "_sigma"))
    plain = _class_name(entry.get(TYPE)) == "NormalActionNoise" and mean == {0.0} and len(deviation) == 1
    return deviation.pop() if plain else None


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[-+]?(?:inf|\d+\.?\d*(?:e[-+]?\d+)?)", text)]


_PICKLED: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    **dict.fromkeys(("learning_rate", "clip_range", "clip_range_vf"), _schedule),
    "train_freq": _frequency,
    "action_noise": _noise,
}


def _table(fields: Fields, name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def _class_path(written: Any) -> str:
    """Return `torch.nn.modules.activation.Tanh` for `<class 'torch.nn.modules.activation.Tanh'>`."""
    return re.sub(r"^<class '|'>$", "", str(written))


def _class_name(written: Any) -> str:
    return re.sub(r"\W+$", "", str(written or "")).rpartition(".")[2].rpartition("'")[2]


def _unpickled(entry: Mapping[str, Any]) -> Any:
    """Return the value of a pickle that is read as data; None where it is not one, or asks for more than arrays."""
    try:
        content = base64.b64decode(str(entry.get(SERIALISED, "")), validate=True)
        return pickled.read(content, lambda name: bool(_ADMITTED_IN_FIELDS.fullmatch(name)), FIELDS)
    except (InputError, binascii.Error, ValueError):
        return None


def hyperparameter_names(algorithm: Algorithm) -> tuple[str, ...]:
    """Return the hyperparameters that SB3's class takes, by its names."""
    descriptor = find(algorithm)
    return descriptor.zip_hyperparameters or ("learning_rate", "gamma", *descriptor.sb3_arguments)


def unknown(recorded: Iterable[str], algorithm: Algorithm) -> tuple[str, ...]:
    """Return the hyperparameters of SB3's class that are not among those recorded."""
    names = set(recorded)
    return tuple(name for name in hyperparameter_names(algorithm) if name not in names)
