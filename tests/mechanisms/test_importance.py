"""Importance of weights over the stages of a sequence: against finite differences, and summed."""

import numpy as np
import pytest
import torch

from tests.training.cohort.small import HOW
from trl_suite.errors import InputError
from trl_suite.mechanisms.weight_regularizer import WeightRegularizer, accumulated, fisher, sensitivity
from trl_suite.networks.policy import Policy
from trl_suite.training import rehearsal
from trl_suite.training.acting.source_states import importance

ENV, STEP = "inverted-pendulum", 1e-4
TENSORS = ("actor.trunk.0.weight", "actor.trunk.1.bias", "actor.head.weight")


@pytest.fixture(scope="module")
def policy() -> Policy:
    blank = rehearsal.blank_source(ENV, HOW, ())
    components = {name: dict(tensors) for name, tensors in blank.components.items()}
    generator = torch.Generator().manual_seed(0)
    for name in ("actor.trunk.0", "actor.trunk.1", "actor.head"):
        for tensor, value in components[name].items():
            components[name][tensor] = 0.5 * torch.randn(value.shape, generator=generator)
    return Policy(card=blank.card, components=components)


@pytest.fixture(scope="module")
def states(policy) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(7, len(policy.interface.observation)))


def outputs(policy: Policy, states: np.ndarray, tensor: str, index: int, by: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation (states, actions) with one number moved, in float64."""
    component, _, key = tensor.rpartition(".")
    doubled = {name: {k: v.double().clone() for k, v in ts.items()} for name, ts in policy.components.items()}
    doubled[component][key].view(-1)[index] += by
    mean, log_std = policy.gaussian(torch.as_tensor(policy.normalised(states)).double(), doubled)
    assert log_std is not None
    return mean.detach().numpy(), log_std.detach().exp().numpy()


def slopes(policy: Policy, states: np.ndarray, tensor: str, of) -> np.ndarray:
    """Return central differences of `of(mean, std)` by each number of a tensor (numbers, states, ...)."""
    count = policy.components[tensor.rpartition(".")[0]][tensor.rpartition(".")[2]].numel()
    ends = [[of(*outputs(policy, states, tensor, i, by)) for by in (STEP, -STEP)] for i in range(count)]
    return np.array([(high - low) / (2 * STEP) for high, low in ends])


def agree(measured: dict[str, torch.Tensor], computed: dict[str, np.ndarray]) -> None:
    """Assert that both are the same but for one scale, which their mean over all numbers sets."""
    ratio = [measured[name].flatten().numpy() / values for name, values in computed.items()]
    assert np.allclose(np.concatenate(ratio), ratio[0][0], rtol=2e-3)
    assert torch.cat([value.flatten() for value in measured.values()]).mean().item() == pytest.approx(1.0, rel=1e-5)


def test_fisher_information_is_the_mean_squared_slope_of_the_mean_in_deviations(policy, states):
    by_hand = {
        name: (slopes(policy, states, name, lambda mean, std: mean / std) ** 2).sum(2).mean(1) for name in TENSORS
    }
    agree(fisher(policy, states), by_hand)


def test_sensitivity_is_the_mean_absolute_slope_of_the_squared_output(policy, states):
    by_hand = {name: np.abs(slopes(policy, states, name, lambda mean, _: (mean**2).sum(1))).mean(1) for name in TENSORS}
    agree(sensitivity(policy, states), by_hand)


def test_importance_is_summed_over_stages_and_an_earlier_one_may_fade():
    earlier, of_stage = {"actor.head.bias": torch.tensor([1.0, 2.0])}, {"actor.head.bias": torch.tensor([4.0, 8.0])}
    assert accumulated(of_stage, earlier, 1.0)["actor.head.bias"].tolist() == [5.0, 10.0]
    assert accumulated(of_stage, earlier, 0.5)["actor.head.bias"].tolist() == [4.5, 9.0]
    assert accumulated(of_stage, earlier, 0.0)["actor.head.bias"].tolist() == [4.0, 8.0]


def test_importance_of_another_layer_is_refused_by_name():
    with pytest.raises(InputError, match="the importance of actor.head.bias over the stages before"):
        accumulated({"actor.head.bias": torch.zeros(3)}, {"actor.head.bias": torch.zeros(2)}, 1.0)


def test_what_a_policy_hands_on_is_added_where_it_is_asked_for(policy):
    online = WeightRegularizer(strength=1.0, on=("actor",), fisher=True, carry=1.0)
    alone = importance(policy, policy, online, None, 0)
    handing = Policy(card=policy.card, components=policy.components, memory={"stages.importance": alone})
    for name, value in importance(handing, handing, online, None, 0).items():
        assert torch.equal(value, 2 * alone[name])
