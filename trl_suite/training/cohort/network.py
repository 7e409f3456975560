"""Networks of all members, forward and backward, in batched products without autograd.

Axes: N = rows * members (all members' first networks first), B rows of a batch. The operations are the same for every
number of members and batched products do not mix members, so that a member's bits do not depend on who else is there.

A small product takes no longer than making the views that it is called with: these are made once.
"""

from typing import NamedTuple

import torch

from trl_suite.networks.card import Activation
from trl_suite.training.cohort.layout import ALIGNMENT, aligned, whole
from trl_suite.training.cohort.stack import Stack

_MINUS_ONE = torch.tensor(-1.0)


def _tanh_(doubled: torch.Tensor) -> torch.Tensor:
    """Return tanh(z) in place of 2 z, as 2 sigmoid(2 z) - 1: torch's tanh takes three times as long without AVX-512."""
    return torch.add(_MINUS_ONE, doubled.sigmoid_(), alpha=2.0, out=doubled)


class _Buffers(NamedTuple):
    """What batches of one size are computed in."""

    inputs: torch.Tensor  # (members, B, inputs), for what does not come in whole lines
    outputs: torch.Tensor  # of the networks (N, B, width)
    trunk: list[torch.Tensor]  # outputs of every trunk layer (N, B, width)
    trunk_whole: list[torch.Tensor]  # the same in one stretch each
    into: list[list[torch.Tensor]]  # where each layer's products go
    slopes: list[torch.Tensor]  # the loss's slopes by the outputs of every trunk layer
    slopes_whole: list[torch.Tensor]
    given: torch.Tensor  # the loss's slope by the outputs (N, B, width)


class Networks:
    """The members' networks on parameters, writing their gradient into another stack of the same layout.

    What a call returns is overwritten by the next one with as many rows: what is to be kept longer is another object's.
    """

    def __init__(self, stack: Stack, gradient: Stack, activation: Activation) -> None:
        self._stack, self._tanh = stack, activation == "tanh"
        layout, self._nets = stack.layout, stack.flat.shape[0] * stack.members
        self._factors = [
            [(bias[part], weight[part].transpose(1, 2)) for part in self._parts(layer)]
            for layer, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True))
        ]
        self._gradients = [
            (bias, [weight[part] for part in self._parts(layer)])
            for layer, (weight, bias) in enumerate(zip(gradient.weights, gradient.biases, strict=True))
        ]
        self._lanes = [slice(head * layout.lane, (head + 1) * layout.lane) for head in range(len(layout.heads))]
        self._buffers: dict[int, _Buffers] = {}
        self._inward: dict[int, torch.Tensor] = {}  # rows -> the loss's slope by some of the inputs

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Return the outputs (N, B, outputs) for what is seen (members, B, inputs); each head's from its lane on.

        The result is overwritten by the next call with as many rows.
        """
        held = self._held(seen.shape[1])
        below, scale = self._in_lines(seen, held), 2.0 if self._tanh else 1.0
        for layer, out in enumerate(held.trunk):
            self._product(layer, below, held, scale)
            _ = _tanh_(held.trunk_whole[layer]) if self._tanh else held.trunk_whole[layer].relu_()
            below = out
        for layer in range(len(held.trunk), len(held.into)):
            self._product(layer, below, held, 1.0)
        return held.outputs

    def backward(self, seen: torch.Tensor, slope: torch.Tensor) -> None:
        """Write the gradient of all weights and biases, given the loss's slope by the outputs (N, B, outputs).

        `forward` must have been called with the same observations just before.
        """
        held = self._held(seen.shape[1])
        seen = self._in_lines(seen, held)
        top = held.trunk[-1] if held.trunk else seen
        for head, lane in enumerate(self._lanes):
            self._differentiate(len(held.trunk) + head, top, slope[..., lane])
        for layer in reversed(range(len(held.trunk))):
            slope = self._passed(layer, slope, held)
            self._differentiate(layer, held.trunk[layer - 1] if layer else seen, slope)

    def inward(self, first: int, slope: torch.Tensor) -> torch.Tensor:
        """Return the loss's slope by the inputs from the `first` on (N, B, inputs); no gradient is written.

        Args:
            first: the first of the inputs asked for.
            slope: the loss's slope by the outputs (N, B, outputs); `forward` was called with as many rows just before.
        """
        rows = slope.shape[1]
        held, weight = self._held(rows), self._stack.weights[0][..., first:]
        for layer in reversed(range(len(held.trunk))):
            slope = self._passed(layer, slope, held)
        if rows not in self._inward:
            self._inward[rows] = aligned((self._nets, rows, weight.shape[2]), self._stack.flat)
        return torch.bmm(slope, weight, out=self._inward[rows])

    def slopes(self, rows: int) -> torch.Tensor:
        """Return zeros of the shape of the outputs (N, rows, outputs), to be filled and given to `backward`."""
        return self._held(rows).given

    def _product(self, layer: int, below: torch.Tensor, held: _Buffers, scale: float) -> None:
        """Write a layer's outputs, times a scale."""
        for (bias, weight), out in zip(self._factors[layer], held.into[layer], strict=True):
            torch.baddbmm(bias, below, weight, beta=scale, alpha=scale, out=out)

    def _differentiate(self, layer: int, below: torch.Tensor, slope: torch.Tensor) -> None:
        """Write the gradient of one layer, given the slope by its outputs."""
        bias, weights = self._gradients[layer]
        turned = slope.transpose(1, 2)
        for weight, part in zip(weights, self._parts(layer), strict=True):
            torch.bmm(turned[part], below, out=weight)
        torch.sum(slope, 1, keepdim=True, out=bias)

    def _passed(self, layer: int, slope: torch.Tensor, held: _Buffers) -> torch.Tensor:
        """Return the slope below the activation of a trunk layer, given the one by what the layer above gives."""
        weights, passed = self._stack.weights, held.slopes[layer]
        if layer < len(held.trunk) - 1:
            torch.bmm(slope, weights[layer + 1], out=passed)
        else:
            for head, lane in enumerate(self._lanes):
                own, weight = slope[..., lane], weights[layer + 1 + head]
                _ = torch.baddbmm(passed, own, weight, out=passed) if head else torch.bmm(own, weight, out=passed)
        self._through(held.slopes_whole[layer], held.trunk_whole[layer])
        return passed

    def _through(self, slope: torch.Tensor, output: torch.Tensor) -> None:
        """Turn the slope above an activation into the one below."""
        if self._tanh:
            torch.ops.aten.tanh_backward.grad_input(slope, output, grad_input=slope)
        else:
            torch.ops.aten.threshold_backward.grad_input(slope, output, 0.0, grad_input=slope)

    def _in_lines(self, seen: torch.Tensor, held: _Buffers) -> torch.Tensor:
        """Return the observations with rows of whole lines, as they are where they have them."""
        return seen if seen.stride(1) % ALIGNMENT == 0 else held.inputs.copy_(seen)

    def _parts(self, layer: int) -> list[slice]:
        """Return which networks go through a product together: in the first layer those that see one tensor."""
        rows, members = self._stack.flat.shape[:2]
        shared = layer == 0 or not self._stack.layout.hidden
        return [slice(row * members, (row + 1) * members) for row in range(rows)] if shared else [slice(None)]

    def _held(self, rows: int) -> _Buffers:
        """Return what batches of so many rows are computed in."""
        if rows not in self._buffers:
            self._buffers[rows] = self._made(rows)
        return self._buffers[rows]

    def _made(self, rows: int) -> _Buffers:
        layout, like = self._stack.layout, self._stack.flat
        trunk, slopes = ([aligned((self._nets, rows, w), like) for w in layout.hidden] for _ in range(2))
        outputs, given = (aligned((self._nets, rows, layout.width), like) for _ in range(2))
        layers = [*trunk, *(outputs[..., lane] for lane in self._lanes)]
        return _Buffers(
            inputs=aligned((self._stack.members, rows, layout.inputs), like),
            outputs=outputs,
            trunk=trunk,
            trunk_whole=[whole(one) for one in trunk],
            into=[[out[part] for part in self._parts(layer)] for layer, out in enumerate(layers)],
            slopes=slopes,
            slopes_whole=[whole(one) for one in slopes],
            given=given,
        )
