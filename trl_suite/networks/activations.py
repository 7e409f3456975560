"""Outputs of a policy's layers, and the values of its critic."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.networks.activation_functions import ACTIVATIONS, hidden
from trl_suite.networks.components import RETURN_STATISTICS
from trl_suite.networks.input_norms import normalized_inputs
from trl_suite.networks.policy import Policy

Floats = npt.NDArray[np.float64]


def trunk(policy: Policy, observations: Floats) -> list[Floats]:
    """Return the input of the actor's first layer, then the output of each trunk layer: (states, units) each.

    Args:
        policy: any.
        observations: (states, slots), unnormalised.
    """
    normalized_obs = torch.as_tensor(policy.normalised(observations))
    with torch.no_grad():
        if attended := policy.attended(normalized_obs, policy.components):
            normalized_obs = attended.inputs
    return [layer.numpy().astype(np.float64) for layer in _layers(policy, "actor", normalized_obs)]


def values(policy: Policy, observations: Floats, actions: Floats) -> Floats:
    """Return the critic's value of each state in units of reward, of twins the lower: (states,).

    Args:
        policy: any.
        observations: (states, slots), unnormalised.
        actions: (states, actions), as the env takes them; PPO's critic does not look at them.

    Raises:
        InputError: the policy is an actor alone.
    """
    if policy.card.network.actor_only:
        raise InputError(f"{policy!r} is an actor alone, as of an ONNX file: it has no critic that could be asked")
    normalized_obs = torch.as_tensor(policy.normalised(observations))
    if find(policy.card.algorithm).on_policy:
        estimates = _value(policy, normalized_obs, "")
    else:
        critic_input = torch.cat([normalized_obs, torch.as_tensor(_centred(policy, actions))], dim=1)
        estimates = torch.stack(
            [_value(policy, critic_input, f"q{net}_") for net in range(policy.card.network.critics)]
        ).amin(0)
    return estimates.numpy().astype(np.float64) * _reward_scale(policy)


def _value(policy: Policy, normalized_obs: torch.Tensor, prefix: str) -> torch.Tensor:
    features = _layers(policy, "critic", normalized_obs, prefix)[-1]
    return _linear(features, policy.components["critic.head"], prefix).mean(1)  # of one value, or of quantiles


def _layers(policy: Policy, part: str, normalized_obs: torch.Tensor, prefix: str = "") -> list[torch.Tensor]:
    activation = ACTIVATIONS[policy.card.network.activation].apply
    outputs = [normalized_obs]
    for layer in range(len(getattr(policy.card.network, part))):
        with torch.no_grad():
            outputs.append(hidden(outputs[-1], policy.components, f"{part}.trunk.{layer}", activation, prefix))
    return outputs


def _linear(normalized_obs: torch.Tensor, layer: Mapping[str, torch.Tensor], prefix: str) -> torch.Tensor:
    with torch.no_grad():
        inputs = normalized_inputs(normalized_obs, layer, prefix)
        return functional.linear(inputs, layer[f"{prefix}weight"], layer[f"{prefix}bias"])


def _centred(policy: Policy, actions: Floats) -> npt.NDArray[np.float32]:
    """Return actions on the scale from -1 to 1 on which SAC's and TD3's critics see them."""
    low, high = np.array(policy.card.network.action_low), np.array(policy.card.network.action_high)
    return (2 * (actions - low) / (high - low) - 1).astype(np.float32)


def _reward_scale(policy: Policy) -> float:
    """Return the factor from the critic's values to units of reward: the deviation that rewards were divided by."""
    normaliser = policy.card.normaliser
    if normaliser is None or not normaliser.reward:
        return 1.0
    return float(np.sqrt(float(policy.components[RETURN_STATISTICS]["var"]) + normaliser.epsilon))
