"""Networks of some members, all layers of which are computed together.

Axes: N = rows * members (all members' first networks first), B rows of a batch.

A small product takes no longer than making the views that it is called with: all of them are made once.
"""

from typing import NamedTuple

import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.training.cohort.stacked.layer_activations import LAYER_ACTIVATIONS
from trl_suite.training.cohort.stacked.layer_norm import NormMoments, TrunkNorm
from trl_suite.training.cohort.stacked.parameter_layout import ALIGNMENT, aligned, whole
from trl_suite.training.cohort.stacked.stack import Stack

NARROW = 64  # inputs up to which the first weights' gradient is computed on its side where lines are not whole

Task = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # left and right factor of a product, and where it goes


class BatchBuffers(NamedTuple):
    """Tensors in whole lines, by which networks and those who call them understand each other."""

    inputs: torch.Tensor  # (members, B, inputs)
    outputs: torch.Tensor  # (N, B, width)
    output_grads: torch.Tensor  # the loss's gradient by the outputs (N, B, width)

    def of(self, members: slice, nets: slice) -> "BatchBuffers":
        """Return those of some members' networks, in place."""
        return BatchBuffers(self.inputs[members], self.outputs[nets], self.output_grads[nets])


class LayerMemory(NamedTuple):
    """Tensors of every trunk layer (N, B, width)."""

    outputs: list[torch.Tensor]
    z: list[torch.Tensor]  # what goes into its activation: the outputs' memory, but where that needs both
    sums: list[torch.Tensor]  # what goes into its norm: that of z, where there is none
    grads: list[torch.Tensor]  # the loss's gradient by outputs, and by sums

    @classmethod
    def new(cls, stack: Stack, rows: int, activation: Activation) -> "LayerMemory":
        """Return memory for batches of so many rows of all networks of a stack."""
        nets = stack.flat.shape[0] * stack.members

        def layers() -> list[torch.Tensor]:
            return [aligned((nets, rows, width), stack.flat) for width in stack.layout.hidden]

        outputs = layers()
        z = layers() if LAYER_ACTIVATIONS[activation].needs_z else outputs
        return cls(outputs, z, layers() if stack.layout.norms else z, layers())


class NetworkBlock:
    """The networks of some members on batches of one size.

    Args:
        stack: the parameters.
        gradient: of the same layout.
        activation: of the trunk's layers.
        buffers: what comes in and goes out.
        memory: of the layers.
        single: whether of a head's outputs the first alone is used, and computed: in blocks of one network.
    """

    def __init__(
        self,
        stack: Stack,
        gradient: Stack,
        activation: Activation,
        buffers: BatchBuffers,
        memory: LayerMemory,
        single: bool = False,
    ) -> None:
        layout = stack.layout
        self._stack, self._gradient, self._activation = stack, gradient, LAYER_ACTIVATIONS[activation]
        self._memory, self._trunk = memory, len(layout.hidden)
        self._norms = [TrunkNorm(stack, gradient, part) for part in layout.norms]  # of each trunk layer, or none
        self._moments: list[NormMoments | None] = [None for _ in memory.outputs]  # as sums were last normalised
        self._one_output = single or (layout.width == layout.lane and layout.outputs == 1)
        used = 1 if single else layout.lane
        lanes = [slice(head * layout.lane, head * layout.lane + used) for head in range(len(layout.heads))]
        # of every layer: what goes in, its sums, and the loss's gradient by them
        tops = [memory.outputs[-1] if memory.outputs else buffers.inputs for _ in lanes]
        self._below = [buffers.inputs, *memory.outputs[:-1]][: self._trunk] + tops
        self._sums = [*memory.sums, *(buffers.outputs[..., lane] for lane in lanes)]
        self._grads = [*memory.grads, *(buffers.output_grads[..., lane] for lane in lanes)]
        self._wholes = [
            (whole(grad), whole(z), whole(out))
            for grad, z, out in zip(memory.grads, memory.z, memory.outputs, strict=True)
        ]
        layers = range(len(layout.layers))
        self._forward = [self._products(layer) for layer in layers]
        self._sideways = [self._side(layer) for layer in layers]
        self._differentiated = [self._weight_grads(layer) for layer in layers]
        self._bias_grads = [gradient.biases[layer][..., : self._grads[layer].shape[-1]] for layer in layers]
        self._passed = [self._inward(layer) for layer in range(self._trunk)]

    def forward(self) -> None:
        """Write the outputs for the inputs."""
        scale = 1.0 if self._norms else self._activation.scale
        for layer, products in enumerate(self._forward):
            in_trunk = layer < self._trunk
            for bias, below, weight, out in products:
                by = scale if in_trunk else 1.0
                torch.baddbmm(bias, below, weight, beta=by, alpha=by, out=out)
            if in_trunk:
                if self._norms:
                    self._normalise(layer)
                _, z, outputs = self._wholes[layer]
                self._activation.forward(z, outputs)

    def backward(self) -> None:
        """Write the gradient of all weights and biases, given the loss's gradient by the outputs."""
        for layer in range(self._trunk, len(self._forward)):
            self._differentiate(layer)
        for layer in reversed(range(self._trunk)):
            self._pass(layer, learns=True)
            self._differentiate(layer)

    def input_grad(self, task: Task) -> None:
        """Do a task of `input_grad_task`, given the loss's gradient by the outputs."""
        for layer in reversed(range(self._trunk)):
            self._pass(layer)
        left, right, out = task
        torch.bmm(left, right, out=out)

    def input_grad_task(self, first: int, out: torch.Tensor) -> Task:
        """Return the task of writing the loss's gradient by the inputs from the `first` on, on its side.

        Args:
            first: the first of the inputs asked for.
            out: where it goes (N, inputs, B): a product with few columns takes six times as long as one with few rows.
        """
        # dL/dx = dL/dz W, so that (dL/dx)^T = W^T (dL/dz)^T
        return self._stack.weights[0][..., first:].transpose(1, 2), self._grads[0].transpose(1, 2), out

    def _products(self, layer: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Return bias, inputs, weights and sums of the products of a layer."""
        width = self._sums[layer].shape[-1]
        bias, weight = self._stack.biases[layer][..., :width], self._stack.weights[layer][:, :width]
        return [
            (bias[part], self._below[layer], weight[part].transpose(1, 2), self._sums[layer][part])
            for part in self._parts(layer)
        ]

    def _normalise(self, layer: int) -> None:
        """Write what goes into a trunk layer's activation, times its scale."""
        z = self._memory.z[layer]
        self._moments[layer] = self._norms[layer].forward(self._memory.sums[layer], z)
        if self._activation.scale != 1.0:
            z.mul_(self._activation.scale)

    def _differentiate(self, layer: int) -> None:
        """Write the gradient of one layer, given the gradient by its outputs."""
        # z = W x + b: dL/dW = dL/dz^T x, dL/db = sum dL/dz (Rumelhart et al. 1986)
        side = self._sideways[layer]
        for left, right, weight in self._differentiated[layer]:
            if side is None:
                torch.bmm(left, right, out=weight)
            else:  # (x^T dL/dz)^T: the same sums, without a product whose rows begin anywhere in a line
                torch.bmm(left, right, out=side)
                weight.copy_(side.transpose(1, 2))
        torch.sum(self._grads[layer], 1, keepdim=True, out=self._bias_grads[layer])

    def _weight_grads(self, layer: int) -> list[Task]:
        """Return the products of a layer's gradient; on its side where there is memory for that."""
        grad, below = self._grads[layer], self._below[layer]
        weights = self._gradient.weights[layer][:, : grad.shape[-1]]
        if self._sideways[layer] is None:
            return [(grad[part].transpose(1, 2), below, weights[part]) for part in self._parts(layer)]
        return [(below.transpose(1, 2), grad[part], weights[part]) for part in self._parts(layer)]

    def _side(self, layer: int) -> torch.Tensor | None:
        """Return where the gradient of the first layer's weights is computed on its side, or None where it is not."""
        outputs, inputs = self._stack.layout.layers[layer].shape
        if layer or inputs > NARROW or inputs % ALIGNMENT == 0 or inputs >= outputs:
            return None
        return self._stack.flat.new_empty(self._stack.members, inputs, outputs)

    def _inward(self, layer: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the gradients by the sums above a trunk layer, and the weights that they go back through."""
        above = [layer + 1] if layer < self._trunk - 1 else range(self._trunk, len(self._grads))
        grads = [(self._grads[index], self._stack.weights[index]) for index in above]
        return [(grad, weight[:, : grad.shape[-1]]) for grad, weight in grads]

    def _pass(self, layer: int, learns: bool = False) -> None:
        """Write the loss's gradient by the sums of a trunk layer, given that by the sums of the layer above.

        The gradient of its norm is written where it `learns`.
        """
        # dL/dx = dL/dz W, then through the activation: dL/dz_below = dL/dx f'(z_below)
        passed = self._memory.grads[layer]
        for index, (grad, weight) in enumerate(self._passed[layer]):
            if self._one_output and layer == self._trunk - 1 and not index:
                torch.mul(grad[..., :1], weight[:, :1], out=passed)
            elif index:
                torch.baddbmm(passed, grad, weight, out=passed)
            else:
                torch.bmm(grad, weight, out=passed)
        self._activation.backward(*self._wholes[layer])
        if self._norms and (moments := self._moments[layer]) is not None:
            if learns:
                self._norms[layer].differentiate(passed, moments)
            self._norms[layer].backward(passed, self._memory.sums[layer], moments)

    def _parts(self, layer: int) -> list[slice]:
        """Return which networks go through a product together: in the first layer those that see one tensor."""
        rows, members = self._stack.flat.shape[:2]
        shared = layer == 0 or not self._stack.layout.hidden
        return [slice(row * members, (row + 1) * members) for row in range(rows)] if shared else [slice(None)]
