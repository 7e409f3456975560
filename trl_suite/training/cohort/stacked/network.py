"""Networks of all members, forward and backward, in batched products without autograd.

Axes: N = rows * members (all members' first networks first), B rows of a batch. The operations are the same for every
number of members and batched products do not mix members, so that a member's bits do not depend on who else is there.

Where one member's layers fill the cache, members go through all layers one after the other, and otherwise together.
"""

from typing import Self

import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.training.cohort.stacked.network_block import NetworkBlock
from trl_suite.training.cohort.stacked.parameter_layout import ALIGNMENT, aligned
from trl_suite.training.cohort.stacked.stack import Stack

BLOCK_BYTES = 2**17  # of the outputs of one member's layer, from which on members are computed apart: a cache has more


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
        self._stack, self._gradient, self._activation, self._learns = stack, gradient, activation, learns
        self._nets = stack.flat.shape[0] * stack.members
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
        for block, members in batch.blocks:
            block.forward(normalized_obs[members])
        return batch.outputs

    def backward(self, normalized_obs: torch.Tensor, grad: torch.Tensor) -> None:
        """Write the gradient of all weights and biases, given the loss's gradient by the outputs (N, B, outputs).

        `forward` must have been called with the same observations just before.
        """
        batch = self._batch(normalized_obs.shape[1])
        normalized_obs = batch.in_lines(normalized_obs)
        for block, members in batch.blocks:
            block.backward(normalized_obs[members], self._of(grad, members))

    def input_grad(self, first: int, grad: torch.Tensor) -> torch.Tensor:
        """Return the loss's gradient by the inputs from the `first` on (N, B, inputs); no gradient is written.

        Args:
            first: the first of the inputs asked for.
            grad: the loss's gradient by the outputs (N, B, outputs); `forward` was just called with as many rows.
        """
        rows, count = grad.shape[1], self._stack.layout.inputs - first
        if rows not in self._input_grads:
            self._input_grads[rows] = aligned((self._nets, rows, count), self._stack.flat)
        for block, members in self._batch(rows).blocks:
            block.input_grad(first, self._of(grad, members), self._of(self._input_grads[rows], members))
        return self._input_grads[rows]

    def output_grads(self, rows: int) -> torch.Tensor:
        """Return zeros of the shape of the outputs (N, rows, outputs), to be filled and given to `backward`."""
        return self._batch(rows).output_grads

    def _of(self, nets: torch.Tensor, members: slice) -> torch.Tensor:
        """Return what belongs to some members' networks, of (N, ...)."""
        if members == slice(None):
            return nets
        return nets[members.start :: self._stack.members]

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
            batch.blocks = [(block, slice(None))]
            return batch
        shared: NetworkBlock | None = None
        for member in range(self._stack.members):
            members = slice(member, member + 1)
            block = NetworkBlock(
                self._stack.alone(member),
                self._gradient.alone(member),
                self._activation,
                self._of(outputs, members),
                None if self._learns else shared,
            )
            shared = shared or block
            batch.blocks.append((block, members))
        return batch

    def _apart(self, rows: int) -> bool:
        """Return whether members are computed one after the other; a device computes them side by side."""
        widest = max(self._stack.layout.hidden, default=0)
        large = rows * widest * self._stack.flat.element_size() >= BLOCK_BYTES
        return large and self._stack.members > 1 and self._stack.flat.device.type == "cpu"


class _Batch:
    """Memory that batches of one size are computed in.

    Args:
        inputs: (members, B, inputs), for what does not come in whole lines.
        outputs: of the networks (N, B, width).
        output_grads: the loss's gradient by the outputs (N, B, width).
    """

    def __init__(self, inputs: torch.Tensor, outputs: torch.Tensor, output_grads: torch.Tensor) -> None:
        self.outputs, self.output_grads = outputs, output_grads
        self.blocks: list[tuple[NetworkBlock, slice]] = []  # and their members
        self._inputs = inputs

    def in_lines(self, normalized_obs: torch.Tensor) -> torch.Tensor:
        """Return the observations with rows of whole lines, as they are where they have them."""
        return normalized_obs if normalized_obs.stride(1) % ALIGNMENT == 0 else self._inputs.copy_(normalized_obs)
