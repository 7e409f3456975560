"""Networks of all members, forward and backward, in batched products without autograd.

Axes: N = rows * members (all members' first networks first), B rows of a batch. The operations are the same for every
number of members and batched products do not mix members, so that a member's bits do not depend on who else is there.

A small product takes no longer than making the views that it is called with: these are made once.
"""

from typing import NamedTuple, Self

import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.training.cohort.stacked.layer_activations import LAYER_ACTIVATIONS
from trl_suite.training.cohort.stacked.layer_norm import NormMoments, TrunkNorm
from trl_suite.training.cohort.stacked.parameter_layout import ALIGNMENT, aligned, whole
from trl_suite.training.cohort.stacked.stack import Stack


class _Buffers(NamedTuple):
    """Memory that batches of one size are computed in."""

    inputs: torch.Tensor  # (members, B, inputs), for what does not come in whole lines
    outputs: torch.Tensor  # of the networks (N, B, width)
    trunk: list[torch.Tensor]  # outputs of every trunk layer (N, B, width)
    trunk_whole: list[torch.Tensor]  # the same as one flat view each
    trunk_z: list[
        torch.Tensor
    ]  # what went into every trunk layer's activation (N, B, width); the outputs, where those do
    trunk_z_whole: list[torch.Tensor]  # the same as one flat view each
    sums: list[torch.Tensor]  # products of every trunk layer before its norm (N, B, width); `trunk_z` without norms
    moments: list[NormMoments | None]  # of the sums, as they were last normalised
    into: list[list[torch.Tensor]]  # where each layer's products go
    trunk_grads: list[torch.Tensor]  # the loss's gradient by the outputs of every trunk layer
    trunk_grads_flat: list[torch.Tensor]
    output_grads: torch.Tensor  # the loss's gradient by the outputs (N, B, width)


class Networks:
    """The members' networks on parameters, writing their gradient into another stack of the same layout.

    What a call returns is overwritten by the next one with as many rows: what is to be kept longer is another object's.
    """

    def __init__(self, stack: Stack, gradient: Stack, activation: Activation) -> None:
        self._stack, self._activation = stack, LAYER_ACTIVATIONS[activation]
        self._made_of = gradient, activation
        layout, self._nets = stack.layout, stack.flat.shape[0] * stack.members
        self._factors = [
            [(bias[part], weight[part].transpose(1, 2)) for part in self._parts(layer)]
            for layer, (weight, bias) in enumerate(zip(stack.weights, stack.biases, strict=True))
        ]
        self._gradients = [
            (bias, [weight[part] for part in self._parts(layer)])
            for layer, (weight, bias) in enumerate(zip(gradient.weights, gradient.biases, strict=True))
        ]
        self._norms = [TrunkNorm(stack, gradient, part) for part in layout.norms]  # of each trunk layer, or none
        self._lanes = [slice(head * layout.lane, (head + 1) * layout.lane) for head in range(len(layout.heads))]
        self._buffers: dict[int, _Buffers] = {}
        self._input_grads: dict[int, torch.Tensor] = {}  # rows -> the loss's gradient by some of the inputs

    def of_row(self, row: int) -> Self:
        """Return the networks of one row alone, the critics of PPO for one, with memory of their own."""
        gradient, activation = self._made_of
        return type(self)(self._stack.row(row), gradient.row(row), activation)

    def forward(self, normalized_obs: torch.Tensor) -> torch.Tensor:
        """Return the outputs (N, B, outputs) for what is seen (members, B, inputs); each head's from its lane on.

        The result is overwritten by the next call with as many rows.
        """
        buffers = self._buffers_for(normalized_obs.shape[1])
        below, scale = self._in_lines(normalized_obs, buffers), self._activation.scale
        for layer, out in enumerate(buffers.trunk):
            self._product(layer, below, buffers, 1.0 if self._norms else scale)
            if self._norms:
                self._normalise(layer, buffers)
            self._activation.forward(buffers.trunk_z_whole[layer], buffers.trunk_whole[layer])
            below = out
        for layer in range(len(buffers.trunk), len(buffers.into)):
            self._product(layer, below, buffers, 1.0)
        return buffers.outputs

    def backward(self, normalized_obs: torch.Tensor, grad: torch.Tensor) -> None:
        """Write the gradient of all weights and biases, given the loss's gradient by the outputs (N, B, outputs).

        `forward` must have been called with the same observations just before.
        """
        buffers = self._buffers_for(normalized_obs.shape[1])
        normalized_obs = self._in_lines(normalized_obs, buffers)
        top = buffers.trunk[-1] if buffers.trunk else normalized_obs
        for head, lane in enumerate(self._lanes):
            self._differentiate(len(buffers.trunk) + head, top, grad[..., lane])
        for layer in reversed(range(len(buffers.trunk))):
            grad = self._passed(layer, grad, buffers, learns=True)
            self._differentiate(layer, buffers.trunk[layer - 1] if layer else normalized_obs, grad)

    def input_grad(self, first: int, grad: torch.Tensor) -> torch.Tensor:
        """Return the loss's gradient by the inputs from the `first` on (N, B, inputs); no gradient is written.

        Args:
            first: the first of the inputs asked for.
            grad: the loss's gradient by the outputs (N, B, outputs); `forward` was just called with as many rows.
        """
        rows = grad.shape[1]
        buffers, weight = self._buffers_for(rows), self._stack.weights[0][..., first:]
        for layer in reversed(range(len(buffers.trunk))):
            grad = self._passed(layer, grad, buffers)
        if rows not in self._input_grads:
            self._input_grads[rows] = aligned((self._nets, rows, weight.shape[2]), self._stack.flat)
        return torch.bmm(grad, weight, out=self._input_grads[rows])

    def output_grads(self, rows: int) -> torch.Tensor:
        """Return zeros of the shape of the outputs (N, rows, outputs), to be filled and given to `backward`."""
        return self._buffers_for(rows).output_grads

    def _product(self, layer: int, below: torch.Tensor, buffers: _Buffers, scale: float) -> None:
        """Write a layer's outputs, times a scale."""
        for (bias, weight), out in zip(self._factors[layer], buffers.into[layer], strict=True):
            torch.baddbmm(bias, below, weight, beta=scale, alpha=scale, out=out)

    def _normalise(self, layer: int, buffers: _Buffers) -> None:
        """Write what goes into a trunk layer's activation, times its scale."""
        z = buffers.trunk_z[layer]
        buffers.moments[layer] = self._norms[layer].forward(buffers.sums[layer], z)
        if self._activation.scale != 1.0:
            z.mul_(self._activation.scale)

    def _differentiate(self, layer: int, below: torch.Tensor, grad: torch.Tensor) -> None:
        """Write the gradient of one layer, given the gradient by its outputs."""
        # z = W x + b: dL/dW = dL/dz^T x, dL/db = sum dL/dz (Rumelhart et al. 1986)
        bias, weights = self._gradients[layer]
        turned = grad.transpose(1, 2)
        for weight, part in zip(weights, self._parts(layer), strict=True):
            torch.bmm(turned[part], below, out=weight)
        torch.sum(grad, 1, keepdim=True, out=bias)

    def _passed(self, layer: int, grad: torch.Tensor, buffers: _Buffers, learns: bool = False) -> torch.Tensor:
        """Return the slope by the sums of a trunk layer, given the one by what the layer above gives.

        The gradient of its norm is written where it `learns`.
        """
        # dL/dx = dL/dz W, then through the activation: dL/dz_below = dL/dx f'(z_below)
        weights, passed = self._stack.weights, buffers.trunk_grads[layer]
        if layer < len(buffers.trunk) - 1:
            torch.bmm(grad, weights[layer + 1], out=passed)
        else:
            for head, lane in enumerate(self._lanes):
                head_grad, weight = grad[..., lane], weights[layer + 1 + head]
                _ = (
                    torch.baddbmm(passed, head_grad, weight, out=passed)
                    if head
                    else torch.bmm(head_grad, weight, out=passed)
                )
        self._activation.backward(
            buffers.trunk_grads_flat[layer], buffers.trunk_z_whole[layer], buffers.trunk_whole[layer]
        )
        if self._norms and (moments := buffers.moments[layer]) is not None:
            if learns:
                self._norms[layer].differentiate(passed, moments)
            self._norms[layer].backward(passed, buffers.sums[layer], moments)
        return passed

    def _in_lines(self, normalized_obs: torch.Tensor, buffers: _Buffers) -> torch.Tensor:
        """Return the observations with rows of whole lines, as they are where they have them."""
        return normalized_obs if normalized_obs.stride(1) % ALIGNMENT == 0 else buffers.inputs.copy_(normalized_obs)

    def _parts(self, layer: int) -> list[slice]:
        """Return which networks go through a product together: in the first layer those that see one tensor."""
        rows, members = self._stack.flat.shape[:2]
        shared = layer == 0 or not self._stack.layout.hidden
        return [slice(row * members, (row + 1) * members) for row in range(rows)] if shared else [slice(None)]

    def _buffers_for(self, rows: int) -> _Buffers:
        """Return the buffers of batches of so many rows."""
        if rows not in self._buffers:
            self._buffers[rows] = self._new_buffers(rows)
        return self._buffers[rows]

    def _new_buffers(self, rows: int) -> _Buffers:
        layout, like = self._stack.layout, self._stack.flat
        trunk, trunk_grads = ([aligned((self._nets, rows, w), like) for w in layout.hidden] for _ in range(2))
        outputs, output_grads = (aligned((self._nets, rows, layout.width), like) for _ in range(2))
        products = [aligned(layer.shape, like) for layer in trunk] if self._activation.needs_z else trunk
        sums = [aligned(layer.shape, like) for layer in trunk] if self._norms else products
        layers = [*sums, *(outputs[..., lane] for lane in self._lanes)]
        return _Buffers(
            inputs=aligned((self._stack.members, rows, layout.inputs), like),
            outputs=outputs,
            trunk=trunk,
            trunk_whole=[whole(rows_of_layer) for rows_of_layer in trunk],
            trunk_z=products,
            trunk_z_whole=[whole(rows_of_layer) for rows_of_layer in products],
            sums=sums,
            moments=[None for _ in trunk],
            into=[[out[part] for part in self._parts(layer)] for layer, out in enumerate(layers)],
            trunk_grads=trunk_grads,
            trunk_grads_flat=[whole(rows_of_layer) for rows_of_layer in trunk_grads],
            output_grads=output_grads,
        )
