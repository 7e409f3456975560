"""Layer normalisation (Ba et al. 2016) of one trunk layer of all members' networks, forward and backward.

Axes: N = rows * members (all members' first networks first), B rows of a batch, W units.
"""

from typing import NamedTuple

import torch

from trl_suite.networks.components import LAYER_NORM_EPSILON
from trl_suite.training.cohort.stacked.parameter_layout import LayoutPart
from trl_suite.training.cohort.stacked.stack import Stack

_ATEN = torch.ops.aten


class NormMoments(NamedTuple):
    """Batch of sums as they were normalised, which the way back needs."""

    normalized: torch.Tensor  # (N, B, W), of mean 0 and variance 1
    mean: torch.Tensor  # (N, B, 1)
    inverse_std: torch.Tensor  # (N, B, 1)


class TrunkNorm:
    """Scale and shift of a layer's normalised sums, and where their gradient is written.

    Args:
        stack: the parameters.
        gradient: of the same layout.
        part: of the layout.
    """

    def __init__(self, stack: Stack, gradient: Stack, part: LayoutPart) -> None:
        tensors, grads = stack.beside(part), gradient.beside(part)
        self._scale, self._shift = tensors["weight"][:, None], tensors["bias"][:, None]  # (N, 1, W)
        self._scale_grad, self._shift_grad = grads["weight"], grads["bias"]  # (N, W)

    def forward(self, sums: torch.Tensor, out: torch.Tensor) -> NormMoments:
        """Write scale (x - mean) / sqrt(var + eps) + shift of the sums x (N, B, W)."""
        moments = NormMoments(*_ATEN.native_layer_norm(sums, sums.shape[-1:], None, None, LAYER_NORM_EPSILON))
        torch.mul(moments.normalized, self._scale, out=out)
        out.add_(self._shift)
        return moments

    def differentiate(self, grad: torch.Tensor, moments: NormMoments) -> None:
        """Write the gradient of scale and shift, given that by the outputs (N, B, W)."""
        # y = s n + b: dL/ds = sum dL/dy n, dL/db = sum dL/dy
        torch.sum(grad * moments.normalized, 1, out=self._scale_grad)
        torch.sum(grad, 1, out=self._shift_grad)

    def backward(self, grad: torch.Tensor, sums: torch.Tensor, moments: NormMoments) -> None:
        """Turn the gradient by the outputs into that by the sums, in place (N, B, W)."""
        # dL/dx = (g - mean(g) - n mean(g n)) / sqrt(var + eps) with g = s dL/dy (Ba et al. 2016, eq. 4)
        grads = _ATEN.native_layer_norm_backward(
            grad * self._scale,
            sums,
            sums.shape[-1:],
            moments.mean,
            moments.inverse_std,
            None,
            None,
            [True, False, False],
        )
        grad.copy_(grads[0])
