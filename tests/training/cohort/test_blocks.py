"""Members whose layers are large are computed one after the other: to the same bits as together."""

import pytest
import torch

from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.training.cohort.learning.off_policy import layouts
from trl_suite.training.cohort.learning.replay_rings import TransitionBatch
from trl_suite.training.cohort.learning.sac_update import SACUpdate
from trl_suite.training.cohort.learning.td3_update import TD3Update
from trl_suite.training.cohort.stacked import network
from trl_suite.training.cohort.stacked.stack import Stack

SLOTS, ACTIONS, BATCH, MEMBERS = 17, 6, 100, 3
CASES = {
    "sac": (SACUpdate, SACHyperparameters(hidden=(64, 48))),
    "sac normalised": (SACUpdate, SACHyperparameters(hidden=(64, 48), layer_norm=True, activation="silu")),
    "td3": (TD3Update, TD3Hyperparameters(hidden=(40, 30))),
}


def learned(name: str, members: slice, updates: int = 4) -> dict[str, torch.Tensor]:
    """Parameters of some of the members after some updates."""
    update, hyperparameters = CASES[name]
    generator = torch.Generator().manual_seed(0)
    stacks = {}
    for key, layout in layouts(hyperparameters, SLOTS, ACTIONS).items():
        numbers = 0.1 * torch.randn(layout.rows, MEMBERS, layout.size, generator=generator)
        stack = stacks[key] = Stack.zeros(layout, len(range(MEMBERS)[members]), torch.device("cpu"))
        for place, index in enumerate(range(MEMBERS)[members]):
            whole = Stack(layout, numbers).member(index)
            stack.write(place, whole)
    learner = update(hyperparameters, stacks, {})
    for _ in range(updates):
        sizes = (SLOTS, ACTIONS, 1, SLOTS)
        seen, action, reward, ahead = (torch.randn(MEMBERS, BATCH, n, generator=generator)[members] for n in sizes)
        draws = torch.randn(2, MEMBERS, BATCH, ACTIONS, generator=generator)[:, members]
        learner.update(
            TransitionBatch(seen, action.tanh(), reward[..., 0], ahead, torch.ones_like(reward[..., 0])), draws
        )
    return {key: stack.flat for key, stack in stacks.items()}


@pytest.mark.parametrize("name", CASES)
def test_members_apart_learn_what_they_learn_together_and_alone(name, monkeypatch):
    together = learned(name, slice(None))
    monkeypatch.setattr(network, "BLOCK_BYTES", 0)
    apart = learned(name, slice(None))
    assert all(torch.equal(apart[key], together[key]) for key in together)
    alone = learned(name, slice(1, 2))
    assert all(torch.equal(alone[key][:, 0], together[key][:, 1]) for key in together)
    assert not torch.equal(together["critic"][:, 0], together["critic"][:, 1])
