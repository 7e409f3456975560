"""Interface of the algorithm that a cohort's members learn by."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.networks.components import TEMPERATURE
from trl_suite.training.cohort.collecting.episodes import Episodes
from trl_suite.training.cohort.member import CohortMember
from trl_suite.training.cohort.stacked.adam import Adam, Cells
from trl_suite.training.cohort.stacked.stack import Stack, Tensors

Arrays = dict[str, npt.NDArray[Any]]
Metrics = Mapping[str, npt.NDArray[np.float64]]  # name in TensorBoard -> a number per member


class CohortLearner(Protocol):
    """All members' parameters, and how they collect and learn."""

    stacks: dict[str, Stack]
    optimisers: dict[str, Adam]  # of those stacks that learn
    episodes: Episodes
    rollout: int  # env steps of a member between two updates
    most: int  # rollouts that are made at a time

    def reset(self) -> None:
        """Start an episode in every world."""

    def iterate(self, step: int, size: int, learning: Mapping[str, Cells]) -> Metrics:
        """Make `size` env steps after the first `step`, whole rollouts with their updates; return what they did.

        Args:
            step: env steps of a member so far.
            size: a multiple of the rollout.
            learning: the parts that learn, for every optimiser.
        """
        ...

    def act(self, normalized_obs: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
        """Return actions in the worlds' units (P, W, actions): the mean's, or drawn with standard normal numbers."""
        ...

    def arrays(self) -> Arrays:
        """Return the live arrays on the host that a snapshot needs (members, ...)."""
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the live tensors that a snapshot needs besides parameters and moments (members, ...)."""
        ...

    def memory(self, member: int) -> tuple[Arrays, Mapping[str, Mapping[str, Any]]]:
        """Return a member's replay: the part that changes, and large parts by a name that stands for their content."""
        ...

    def hold(self, member: int, frozen: Collection[str]) -> None:
        """Hold what a member has frozen besides parameters and statistics, and nothing else of that kind."""

    def held(self, member: int) -> dict[str, Tensors]:
        """Return the components that are held so."""
        ...

    def collected(self, member: int) -> dict[str, Tensors]:
        """Return a member's transitions as a policy keeps them, by component."""
        ...

    def remember(self, member: int, arrays: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> None:
        """Take up what `memory` returned."""


def factors(optimised: Mapping[str, Stack], members: Sequence[CohortMember]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the factors of the learning rate (rows, members, parts) for every stack."""
    return {
        name: np.stack([member.factors(stack.layout) for member in members], axis=1)
        for name, stack in optimised.items()
        if name != TEMPERATURE
    }
