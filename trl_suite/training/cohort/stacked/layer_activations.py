"""Activations of a cohort's layers, forward and backward, in place of what they are computed from.

z is what goes into an activation f, y = f(z) what comes out. All but SiLU tell f'(z) from y, and write y over z.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from trl_suite.algorithms.hyperparameters import Activation

_MINUS_ONE = torch.tensor(-1.0)
_LEAKY_SLOPE = 0.01  # torch's default, as SB3 makes the module
_ATEN = torch.ops.aten


class LayerActivation(NamedTuple):
    """An activation of all layers; `forward` takes (z, y), `backward` (gradient by y, z, y)."""

    forward: Callable[[torch.Tensor, torch.Tensor], object]  # writes y
    backward: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], object]  # turns dL/dy into dL/dz, in place
    scale: float = 1.0  # `forward` is called with this times z
    needs_z: bool = False  # otherwise z and y are one tensor


def _tanh(z: torch.Tensor, y: torch.Tensor) -> None:
    """Write tanh(z) for 2 z, as 2 sigmoid(2 z) - 1: torch's tanh takes three times as long without AVX-512."""
    torch.add(_MINUS_ONE, z.sigmoid_(), alpha=2.0, out=y)


def _tanh_backward(grad: torch.Tensor, z: torch.Tensor, y: torch.Tensor) -> None:
    # dL/dz = dL/dy (1 - y^2)
    _ATEN.tanh_backward.grad_input(grad, y, grad_input=grad)


def _relu(z: torch.Tensor, y: torch.Tensor) -> None:
    z.relu_()


def _relu_backward(grad: torch.Tensor, z: torch.Tensor, y: torch.Tensor) -> None:
    # dL/dz = dL/dy where y > 0, and 0 elsewhere
    _ATEN.threshold_backward.grad_input(grad, y, 0.0, grad_input=grad)


def _elu(z: torch.Tensor, y: torch.Tensor) -> None:
    # y = z where z > 0, and e^z - 1 elsewhere (Clevert et al. 2016, eq. 15)
    _ATEN.elu_(z)


def _elu_backward(grad: torch.Tensor, z: torch.Tensor, y: torch.Tensor) -> None:
    # dL/dz = dL/dy where y > 0, and dL/dy (y + 1) elsewhere
    _ATEN.elu_backward.grad_input(grad, 1.0, 1.0, 1.0, True, y, grad_input=grad)


def _silu(z: torch.Tensor, y: torch.Tensor) -> None:
    # y = z sigmoid(z) (Elfwing et al. 2018, eq. 5)
    _ATEN.silu.out(z, out=y)


def _silu_backward(grad: torch.Tensor, z: torch.Tensor, y: torch.Tensor) -> None:
    # dL/dz = dL/dy sigmoid(z) (1 + z (1 - sigmoid(z))): y alone does not tell z, for y falls before it rises
    _ATEN.silu_backward.grad_input(grad, z, grad_input=grad)


def _leaky_relu(z: torch.Tensor, y: torch.Tensor) -> None:
    # y = z where z > 0, and 0.01 z elsewhere (Maas et al. 2013)
    _ATEN.leaky_relu_(z, _LEAKY_SLOPE)


def _leaky_relu_backward(grad: torch.Tensor, z: torch.Tensor, y: torch.Tensor) -> None:
    # dL/dz = dL/dy where y > 0, and 0.01 dL/dy elsewhere
    _ATEN.leaky_relu_backward.grad_input(grad, y, _LEAKY_SLOPE, True, grad_input=grad)


LAYER_ACTIVATIONS: Mapping[Activation, LayerActivation] = {
    "tanh": LayerActivation(_tanh, _tanh_backward, scale=2.0),
    "relu": LayerActivation(_relu, _relu_backward),
    "elu": LayerActivation(_elu, _elu_backward),
    "silu": LayerActivation(_silu, _silu_backward, needs_z=True),
    "leaky_relu": LayerActivation(_leaky_relu, _leaky_relu_backward),
}
