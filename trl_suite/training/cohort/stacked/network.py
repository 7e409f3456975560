"""Networks of all members, forward and backward, in batched products without autograd.

Axes: N = rows * members (all members' first networks first), B rows of a batch. The operations are the same for every
number of members and batched products do not mix members, so that a member's bits do not depend on who else is there.

Where the outputs of a layer are large for one network, networks go through all layers one after the other, so that its
layers stay in the cache, and otherwise together. Large networks can be shared out to threads.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Self

import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.training.cohort.stacked import net_threads
from trl_suite.training.cohort.stacked.network_block import BatchBuffers, LayerMemory, NetworkBlock
from trl_suite.training.cohort.stacked.parameter_layout import aligned
from trl_suite.training.cohort.stacked.stack import Stack

BLOCK_BYTES = 2**16  # of the outputs of one network's layer, from which on networks are computed apart


class _Batch(NamedTuple):
    """Memory that batches of one size are computed in, and what computes them."""

    buffers: BatchBuffers
    blocks: list[NetworkBlock]
    nets: list[slice]  # those of each block


class _InputGrad(NamedTuple):
    """The loss's gradient by some inputs, and what computes it."""

    grad: torch.Tensor  # (N, B, inputs)
    tasks: list[Callable[[], None]]


class Networks:
    """The members' networks on parameters, writing their gradient into another stack of the same layout.

    What a call returns is overwritten by the next one with as many rows: what is to be kept longer is another object's.

    Args:
        stack: the parameters.
        gradient: of the same layout.
        activation: of the trunk's layers.
        learns: whether the way back is ever asked for; if not, networks share the memory of their layers.
    """

    def __init__(self, stack: Stack, gradient: Stack, activation: Activation, learns: bool = True) -> None:
        self._stack, self._gradient, self._learns = stack, gradient, learns
        self._activation: Activation = activation
        self._nets, self._threads = stack.flat.shape[0] * stack.members, net_threads.current()
        self._batches: dict[int, _Batch] = {}
        self._input_grads: dict[tuple[int, int], _InputGrad] = {}  # by rows, and the first input

    def of_row(self, row: int) -> Self:
        """Return the networks of one row alone, the critics of PPO for one, with memory of their own."""
        return type(self)(self._stack.row(row), self._gradient.row(row), self._activation, self._learns)

    def inputs(self, rows: int) -> torch.Tensor:
        """Return where inputs (members, rows, inputs) may be written that are then given to `forward`."""
        return self._batch(rows).buffers.inputs

    def output_grads(self, rows: int) -> torch.Tensor:
        """Return where the loss's gradient by the outputs (N, rows, outputs) is to be written; 0 in what is none."""
        return self._batch(rows).buffers.output_grads

    def forward(self, normalized_obs: torch.Tensor) -> torch.Tensor:
        """Return the outputs (N, B, outputs) for what is seen (members, B, inputs); each head's from its lane on."""
        buffers, blocks, _ = self._batch(normalized_obs.shape[1])
        if normalized_obs is not buffers.inputs:
            buffers.inputs.copy_(normalized_obs)
        self._threads.run([block.forward for block in blocks])
        return buffers.outputs

    def backward(self, rows: int) -> None:
        """Write the gradient of all weights and biases, given `output_grads`.

        `forward` must have been called with so many rows just before.
        """
        self._threads.run([block.backward for block in self._batch(rows).blocks])

    def input_grad(self, rows: int, first: int) -> torch.Tensor:
        """Return the loss's gradient by the inputs from the `first` on (N, rows, inputs), given `output_grads`.

        No gradient of weights is written. `forward` must have been called with so many rows just before.
        """
        if (rows, first) not in self._input_grads:
            self._input_grads[rows, first] = self._new_input_grad(rows, first)
        grad, tasks = self._input_grads[rows, first]
        self._threads.run(tasks)
        return grad

    def _new_input_grad(self, rows: int, first: int) -> _InputGrad:
        # two inputs at the least: a product of one row takes another path for one member than for several
        start = max(min(first, self._stack.layout.inputs - 2), 0)
        out = aligned((self._nets, self._stack.layout.inputs - start, rows), self._stack.flat)
        _, blocks, nets_of = self._batch(rows)
        tasks = [block.input_grad_task(start, out[nets]) for block, nets in zip(blocks, nets_of, strict=True)]
        runs = [partial(block.input_grad, task) for block, task in zip(blocks, tasks, strict=True)]
        return _InputGrad(out[:, first - start :].transpose(1, 2), runs)

    def _batch(self, rows: int) -> _Batch:
        """Return the memory and the blocks for batches of so many rows."""
        if rows not in self._batches:
            self._batches[rows] = self._new_batch(rows)
        return self._batches[rows]

    def _new_batch(self, rows: int) -> _Batch:
        layout, members, like = self._stack.layout, self._stack.members, self._stack.flat
        outputs, output_grads = (aligned((self._nets, rows, layout.width), like) for _ in range(2))
        buffers = BatchBuffers(aligned((members, rows, layout.inputs), like), outputs, output_grads)
        if self._apart(rows):
            return self._apart_batch(buffers, rows)
        memory = LayerMemory.new(self._stack, rows, self._activation)
        block = NetworkBlock(self._stack, self._gradient, self._activation, buffers, memory)
        return _Batch(buffers, [block], [slice(None)])

    def _apart_batch(self, buffers: BatchBuffers, rows: int) -> _Batch:
        """Return a batch whose networks are blocks of their own, those of a member beside each other."""
        batch, common = _Batch(buffers, [], []), None
        for net in sorted(range(self._nets), key=lambda net: net % self._stack.members):
            row, member = divmod(net, self._stack.members)
            stack, gradient = (stack.row(row).alone(member) for stack in (self._stack, self._gradient))
            memory = LayerMemory.new(stack, rows, self._activation)
            if common and self._threads.count == 1:
                memory = memory._replace(grads=common.grads) if self._learns else common
            common, nets, single = memory, slice(net, net + 1), self._stack.outputs(row) == 1
            of_net = buffers.of(slice(member, member + 1), nets)
            batch.blocks.append(NetworkBlock(stack, gradient, self._activation, of_net, memory, single))
            batch.nets.append(nets)
        return batch

    def _apart(self, rows: int) -> bool:
        """Return whether networks are computed one after the other; a device computes them side by side."""
        widest = max(self._stack.layout.hidden, default=0)
        large = rows * widest * self._stack.flat.element_size() >= BLOCK_BYTES
        return large and self._stack.flat.device.type == "cpu"
