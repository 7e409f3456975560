"""Networks of all members, forward and backward, in batched products without autograd.

Axes: N = rows * members (all members' first networks first), B rows of a batch. The operations are the same for every
number of members and batched products do not mix members, so that a member's bits do not depend on who else is there.

Where one member's layers fill the cache, members go through all layers one after the other, and otherwise together.
So large networks can be shared out to threads, where a cohort has more than one.
"""

from functools import partial
from typing import NamedTuple, Self

import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.training.cohort.stacked import net_threads
from trl_suite.training.cohort.stacked.network_block import NetworkBlock
from trl_suite.training.cohort.stacked.parameter_layout import ALIGNMENT, aligned
from trl_suite.training.cohort.stacked.stack import Stack

BLOCK_BYTES = 2**16  # of the outputs of one member's layer, from which on networks are computed apart


class _Part(NamedTuple):
    """Networks that are computed together, and which they are."""

    block: NetworkBlock
    members: slice
    nets: slice


class Networks:
    """The members' networks on parameters, writing their gradient into another stack of the same layout.

    What a call returns is overwritten by the next one with as many rows: what is to be kept longer is another object's.

    Args:
        stack: the parameters.
        gradient: of the same layout.
        activation: of the trunk's layers.
        learns: whether the way back is ever asked for; if not, members share the memory of their layers.
    """

    def __init__(self, stack: Stack, gradient: Stack, activation: Activation, learns: bool = True) -> None:
        self._stack, self._gradient, self._learns = stack, gradient, learns
        self._activation: Activation = activation
        self._nets, self._threads = stack.flat.shape[0] * stack.members, net_threads.current()
        self._batches: dict[int, _Batch] = {}
        self._input_grads: dict[int, torch.Tensor] = {}  # rows -> the loss's gradient by some of the inputs

    def of_row(self, row: int) -> Self:
        """Return the networks of one row alone, the critics of PPO for one, with memory of their own."""
        return type(self)(self._stack.row(row), self._gradient.row(row), self._activation, self._learns)

    def forward(self, normalized_obs: torch.Tensor) -> torch.Tensor:
        """Return the outputs (N, B, outputs) for what is seen (members, B, inputs); each head's from its lane on.

        The result is overwritten by the next call with as many rows.
        """
        batch = self._batch(normalized_obs.shape[1])
        normalized_obs = batch.in_lines(normalized_obs)
        self._threads.run([partial(part.block.forward, normalized_obs[part.members]) for part in batch.parts])
        return batch.outputs

    def backward(self, normalized_obs: torch.Tensor, grad: torch.Tensor) -> None:
        """Write the gradient of all weights and biases, given the loss's gradient by the outputs (N, B, outputs).

        `forward` must have been called with the same observations just before.
        """
        batch = self._batch(normalized_obs.shape[1])
        normalized_obs = batch.in_lines(normalized_obs)
        self._threads.run(
            [partial(part.block.backward, normalized_obs[part.members], grad[part.nets]) for part in batch.parts]
        )

    def input_grad(self, first: int, grad: torch.Tensor) -> torch.Tensor:
        """Return the loss's gradient by the inputs from the `first` on (N, B, inputs); no gradient is written.

        Args:
            first: the first of the inputs asked for.
            grad: the loss's gradient by the outputs (N, B, outputs); `forward` was just called with as many rows.
        """
        rows, count = grad.shape[1], self._stack.layout.inputs - first
        if rows not in self._input_grads:
            self._input_grads[rows] = aligned((self._nets, rows, count), self._stack.flat)
        out = self._input_grads[rows]
        self._threads.run(
            [partial(part.block.input_grad, first, grad[part.nets], out[part.nets]) for part in self._batch(rows).parts]
        )
        return out

    def output_grads(self, rows: int) -> torch.Tensor:
        """Return zeros of the shape of the outputs (N, rows, outputs), to be filled and given to `backward`."""
        return self._batch(rows).output_grads

    def _batch(self, rows: int) -> "_Batch":
        """Return the memory and the blocks for batches of so many rows."""
        if rows not in self._batches:
            self._batches[rows] = self._new_batch(rows)
        return self._batches[rows]

    def _new_batch(self, rows: int) -> "_Batch":
        layout, like = self._stack.layout, self._stack.flat
        outputs, output_grads = (aligned((self._nets, rows, layout.width), like) for _ in range(2))
        batch = _Batch(aligned((self._stack.members, rows, layout.inputs), like), outputs, output_grads)
        if not self._apart(rows):
            block = NetworkBlock(self._stack, self._gradient, self._activation, outputs)
            batch.parts = [_Part(block, slice(None), slice(None))]
        elif self._threads.count > 1:
            batch.parts = [part for row in range(self._stack.flat.shape[0]) for part in self._parts(outputs, row)]
        else:
            batch.parts = self._parts(outputs)
        return batch

    def _parts(self, outputs: torch.Tensor, row: int | None = None) -> list[_Part]:
        """Return the networks of every member, or those of one row alone, as blocks of their own."""
        parts: list[_Part] = []
        for member in range(self._stack.members):
            stacks = [stack.alone(member) for stack in (self._stack, self._gradient)]
            nets = slice(member, None, self._stack.members)
            if row is not None:
                stacks = [stack.row(row) for stack in stacks]
                nets = slice(row * self._stack.members + member, row * self._stack.members + member + 1)
            memory = parts[0].block if parts and not self._learns and self._threads.count == 1 else None
            block = NetworkBlock(stacks[0], stacks[1], self._activation, outputs[nets], memory)
            parts.append(_Part(block, slice(member, member + 1), nets))
        return parts

    def _apart(self, rows: int) -> bool:
        """Return whether networks are computed one after the other; a device computes them side by side."""
        widest = max(self._stack.layout.hidden, default=0)
        several = self._stack.members > 1 or self._threads.count > 1
        large = rows * widest * self._stack.flat.element_size() >= BLOCK_BYTES
        return large and several and self._stack.flat.device.type == "cpu"


class _Batch:
    """Memory that batches of one size are computed in.

    Args:
        inputs: (members, B, inputs), for what does not come in whole lines.
        outputs: of the networks (N, B, width).
        output_grads: the loss's gradient by the outputs (N, B, width).
    """

    def __init__(self, inputs: torch.Tensor, outputs: torch.Tensor, output_grads: torch.Tensor) -> None:
        self.outputs, self.output_grads = outputs, output_grads
        self.parts: list[_Part] = []
        self._inputs = inputs

    def in_lines(self, normalized_obs: torch.Tensor) -> torch.Tensor:
        """Return the observations with rows of whole lines, as they are where they have them."""
        return normalized_obs if normalized_obs.stride(1) % ALIGNMENT == 0 else self._inputs.copy_(normalized_obs)
