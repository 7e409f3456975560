"""Actions of a source policy in the target env, seen and given in the target's slots."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.errors import InputError
from trl_suite.interface import Interface
from trl_suite.networks.align import Alignment
from trl_suite.networks.policy import Policy


@dataclass(frozen=True, kw_only=True)
class SourceActor:
    """A source policy behind the target's interface."""

    policy: Policy
    observation: list[int]  # for each slot that the source sees, its place in the target's observation
    action: list[int]  # for each slot that the target moves, its place in the source's action

    def predict(self, observation: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Return the source's mean action, (..., target actions), for unnormalised observations of the target."""
        return self.policy.predict(observation[..., self.observation])[0][..., self.action]

    def gaussian(self, observation: npt.NDArray[np.float64]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return mean and log standard deviation, (batch, target actions); see `Policy.gaussian`."""
        normalized_obs = torch.as_tensor(self.policy.normalised(observation[..., self.observation]))
        with torch.no_grad():
            mean, log_std = self.policy.gaussian(normalized_obs, self.policy.components)
        return mean[:, self.action], None if log_std is None else log_std[:, self.action]

    def placed(self, observation: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return observations of the source in the target's slots, (batch, target slots).

        Raises:
            InputError: the target sees slots that the source does not.
        """
        if len(set(self.observation)) < len(self.observation) or max(self.observation) >= observation.shape[-1]:
            raise InputError("the target observes more than the source: the source's states cannot be shown to it")
        placed = np.empty_like(observation)
        placed[:, self.observation] = observation
        return placed


def source_actor(policy: Policy, target: Interface, alignment: Alignment) -> SourceActor:
    """Return the policy behind the target's interface.

    Raises:
        InputError: the source sees a slot that the target lacks, or the target moves one that the source does not.
    """
    places = {index: place for place, index in enumerate(alignment.observation) if index is not None}
    blind = [name for index, name in enumerate(policy.interface.observation_names) if index not in places]
    idle = [name for name, index in zip(target.action_names, alignment.action, strict=True) if index is None]
    if blind or idle:
        raise InputError(f"the source cannot act in the target: slots it needs: {blind}; slots it cannot move: {idle}")
    observation = [places[index] for index in range(len(policy.interface.observation))]
    return SourceActor(
        policy=policy, observation=observation, action=[index for index in alignment.action if index is not None]
    )
