"""A feed-forward policy as data: inputs scaled and clipped one by one, layers, and how the outputs are bounded.

Each operation gives a new value; what is no feed-forward policy is refused. Numbers are float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.errors import InputError

Floats = npt.NDArray[np.float64]
SIDE_MAX = 65_536  # units of a layer, as in a card
WEIGHTS_MAX = 4 * 1024**2  # of all layers together
PRODUCT_MAX = 2_000_000  # multiplications by which two layers become one


@dataclass(frozen=True, eq=False)
class Inputs:
    """For each column its place in the observation, and x -> clip(scale x + shift, low, high)."""

    columns: npt.NDArray[np.int64]
    scale: Floats
    shift: Floats
    low: Floats
    high: Floats

    @classmethod
    def plain(cls, size: int) -> Inputs:
        """The observation as it is."""
        endless = np.full(size, np.inf)
        return cls(np.arange(size), np.ones(size), np.zeros(size), -endless, endless)

    def picked(self, places: Any) -> Inputs:
        """Columns at these places."""
        return Inputs(self.columns[places], self.scale[places], self.shift[places], self.low[places], self.high[places])

    @classmethod
    def joined(cls, parts: Sequence[Inputs]) -> Inputs:
        """Columns of all parts, one after another."""
        names = ("columns", "scale", "shift", "low", "high")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @property
    def unclipped(self) -> bool:
        """Whether no column has been clipped."""
        return bool(np.all(np.isneginf(self.low)) and np.all(np.isposinf(self.high)))


@dataclass(frozen=True, eq=False)
class Norm:
    """Layer normalisation: scale (x - mean) / sqrt(var + epsilon) + shift over the units of a layer."""

    scale: Floats
    shift: Floats
    epsilon: float


@dataclass(frozen=True, eq=False)
class Layer:
    """W x + b, then perhaps a normalisation and a function."""

    weight: Floats  # (outputs, inputs)
    bias: Floats
    norm: Norm | None = None
    activation: Activation | None = None

    @property
    def open(self) -> bool:
        """Whether nothing follows W x + b, so that what is linear can still be folded in."""
        return self.norm is None and self.activation is None


@dataclass(frozen=True, eq=False)
class Signal:
    """A value of the graph, (batch, size): inputs, layers, and then factor x + offset, clipped."""

    inputs: Inputs
    layers: tuple[Layer, ...] = ()
    factor: Floats = field(default_factory=lambda: np.ones(1))
    offset: Floats = field(default_factory=lambda: np.zeros(1))
    low: Floats | None = None  # of a clip behind a layer
    high: Floats | None = None

    @property
    def size(self) -> int:
        """Numbers of one row."""
        return len(self.layers[-1].bias) if self.layers else len(self.inputs.columns)

    def affine(self, factor: Floats, offset: Floats) -> Signal:
        """The value times factor plus offset, element by element; folded into a layer once something follows."""
        if self.low is not None:
            raise InputError("scales what was clipped behind a layer")
        return replace(self, factor=self.factor * factor, offset=self.offset * factor + offset)

    def settled(self) -> Signal:
        """The same value with its scaling in the inputs or in the last layer, where that is linear."""
        if self._unscaled:
            return self
        factor, offset = self._scaling()
        if not self.layers and self.inputs.unclipped:
            inputs = self.inputs
            return Signal(replace(inputs, scale=inputs.scale * factor, shift=inputs.shift * factor + offset))
        if self.layers and self.layers[-1].open:
            last = self.layers[-1]
            moved = replace(last, weight=last.weight * factor[:, None], bias=last.bias * factor + offset)
            return Signal(self.inputs, (*self.layers[:-1], moved), low=self.low, high=self.high)
        return self

    def clipped(self, low: Floats, high: Floats) -> Signal:
        """The value between two bounds."""
        low, high = (np.broadcast_to(value, (self.size,)).astype(np.float64) for value in (low, high))
        if self.layers:
            if self.low is not None and self.high is not None:
                low, high = np.maximum(self.low, low), np.minimum(self.high, high)
            return replace(self, low=low, high=high)
        signal = self.settled()
        if not signal._unscaled:
            raise InputError("clips inputs that were scaled after a clip")
        inputs = signal.inputs
        narrowed = replace(inputs, low=np.clip(inputs.low, low, high), high=np.clip(inputs.high, low, high))
        return replace(signal, inputs=narrowed)

    def picked(self, places: Any) -> Signal:
        """Some of the numbers."""
        signal = self.settled()
        factor, offset = signal._scaling()
        if not signal.layers:
            return Signal(signal.inputs.picked(places), (), factor[places], offset[places])
        if not signal.layers[-1].open or signal.low is not None:
            raise InputError("takes some of a hidden layer's units: not a plain feed-forward policy")
        last = signal.layers[-1]
        rows = replace(last, weight=last.weight[places], bias=last.bias[places])
        return Signal(signal.inputs, (*signal.layers[:-1], rows))

    @classmethod
    def joined(cls, parts: Sequence[Signal]) -> Signal:
        """Several parts of the observation side by side."""
        if any(part.layers for part in parts):
            raise InputError("joins what layers have computed: not a plain feed-forward policy")
        if (size := sum(part.size for part in parts)) > SIDE_MAX:
            raise InputError(f"joins to {size} numbers; {SIDE_MAX} are the most")
        settled = [part.settled() for part in parts]
        factors, offsets = zip(*(part._scaling() for part in settled), strict=True)
        return cls(
            Inputs.joined([part.inputs for part in settled]), (), np.concatenate(factors), np.concatenate(offsets)
        )

    def linear(self, weight: Floats, bias: Floats) -> Signal:
        """W x + b of the value."""
        if self.low is not None:
            raise InputError("is a layer behind a clip: not a plain feed-forward policy")
        signal = self.settled()
        if not signal._unscaled:
            factor, offset = signal._scaling()
            bias, weight = weight @ offset + bias, weight * factor
        if not (signal.layers and signal.layers[-1].open):
            return signal._with((*signal.layers, Layer(weight, bias)))
        last = signal.layers[-1]  # two in a row are one
        if weight.shape[0] * last.weight.size > PRODUCT_MAX:
            raise InputError("follows another layer without a function between them, and both are too large to be one")
        product = Layer(weight @ last.weight, weight @ last.bias + bias)
        return signal._with((*signal.layers[:-1], product))

    def _with(self, layers: tuple[Layer, ...]) -> Signal:
        if (numbers := sum(layer.weight.size for layer in layers)) > WEIGHTS_MAX:
            raise InputError(f"its layers have {numbers} weights together; {WEIGHTS_MAX} are the most")
        return Signal(self.inputs, layers)

    def normed(self, norm: Norm) -> Signal:
        """The layer normalisation of the value."""
        return self._ended(norm=norm)

    def activated(self, activation: Activation) -> Signal:
        """A function of the value."""
        return self._ended(activation=activation)

    def _ended(self, **changes: Any) -> Signal:
        signal = self.settled()
        last = signal.layers[-1] if signal.layers else None
        if last is None or signal.low is not None or not signal._unscaled or last.activation is not None:
            raise InputError("does not stand directly behind a layer: not a plain feed-forward policy")
        if "norm" in changes and last.norm is not None:
            raise InputError("normalises a layer twice")
        return replace(signal, layers=(*signal.layers[:-1], replace(last, **changes)))

    def _scaling(self) -> tuple[Floats, Floats]:
        return np.broadcast_to(self.factor, (self.size,)), np.broadcast_to(self.offset, (self.size,))

    @property
    def _unscaled(self) -> bool:
        return bool(np.all(self.factor == 1.0) and np.all(self.offset == 0.0))
