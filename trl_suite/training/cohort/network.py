"""Actors and critics of all members, forward and backward, in batched products without autograd.

Axes: N = 2 * members (actors, then critics), B rows of a batch. The operations are the same for every number of members
and batched products do not mix members, so that a member's bits do not depend on who else is there.
"""

import torch

from trl_suite.networks.card import Activation
from trl_suite.training.cohort.layout import ALIGNMENT, aligned, whole
from trl_suite.training.cohort.stack import Stack

_MINUS_ONE = torch.tensor(-1.0)


def _tanh_(doubled: torch.Tensor) -> torch.Tensor:
    """Return tanh(z) in place of 2 z, as 2 sigmoid(2 z) - 1: torch's tanh takes three times as long without AVX-512."""
    return torch.add(_MINUS_ONE, doubled.sigmoid_(), alpha=2.0, out=doubled)


class Networks:
    """The members' networks on parameters, writing their gradient into another stack of the same layout."""

    def __init__(self, stack: Stack, gradient: Stack, activation: Activation) -> None:
        self._stack, self._gradient = stack, gradient
        self._tanh = activation == "tanh"
        self._activations: dict[int, list[torch.Tensor]] = {}  # rows -> outputs of every layer (N, rows, width)
        self._slopes: dict[int, list[torch.Tensor]] = {}  # rows -> the loss's slopes by them
        self._inputs: dict[int, torch.Tensor] = {}

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Return the outputs (N, B, outputs) for observations (members, B, slots); a critic's value is its first one.

        The result is overwritten by the next call with as many rows.
        """
        layers, below = self._buffers(seen.shape[1]), self._in_lines(seen)
        for depth, (weight, bias) in enumerate(zip(self._stack.weights, self._stack.biases, strict=True)):
            out = layers[depth]
            scale = 2.0 if self._tanh and depth < len(layers) - 1 else 1.0
            for rows, inputs in self._rows(depth, below):
                torch.baddbmm(bias[rows], inputs, weight[rows].transpose(1, 2), beta=scale, alpha=scale, out=out[rows])
            if depth < len(layers) - 1:
                _ = _tanh_(whole(out)) if self._tanh else whole(out).relu_()
            below = out
        return below

    def backward(self, seen: torch.Tensor, slope: torch.Tensor) -> None:
        """Write the gradient of all weights and biases, given the loss's slope by the outputs (N, B, outputs).

        `forward` must have been called with the same observations just before.
        """
        layers, seen = self._buffers(seen.shape[1]), self._in_lines(seen)
        for depth in reversed(range(len(layers))):
            below = layers[depth - 1] if depth else seen
            weight, bias = self._gradient.weights[depth], self._gradient.biases[depth]
            for rows, inputs in self._rows(depth, below):
                torch.bmm(slope[rows].transpose(1, 2), inputs, out=weight[rows])
            torch.sum(slope, 1, keepdim=True, out=bias)
            if depth:
                passed = self._slopes[seen.shape[1]][depth - 1]
                torch.bmm(slope, self._stack.weights[depth], out=passed)
                self._through(whole(passed), whole(below))
                slope = passed

    def slopes(self, rows: int) -> torch.Tensor:
        """Return zeros of the shape of the outputs (N, rows, outputs), to be filled and given to `backward`."""
        self._buffers(rows)
        return self._slopes[rows][-1]

    def _through(self, slope: torch.Tensor, output: torch.Tensor) -> None:
        """Turn the slope above an activation into the one below."""
        if self._tanh:
            torch.ops.aten.tanh_backward.grad_input(slope, output, grad_input=slope)
        else:
            torch.ops.aten.threshold_backward.grad_input(slope, output, 0.0, grad_input=slope)

    def _in_lines(self, seen: torch.Tensor) -> torch.Tensor:
        """Return the observations with rows of whole lines, as they are where they have them."""
        if seen.stride(1) % ALIGNMENT == 0:
            return seen
        held = self._inputs.setdefault(seen.shape[1], aligned(tuple(seen.shape), self._stack.flat))
        return held.copy_(seen)

    def _rows(self, depth: int, below: torch.Tensor) -> list[tuple[slice, torch.Tensor]]:
        """Return which networks see what: in the first layer actor and critic see the same observations."""
        if depth:
            return [(slice(None), below)]
        members = self._stack.members
        return [(slice(0, members), below), (slice(members, None), below)]

    def _buffers(self, rows: int) -> list[torch.Tensor]:
        if rows not in self._activations:
            layout, members = self._stack.layout, self._stack.members
            shapes = [(2 * members, rows, width) for width in (*layout.hidden, layout.outputs)]
            self._activations[rows] = [aligned(shape, self._stack.flat) for shape in shapes]
            self._slopes[rows] = [aligned(shape, self._stack.flat) for shape in shapes]
        return self._activations[rows]
