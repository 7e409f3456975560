"""SB3's VecNormalize file, read without unpickling it."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trl_suite.errors import InputError
from trl_suite.files import read_limited, reason_of
from trl_suite.networks.card import LARGEST, SMALLEST, Normaliser
from trl_suite.networks.components import OBSERVATION_STATISTICS, RETURN_STATISTICS
from trl_suite.networks.formats import pickled
from trl_suite.networks.formats.pickled import Instance

STATISTICS_MAX_BYTES = 64 * 1024**2
COUNT_BEFORE_FREEZE = "count_before_freeze"  # in a pickle of frozen statistics, whose count is out of all reach
Statistics = dict[str, dict[str, torch.Tensor]]

_ADMITTED_IN_VECNORMALIZE = re.compile(
    r"stable_baselines3\.common\.vec_env\.vec_normalize\.VecNormalize"
    r"|stable_baselines3\.common\.running_mean_std\.RunningMeanStd"
    r"|(gym|gymnasium)\.spaces\.[a-z_]+\.[A-Z][A-Za-z]+"
    r"|numpy\.(ndarray|dtype)|numpy\.(_core|core)\.(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer)"
    r"|numpy\.random\.\w+(\.\w+)?|(gym|gymnasium)\.utils\.seeding\.\w+"  # the spaces' generators, which nobody reads
    r"|collections\.OrderedDict"
)
_TYPES = {"f8": torch.float64, "f4": torch.float32, "i8": torch.int64, "i4": torch.int32}


def read(path: Path) -> tuple[Normaliser, Statistics]:
    """Return how a VecNormalize normalises, and its statistics as components in float64.

    Raises:
        InputError: the file is missing, too large, damaged, not a VecNormalize of flat observations, or asks for
            anything but arrays, spaces and SB3's two classes.
    """
    where = str(path)
    wrapper = pickled.read(_bytes(path), lambda name: bool(_ADMITTED_IN_VECNORMALIZE.fullmatch(name)), where)
    if not (
        isinstance(wrapper, Instance) and wrapper.maker.endswith(".VecNormalize") and isinstance(wrapper.state, dict)
    ):
        raise InputError(f"{where}: not a file that VecNormalize.save wrote")
    try:
        return _normaliser(wrapper.state), _statistics(wrapper.state)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
        reason = f"{type(error).__name__} {reason_of(error)}"
        raise InputError(f"{where}: not the statistics of a VecNormalize: {reason}") from None


def _bytes(path: Path) -> bytes:
    content = read_limited(path, STATISTICS_MAX_BYTES)
    if content[:2] == b"PK":
        raise InputError(f"{path}: is a zip; statistics are the file that VecNormalize.save wrote (vecnormalize.pkl)")
    return content


def _normaliser(state: dict[str, Any]) -> Normaliser:
    return Normaliser(
        observation=_truth(state["norm_obs"]),
        reward=_truth(state["norm_reward"]),
        clip_observation=_number("clip_obs", state),
        clip_reward=_number("clip_reward", state),
        epsilon=_number("epsilon", state),
        gamma=_number("gamma", state, least=0.0, most=1.0),
    )


def _statistics(state: dict[str, Any]) -> Statistics:
    sources = {OBSERVATION_STATISTICS: ("norm_obs", "obs_rms"), RETURN_STATISTICS: ("norm_reward", "ret_rms")}
    return {name: _running(state[key]) for name, (switch, key) in sources.items() if state[switch]}


def _running(instance: Any) -> dict[str, torch.Tensor]:
    if isinstance(instance, dict):
        raise ValueError("it normalises a dictionary of observations; only a flat vector can be read")
    state = {**instance.state, "count": instance.state.get(COUNT_BEFORE_FREEZE, instance.state["count"])}
    statistics = {name: array(state[name]).to(torch.float64) for name in ("mean", "var", "count")}
    if statistics["mean"].shape != statistics["var"].shape or statistics["count"].ndim or statistics["mean"].ndim > 1:
        raise ValueError("mean, var and count do not have the shapes of a vector's statistics")
    finite = all(bool(torch.isfinite(value).all()) for value in statistics.values())
    if not finite or any(bool((statistics[name] < 0).any()) for name in ("var", "count")):
        raise ValueError("mean, var and count are to be finite, var and count not below 0")
    return statistics


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("a switch that is neither True nor False")
    return value


def _number(name: str, state: Mapping[str, Any], least: float = SMALLEST, most: float = LARGEST) -> float:
    number = float(array(state[name]))
    if not least <= number <= most:  # so is not a number
        bounds = "a finite number above 0" if least else f"a number from {least} to {most}"
        raise ValueError(f"{name} is {number}; {bounds} expected")
    return number


def array(value: Any) -> torch.Tensor:
    """Return a number, or the array that numpy would have made: as its raw bytes say, and no further.

    Raises:
        ValueError: it is an array of another type, or its bytes are not as many as its shape says. What is no array
            at all ends in a TypeError, AttributeError, IndexError or KeyError.
    """
    if isinstance(value, bool):
        raise TypeError("a switch where a number is expected")
    if isinstance(value, int | float):
        return torch.tensor(float(value), dtype=torch.float64)
    if value.maker.endswith("._reconstruct"):
        _, shape, kind, fortran, raw = value.state
    elif value.maker.endswith("._frombuffer"):
        raw, kind, shape, order = value.arguments
        fortran = order == "F"
    else:
        (kind, raw), shape, fortran = value.arguments, (), False
    return _decoded(raw, _type(kind), tuple(shape), bool(fortran))


def _decoded(raw: Any, dtype: torch.dtype, shape: tuple[int, ...], fortran: bool) -> torch.Tensor:
    size = math.prod(shape)
    whole = isinstance(raw, bytes | bytearray) and len(raw) == size * dtype.itemsize
    if not whole or fortran or min(shape, default=1) < 0:
        raise ValueError(f"an array of {size} numbers whose bytes are not as many")
    return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape) if size else torch.zeros(shape, dtype=dtype)


def _type(kind: Any) -> torch.dtype:
    """Return the type of an array's numbers: `dtype('f8')` in the machine's own order of bytes."""
    code, state = kind.arguments[0], kind.state
    if code not in _TYPES or state[1] != "<":
        raise ValueError(f"an array of type {code!r}; {', '.join(_TYPES)} expected")
    return _TYPES[code]
