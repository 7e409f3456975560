"""The functions between a network's layers, with torch's default constants: each name, its function and SB3's class."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch.nn import functional

from trl_suite.algorithms.hyperparameters import Activation


class ActivationFunction(NamedTuple):
    """A function between layers, and the module that SB3 takes for it as `activation_fn`."""

    apply: Callable[[torch.Tensor], torch.Tensor]
    module: type[torch.nn.Module]


ACTIVATIONS: Mapping[Activation, ActivationFunction] = {
    "tanh": ActivationFunction(torch.tanh, torch.nn.Tanh),
    "relu": ActivationFunction(torch.relu, torch.nn.ReLU),
    "elu": ActivationFunction(functional.elu, torch.nn.ELU),
    "silu": ActivationFunction(functional.silu, torch.nn.SiLU),
    "leaky_relu": ActivationFunction(functional.leaky_relu, torch.nn.LeakyReLU),
}
