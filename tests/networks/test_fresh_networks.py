"""Fresh components have the bits that Stable-Baselines3 draws for the same seed."""

import pytest
import torch

from trl_suite.algorithms.registry import DESCRIPTORS, find
from trl_suite.mechanisms import methods
from trl_suite.networks.card import Training
from trl_suite.networks.fresh_networks import fresh_moments, fresh_networks
from trl_suite.training import settings
from trl_suite.training.cohort.member_start import normaliser_of, policy_of, start
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.sb3.methods import source_memory
from trl_suite.training.sb3.methods.transplant import implant
from trl_suite.training.sb3.models import sb3_model
from trl_suite.training.training_run import TrainingRun

ENV = "hopper"
IN_COHORTS = [name for name, descriptor in DESCRIPTORS.items() if descriptor.cohort_update]
CARD = Training(env=ENV, seed=0, steps=0)
TRANSPLANTS = ["scratch", "finetune", "feature-extraction", "shuffled-frozen", "shrink-perturb", "lora"]
KEYS = [
    {}, {"hidden": ()}, {"hidden": (7,)}, {"hidden": (33, 17, 5), "normalise_observation": True},
    {"hidden": (33, 17), "layer_norm": True},
]  # fmt: skip
MORE = {
    "ppo": [{"ortho_init": False}, {"log_std_init": -0.7, "normalise_reward": False}],
    "a2c": [{"use_rms_prop": False}, {"ortho_init": False}],
    "sac": [{"ent_coef": 0.2}],
}
CASES = [(name, keys) for name in IN_COHORTS for keys in (*KEYS, *MORE.get(name, ()))]


def small(algorithm: str, **keys):
    return find(algorithm).hyperparameters(**{"buffer_size": 64} | keys if not find(algorithm).on_policy else keys)


def same(one, other) -> None:
    assert list(one) == list(other)
    for name, tensors in one.items():
        assert set(tensors) == set(other[name]), name
        for tensor, value in tensors.items():
            expected = other[name][tensor]
            assert value.dtype == expected.dtype, f"{name}.{tensor}"
            assert torch.equal(value, expected), f"{name}.{tensor}"
            assert isinstance(value, torch.nn.Parameter) == isinstance(expected, torch.nn.Parameter), f"{name}.{tensor}"
            assert value.requires_grad == expected.requires_grad, f"{name}.{tensor}"


def training(hyperparameters, seed: int, **more) -> TrainingRun:
    evaluation = settings.Evaluation(every=10)
    return TrainingRun(env=ENV, hyperparameters=hyperparameters, seed=seed, steps=10, evaluation=evaluation, **more)


@pytest.mark.parametrize(("algorithm", "keys"), CASES)
@pytest.mark.parametrize("seed", [5])
def test_a_member_starts_with_the_components_of_an_sb3_model(algorithm, keys, seed):
    hyperparameters = small(algorithm, **keys)
    model = sb3_model.build(ENV, hyperparameters, seed)
    begun = start(training(hyperparameters, seed), spaces_of(ENV))
    same(begun.components, sb3_model.components_of(model))
    same(begun.memory, source_memory.empty(model))
    assert normaliser_of(hyperparameters) == sb3_model.normaliser_of(model)


@pytest.mark.parametrize("algorithm", ["tqc"])
def test_others_would_start_as_on_sb3_too(algorithm):
    model = sb3_model.build(ENV, small(algorithm), 3)
    networks = fresh_networks(small(algorithm), 11, 3, seed_for(3, "learner"))
    same(networks, sb3_model.components_of(model))
    same(fresh_moments(networks), source_memory.optimizer_state(model))


def test_the_global_generator_is_left_as_it_was():
    torch.manual_seed(7)
    expected = torch.get_rng_state()
    fresh_networks(small("ppo"), 11, 3, 0)
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize("algorithm", IN_COHORTS)
@pytest.mark.parametrize(
    "name", ["scratch", "finetune", "feature-extraction", "shuffled-frozen", "shrink-perturb", "lora"]
)
def test_a_transplant_into_a_member_is_that_into_an_sb3_model(algorithm, name):
    method, hyperparameters = methods.find(name), small(algorithm, hidden=(9, 6))
    if methods.refusal("cohort", method, algorithm):
        pytest.skip("a cohort refuses it")
    place = spaces_of(ENV)
    of_source = start(training(hyperparameters, 11), place)
    source = policy_of(hyperparameters, place, of_source.components, CARD)
    model = sb3_model.build(ENV, hyperparameters, 4)
    record = implant(source, model, "own", method, None, seed_for(4, "method"))
    begun = start(training(hyperparameters, 4, method="own", definition=method, source=source), place)
    assert begun.record == record
    same(begun.components, sb3_model.components_of(model))
    policies = policy_of(hyperparameters, place, begun.components, CARD), sb3_model.policy_of(model, CARD)
    assert policies[0].card == policies[1].card
    assert policies[0].digest == policies[1].digest
