"""Networks of some members, all layers of which are computed together.

Axes: N = rows * members (all members' first networks first), B rows of a batch.

A small product takes no longer than making the views that it is called with: these are made once.
"""

import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.training.cohort.stacked.layer_activations import LAYER_ACTIVATIONS
from trl_suite.training.cohort.stacked.layer_norm import NormMoments, TrunkNorm
from trl_suite.training.cohort.stacked.parameter_layout import ALIGNMENT, aligned, whole
from trl_suite.training.cohort.stacked.stack import Stack

NARROW = 64  # inputs up to which the first weights' gradient is computed on its side where lines are not whole


class NetworkBlock:
    """The networks of some members on batches of one size.

    Args:
        stack: the parameters.
        gradient: of the same layout.
        activation: of the trunk's layers.
        outputs: where the outputs go (N, B, width).
        memory: a block of as many members whose layers' memory is used too; or None for memory of its own.
    """

    def __init__(
        self,
        stack: Stack,
        gradient: Stack,
        activation: Activation,
        outputs: torch.Tensor,
        memory: "NetworkBlock | None" = None,
    ) -> None:
        layout, like, shape = stack.layout, stack.flat, outputs.shape[:2]
        self._stack, self._activation = stack, LAYER_ACTIVATIONS[activation]
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

        def layers() -> list[torch.Tensor]:
            return [aligned((*shape, width), like) for width in layout.hidden]

        # outputs of every trunk layer, and the loss's gradient by them (N, B, width)
        self._trunk, self._trunk_grads = (memory._trunk, memory._trunk_grads) if memory else (layers(), layers())
        # what goes into every trunk layer's activation, and what goes into its norm, where these are not the outputs
        self._z = (memory._z if memory else layers()) if self._activation.needs_z else self._trunk
        self._sums = (memory._sums if memory else layers()) if self._norms else self._z
        self._trunk_whole, self._z_whole, self._grads_whole = (
            [whole(layer) for layer in of_layers] for of_layers in (self._trunk, self._z, self._trunk_grads)
        )
        self._moments: list[NormMoments | None] = [None for _ in self._trunk]  # as sums were last normalised
        targets = [*self._sums, *(outputs[..., lane] for lane in self._lanes)]
        self._into = [[out[part] for part in self._parts(layer)] for layer, out in enumerate(targets)]
        self._sideways = [self._side(layer) for layer in range(len(layout.layers))]

    def forward(self, normalized_obs: torch.Tensor) -> None:
        """Write the outputs for what is seen (members, B, inputs), in whole lines."""
        below, scale = normalized_obs, self._activation.scale
        for layer, out in enumerate(self._trunk):
            self._product(layer, below, 1.0 if self._norms else scale)
            if self._norms:
                self._normalise(layer)
            self._activation.forward(self._z_whole[layer], self._trunk_whole[layer])
            below = out
        for layer in range(len(self._trunk), len(self._into)):
            self._product(layer, below, 1.0)

    def backward(self, normalized_obs: torch.Tensor, grad: torch.Tensor) -> None:
        """Write the gradient of all weights and biases, given the loss's gradient by the outputs (N, B, outputs)."""
        top = self._trunk[-1] if self._trunk else normalized_obs
        for head, lane in enumerate(self._lanes):
            self._differentiate(len(self._trunk) + head, top, grad[..., lane])
        for layer in reversed(range(len(self._trunk))):
            grad = self._passed(layer, grad, learns=True)
            self._differentiate(layer, self._trunk[layer - 1] if layer else normalized_obs, grad)

    def input_grad(self, first: int, grad: torch.Tensor, out: torch.Tensor) -> None:
        """Write the loss's gradient by the inputs from the `first` on (N, B, inputs), given that by the outputs."""
        for layer in reversed(range(len(self._trunk))):
            grad = self._passed(layer, grad)
        torch.bmm(grad, self._stack.weights[0][..., first:], out=out)

    def _product(self, layer: int, below: torch.Tensor, scale: float) -> None:
        """Write a layer's outputs, times a scale."""
        for (bias, weight), out in zip(self._factors[layer], self._into[layer], strict=True):
            torch.baddbmm(bias, below, weight, beta=scale, alpha=scale, out=out)

    def _normalise(self, layer: int) -> None:
        """Write what goes into a trunk layer's activation, times its scale."""
        z = self._z[layer]
        self._moments[layer] = self._norms[layer].forward(self._sums[layer], z)
        if self._activation.scale != 1.0:
            z.mul_(self._activation.scale)

    def _differentiate(self, layer: int, below: torch.Tensor, grad: torch.Tensor) -> None:
        """Write the gradient of one layer, given the gradient by its outputs."""
        # z = W x + b: dL/dW = dL/dz^T x, dL/db = sum dL/dz (Rumelhart et al. 1986)
        bias, weights = self._gradients[layer]
        side = self._sideways[layer]
        for weight, part in zip(weights, self._parts(layer), strict=True):
            if side is None:
                torch.bmm(grad[part].transpose(1, 2), below, out=weight)
            else:  # (x^T dL/dz)^T: the same sums, without a product whose rows begin anywhere in a line
                weight.copy_(torch.bmm(below.transpose(1, 2), grad[part], out=side).transpose(1, 2))
        torch.sum(grad, 1, keepdim=True, out=bias)

    def _side(self, layer: int) -> torch.Tensor | None:
        """Return where the gradient of the first layer's weights is computed on its side, or None where it is not."""
        outputs, inputs = self._stack.layout.layers[layer].shape
        if layer or inputs > NARROW or inputs % ALIGNMENT == 0 or inputs >= outputs:
            return None
        return self._stack.flat.new_empty(self._stack.members, inputs, outputs)

    def _passed(self, layer: int, grad: torch.Tensor, learns: bool = False) -> torch.Tensor:
        """Return the slope by the sums of a trunk layer, given the one by what the layer above gives.

        The gradient of its norm is written where it `learns`.
        """
        # dL/dx = dL/dz W, then through the activation: dL/dz_below = dL/dx f'(z_below)
        weights, passed = self._stack.weights, self._trunk_grads[layer]
        if layer < len(self._trunk) - 1:
            torch.bmm(grad, weights[layer + 1], out=passed)
        elif self._stack.layout.width == self._stack.layout.lane and self._stack.layout.outputs == 1:
            torch.mul(grad[..., :1], weights[layer + 1][:, :1], out=passed)
        else:
            for head, lane in enumerate(self._lanes):
                head_grad, weight = grad[..., lane], weights[layer + 1 + head]
                _ = (
                    torch.baddbmm(passed, head_grad, weight, out=passed)
                    if head
                    else torch.bmm(head_grad, weight, out=passed)
                )
        self._activation.backward(self._grads_whole[layer], self._z_whole[layer], self._trunk_whole[layer])
        if self._norms and (moments := self._moments[layer]) is not None:
            if learns:
                self._norms[layer].differentiate(passed, moments)
            self._norms[layer].backward(passed, self._sums[layer], moments)
        return passed

    def _parts(self, layer: int) -> list[slice]:
        """Return which networks go through a product together: in the first layer those that see one tensor."""
        rows, members = self._stack.flat.shape[:2]
        shared = layer == 0 or not self._stack.layout.hidden
        return [slice(row * members, (row + 1) * members) for row in range(rows)] if shared else [slice(None)]
