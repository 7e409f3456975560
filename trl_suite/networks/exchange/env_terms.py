"""A file's inputs and actions in terms of an env: its slots' normaliser, and its actions' bounds."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trl_suite.errors import InputError
from trl_suite.interface import Spaces
from trl_suite.networks.card import LARGEST, SMALLEST, Normaliser
from trl_suite.networks.exchange.feed_forward import Floats, Inputs, Layer, Signal
from trl_suite.networks.exchange.slot_fit import SlotFit

Indices = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
SQUASH_TOLERANCE = 1e-4  # of an action's bound, against the env's
EPSILON = 1e-8  # VecNormalize's


@dataclass(frozen=True, eq=False)
class SeenInputs:
    """An env's observation as the first layer sees it."""

    slots: Indices  # (first layer's inputs,): each one's place among the env's observations; -1 of a constant
    sign: Floats  # (first layer's inputs,): -1 where the negative of an observation goes in
    constants: Floats  # (first layer's inputs,): the numbers that no observation changes
    mean: Floats
    var: Floats
    normaliser: Normaliser | None  # None where the observation is taken as it is

    def into(self, layer: Layer) -> Layer:
        """The layer on the env's slots."""
        weight, used = np.zeros((len(self.mean), len(layer.bias))), self.slots >= 0
        np.add.at(weight, self.slots[used], (layer.weight * self.sign).T[used])
        return replace(layer, weight=weight.T, bias=layer.weight @ self.constants + layer.bias)


def seen(inputs: Inputs, fit: SlotFit, names: tuple[str, ...], where: str) -> SeenInputs:
    """The file's inputs on the env's slots.

    Args:
        inputs: of the file: clip(scale x + shift, low, high).
        fit: the file's x = factor y + offset of the env's y.
        names: of the env's slots.
        where: opens every message.

    Raises:
        InputError: an observation is used twice with different scales, or clipped otherwise than a normaliser does.
    """
    scale = inputs.scale * fit.factor[inputs.columns]
    shift = inputs.scale * fit.offset[inputs.columns] + inputs.shift
    sign, live = np.where(scale < 0, -1.0, 1.0), scale != 0
    low, high = np.where(sign < 0, -inputs.high, inputs.low), np.where(sign < 0, -inputs.low, inputs.high)
    terms = np.stack([scale * sign, shift * sign, low, high])  # (4, inputs)
    terms_of_slot = np.tile(np.array([[1.0], [0.0], [-np.inf], [np.inf]]), len(names))  # (4, env observations)
    slots = np.full(len(scale), -1)
    for place, index in enumerate(fit.observation):
        uses = np.flatnonzero(live & (inputs.columns == index)) if index is not None else np.zeros(0, np.int64)
        if len(uses):
            terms_of_slot[:, place] = terms[:, uses[0]]
            slots[uses] = place
            if not np.array_equal(terms[:, uses], np.repeat(terms[:, uses[:1]], len(uses), 1)):
                raise InputError(f"{where}: uses {names[place]} twice, scaled or clipped in different ways")
    used = np.isin(np.arange(len(names)), slots)
    constants = np.where(live, 0.0, np.clip(shift, inputs.low, inputs.high))
    mean, var, normaliser = _statistics(terms_of_slot, used, where)
    return SeenInputs(slots, sign, constants, mean, var, normaliser)


def _statistics(terms_of_slot: Floats, used: Booleans, where: str) -> tuple[Floats, Floats, Normaliser | None]:
    """Mean and variance such that (y - mean) / sqrt(var + epsilon) = scale y + shift, and how they are applied."""
    scale, shift, low, high = terms_of_slot
    clip = _one_clip(low[used], high[used], where)
    mean, square = -shift / scale, 1.0 / scale**2
    if not (np.isfinite(mean).all() and np.isfinite(square).all() and np.all(square > 0)):
        raise InputError(f"{where}: scales an observation beyond what numbers can hold")
    epsilon = EPSILON if np.all(square > EPSILON) else SMALLEST
    plain = clip == LARGEST and np.all(scale == 1.0) and np.all(shift == 0.0)
    normaliser = Normaliser(
        observation=True, reward=False, clip_observation=clip, clip_reward=10.0, epsilon=epsilon, gamma=0.99
    )
    return mean, np.maximum(square - epsilon, 0.0), None if plain else normaliser


def _one_clip(low: Floats, high: Floats, where: str) -> float:
    """The bound c of a clip to +-c of all observations; `LARGEST` where nothing is clipped."""
    if np.all(np.isneginf(low)) and np.all(np.isposinf(high)):
        return LARGEST
    if not (np.all(high == high[0]) and np.all(low == -high[0]) and 0 < high[0] <= LARGEST):
        raise InputError(
            f"{where}: clips observations from {low.min():g} .. {low.max():g} to {high.min():g} .. {high.max():g}; a "
            "policy folder's normaliser clips all to one +-bound"
        )
    return float(high[0])


@dataclass(frozen=True, eq=False)
class BoundedHead:
    """The last layer, and how its outputs are bounded."""

    layer: Layer
    squashed: bool  # by tanh into the bounds, else clipped to them
    low: tuple[float, ...]
    high: tuple[float, ...]


def bounded_head(actions: Signal, fit: SlotFit, spaces: Spaces, where: str) -> BoundedHead:
    """The head in the env's actions.

    Raises:
        InputError: a function other than tanh follows it, or it gives other bounds than the env's.
    """
    layer, rows = actions.layers[-1], list(fit.action)
    if layer.norm is not None or layer.activation not in (None, "tanh"):
        name = layer.activation or "LayerNormalization"
        raise InputError(f"{where}: its actions go through {name}; a policy clips them or squashes them with tanh")
    factor, offset = (np.broadcast_to(value, (actions.size,))[rows] for value in (actions.factor, actions.offset))
    factor, offset = factor * fit.action_factor, offset * fit.action_factor + fit.action_offset
    weight, bias = layer.weight[rows], layer.bias[rows]
    clip = _clip(actions, rows, fit)
    if layer.activation is None:
        moved = Layer(weight * factor[:, None], bias * factor + offset)
        return _clipped(moved, clip, spaces, where)
    sign = np.where(factor < 0, -1.0, 1.0)  # tanh(-x) = -tanh(x)
    turned = Layer(weight * sign[:, None], bias * sign)
    return _squashed(turned, offset - abs(factor), offset + abs(factor), clip, spaces, where)


def _clip(actions: Signal, rows: list[int], fit: SlotFit) -> tuple[Floats, Floats]:
    """The clip behind all else, in the env's actions; endless where there is none."""
    if actions.low is None or actions.high is None:
        endless = np.full(len(rows), np.inf)
        return -endless, endless
    ends = np.stack([actions.low[rows], actions.high[rows]]) * fit.action_factor + fit.action_offset
    return ends.min(axis=0), ends.max(axis=0)


def _clipped(layer: Layer, clip: tuple[Floats, Floats], spaces: Spaces, where: str) -> BoundedHead:
    """Of the file's clip and the env's, the narrower."""
    low, high = np.maximum(clip[0], spaces.action_low), np.minimum(clip[1], spaces.action_high)
    if not np.all(low < high):
        raise InputError(f"{where}: clips its actions to {_range(*clip)}, and {spaces.env} takes {_env_range(spaces)}")
    return BoundedHead(layer, False, tuple(map(float, low)), tuple(map(float, high)))


def _squashed(
    layer: Layer, low: Floats, high: Floats, clip: tuple[Floats, Floats], spaces: Spaces, where: str
) -> BoundedHead:
    width = high - low
    expected = np.array(spaces.action_low), np.array(spaces.action_high)
    gap = max(abs(low - expected[0]).max(), abs(high - expected[1]).max())
    if not gap <= SQUASH_TOLERANCE * max(1.0, width.max()):
        raise InputError(
            f"{where}: squashes its actions into {_range(low, high)}, and {spaces.env} takes {_env_range(spaces)}"
        )
    if np.any(clip[0] > low + SQUASH_TOLERANCE * width) or np.any(clip[1] < high - SQUASH_TOLERANCE * width):
        raise InputError(
            f"{where}: squashes its actions into {_range(low, high)} and then clips them to {_range(*clip)}"
        )
    return BoundedHead(layer, True, spaces.action_low, spaces.action_high)


def _range(low: Floats, high: Floats) -> str:
    return f"[{_numbers(low)}, {_numbers(high)}]"


def _numbers(values: Floats) -> str:
    return f"{values[0]:g}" if np.all(values == values[0]) else f"{values.min():g}..{values.max():g}"


def _env_range(spaces: Spaces) -> str:
    return _range(np.array(spaces.action_low), np.array(spaces.action_high))
