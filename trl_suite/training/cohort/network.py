"""Networks of all members, forward and backward, in batched products without autograd.

Axes: N = rows * members (all members' first networks first), B rows of a batch. The operations are the same for every
number of members and batched products do not mix members, so that a member's bits do not depend on who else is there.
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
    """The members' networks on parameters, writing their gradient into another stack of the same layout.

    What a call returns is overwritten by the next one with as many rows: what is to be kept longer is another object's.
    """

    def __init__(self, stack: Stack, gradient: Stack, activation: Activation) -> None:
        self._stack, self._gradient = stack, gradient
        self._tanh = activation == "tanh"
        self._trunks: dict[int, list[torch.Tensor]] = {}  # rows -> outputs of every trunk layer (N, rows, width)
        self._slopes: dict[int, list[torch.Tensor]] = {}  # rows -> the loss's slopes by them
        self._inward: dict[int, torch.Tensor] = {}  # rows -> the loss's slope by some of the inputs
        self._outputs: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # rows -> outputs, and the slopes by them
        self._inputs: dict[int, torch.Tensor] = {}

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Return the outputs (N, B, outputs) for what is seen (members, B, inputs); each head's from its lane on.

        The result is overwritten by the next call with as many rows.
        """
        rows, below = seen.shape[1], self._in_lines(seen)
        outputs, lane = self._given(rows)[0], self._stack.layout.lane
        scale = 2.0 if self._tanh else 1.0
        for depth, out in enumerate(self._trunk(rows)):
            self._product(depth, below, out, scale)
            _ = _tanh_(whole(out)) if self._tanh else whole(out).relu_()
            below = out
        for head in range(len(self._stack.layout.heads)):
            self._product(len(self._trunk(rows)) + head, below, outputs[..., head * lane : (head + 1) * lane], 1.0)
        return outputs

    def backward(self, seen: torch.Tensor, slope: torch.Tensor) -> None:
        """Write the gradient of all weights and biases, given the loss's slope by the outputs (N, B, outputs).

        `forward` must have been called with the same observations just before.
        """
        seen = self._in_lines(seen)
        trunk, lane = self._trunk(seen.shape[1]), self._stack.layout.lane
        top = trunk[-1] if trunk else seen
        for head in range(len(self._stack.layout.heads)):
            self._differentiate(len(trunk) + head, top, slope[..., head * lane : (head + 1) * lane])
        for depth in reversed(range(len(trunk))):
            slope = self._passed(depth, slope, trunk[depth])
            self._differentiate(depth, trunk[depth - 1] if depth else seen, slope)

    def inward(self, first: int, slope: torch.Tensor) -> torch.Tensor:
        """Return the loss's slope by the inputs from the `first` on (N, B, inputs); no gradient is written.

        Args:
            first: the first of the inputs asked for.
            slope: the loss's slope by the outputs (N, B, outputs); `forward` was called with as many rows just before.
        """
        rows = slope.shape[1]
        trunk, weight = self._trunk(rows), self._stack.weights[0][..., first:]
        for depth in reversed(range(len(trunk))):
            slope = self._passed(depth, slope, trunk[depth])
        if rows not in self._inward:
            self._inward[rows] = aligned((self._nets, rows, weight.shape[2]), self._stack.flat)
        return torch.bmm(slope, weight, out=self._inward[rows])

    def slopes(self, rows: int) -> torch.Tensor:
        """Return zeros of the shape of the outputs (N, rows, outputs), to be filled and given to `backward`."""
        return self._given(rows)[1]

    def _product(self, layer: int, below: torch.Tensor, out: torch.Tensor, scale: float) -> None:
        """Write a layer's outputs, times a scale."""
        weight, bias = self._stack.weights[layer], self._stack.biases[layer]
        for rows, inputs in self._rows(layer, below):
            torch.baddbmm(bias[rows], inputs, weight[rows].transpose(1, 2), beta=scale, alpha=scale, out=out[rows])

    def _differentiate(self, layer: int, below: torch.Tensor, slope: torch.Tensor) -> None:
        """Write the gradient of one layer, given the slope by its outputs."""
        weight, bias = self._gradient.weights[layer], self._gradient.biases[layer]
        for rows, inputs in self._rows(layer, below):
            torch.bmm(slope[rows].transpose(1, 2), inputs, out=weight[rows])
        torch.sum(slope, 1, keepdim=True, out=bias)

    def _passed(self, depth: int, slope: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return the slope below the activation of a trunk layer, given the one by what the layer above gives."""
        layout, weights = self._stack.layout, self._stack.weights
        passed = self._slopes[output.shape[1]][depth]
        if depth < len(layout.trunk) - 1:
            torch.bmm(slope, weights[depth + 1], out=passed)
        else:
            for head, weight in enumerate(weights[depth + 1 :]):
                own = slope[..., head * layout.lane : (head + 1) * layout.lane]
                _ = torch.baddbmm(passed, own, weight, out=passed) if head else torch.bmm(own, weight, out=passed)
        self._through(whole(passed), whole(output))
        return passed

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

    def _rows(self, layer: int, below: torch.Tensor) -> list[tuple[slice, torch.Tensor]]:
        """Return which networks see what: in the first layer all networks of a member see the same."""
        members = self._stack.members
        if len(below) > members or self._stack.flat.shape[0] == 1:
            return [(slice(None), below)]
        return [(slice(row * members, (row + 1) * members), below) for row in range(self._stack.flat.shape[0])]

    def _given(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return outputs and slopes by them for so many rows."""
        if rows not in self._outputs:
            shape = (self._nets, rows, self._stack.layout.width)
            self._outputs[rows] = aligned(shape, self._stack.flat), aligned(shape, self._stack.flat)
        return self._outputs[rows]

    def _trunk(self, rows: int) -> list[torch.Tensor]:
        """Return the outputs of the trunk's layers for so many rows."""
        if rows not in self._trunks:
            layout, like = self._stack.layout, self._stack.flat
            self._trunks[rows] = [aligned((self._nets, rows, width), like) for width in layout.hidden]
            self._slopes[rows] = [aligned((self._nets, rows, width), like) for width in layout.hidden]
        return self._trunks[rows]

    @property
    def _nets(self) -> int:
        return self._stack.flat.shape[0] * self._stack.members
