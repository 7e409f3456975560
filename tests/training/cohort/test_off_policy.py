"""The cohort's SAC and TD3 updates are Stable-Baselines3's, on the same parameters, transitions and noise."""

from contextlib import ExitStack
from unittest.mock import patch

import msgspec
import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.networks.components import TARGET
from trl_suite.training.cohort.learning.off_policy import layouts
from trl_suite.training.cohort.learning.replay_rings import TransitionBatch
from trl_suite.training.cohort.learning.sac_update import SACUpdate
from trl_suite.training.cohort.learning.td3_update import TD3Update
from trl_suite.training.cohort.stacked.stack import Stack
from trl_suite.training.sb3.models import sb3_model as sb3

SLOTS, ACTIONS, SIZE = 17, 6, 64
HOWS = {
    "sac": SACHyperparameters(batch_size=SIZE, hidden=(48, 32), buffer_size=10),
    "sac with fixed temperature": SACHyperparameters(batch_size=SIZE, hidden=(48, 32), buffer_size=10, ent_coef=0.1),
    "td3": TD3Hyperparameters(batch_size=SIZE, hidden=(40, 30), buffer_size=10),
    **{
        f"{name} layer_norm": kind(batch_size=SIZE, hidden=(24, 16), buffer_size=10, activation="tanh", layer_norm=True)
        for name, kind in {"sac": SACHyperparameters, "td3": TD3Hyperparameters}.items()
    },
    "td3 without delay": TD3Hyperparameters(batch_size=SIZE, hidden=(40, 30), buffer_size=10, policy_delay=1, tau=0.1),
    **{
        f"sac {activation}": SACHyperparameters(batch_size=SIZE, hidden=(24, 16), buffer_size=10, activation=activation)
        for activation in ("elu", "silu", "leaky_relu")
    },
}
QUICK = ("sac", "td3", "sac layer_norm")  # a hundred updates in double precision; those of the others are slow
OURS = {"sac": SACUpdate, "td3": TD3Update}


def sb3_model(hyperparameters, seed: int, dtype):
    model = sb3.build("half-cheetah", hyperparameters, seed)
    model.set_logger(Logger(folder=None, output_formats=[]))
    if dtype == torch.float64:
        model.policy.double()
        if getattr(model, "log_ent_coef", None) is not None:
            model.log_ent_coef = model.log_ent_coef.detach().double().requires_grad_()
            model.ent_coef_optimizer = torch.optim.Adam([model.log_ent_coef], lr=hyperparameters.learning_rate)
        elif hasattr(model, "ent_coef_tensor"):
            model.ent_coef_tensor = torch.tensor(hyperparameters.ent_coef, dtype=torch.float64)
    return model


def cohort_of(models, hyperparameters, dtype):
    stacks = {
        name: Stack.zeros(layout, len(models), torch.device("cpu"), dtype)
        for name, layout in layouts(hyperparameters, SLOTS, ACTIONS).items()
    }
    with torch.no_grad():
        for index, model in enumerate(models):
            for stack in stacks.values():
                stack.write(index, sb3.components_of(model))
    return OURS[hyperparameters.algorithm](hyperparameters, stacks, {})


def batches(hyperparameters, members: int, updates: int, dtype):
    """Transitions and noise for every update, of a world that changes slowly."""
    generator = torch.Generator().manual_seed(1)
    draws = 2 if hyperparameters.algorithm == "sac" else 1
    for _ in range(updates):
        numbers = [torch.randn(members, SIZE, n, generator=generator, dtype=dtype) for n in (SLOTS, ACTIONS, 1, SLOTS)]
        not_done = (torch.rand(members, SIZE, generator=generator) > 0.1).to(dtype)
        batch = TransitionBatch(numbers[0], numbers[1].tanh(), numbers[2][..., 0], numbers[3], not_done)
        yield batch, torch.randn(draws, members, SIZE, ACTIONS, generator=generator, dtype=dtype)


def train(model, batch: TransitionBatch, draws: torch.Tensor, member: int) -> None:
    """One of SB3's own updates, on one member's transitions and noise."""
    samples = ReplayBufferSamples(
        observations=batch.observation[member],
        actions=batch.action[member],
        next_observations=batch.next_obs[member],
        dones=1 - batch.not_done[member, :, None],
        rewards=batch.reward[member, :, None],
        discounts=None,
    )
    noise = iter(draws[:, member])
    with ExitStack() as stack:
        stack.enter_context(patch.object(model.replay_buffer, "sample", lambda *_, **__: samples))
        stack.enter_context(
            patch(
                "torch.distributions.Normal.rsample",
                lambda normal, shape=None: normal.mean + normal.stddev * next(noise),
            )
        )
        stack.enter_context(patch("torch.Tensor.normal_", lambda tensor, mean, std: tensor.copy_(next(noise) * std)))
        stack.enter_context(patch("stable_baselines3.common.policies.preprocess_obs", lambda obs, *_, **__: obs))
        model.train(1, SIZE)


def difference(model, learner, member: int) -> float:
    theirs = sb3.components_of(model)
    return max(
        float((theirs[name][tensor].detach().double() - value.double()).abs().max())
        for stack in learner.stacks.values()
        for name, tensors in stack.member(member).items()
        for tensor, value in tensors.items()
    )


@pytest.mark.parametrize(
    ("name", "dtype", "updates", "limit"),
    [
        *(pytest.param(name, torch.float32, 10, 1e-5, id=f"f32-{name}") for name in HOWS),
        *(
            pytest.param(
                name, torch.float64, 100, 1e-12, id=f"f64-{name}", marks=[] if name in QUICK else [pytest.mark.slow]
            )
            for name in HOWS
        ),
    ],
)
def test_updates_are_sb3s(name, dtype, updates, limit):
    hyperparameters = HOWS[name]
    models = [sb3_model(hyperparameters, seed, dtype) for seed in range(3)]
    learner = cohort_of(models, hyperparameters, dtype)
    before = {key: stack.flat.clone() for key, stack in learner.stacks.items()}
    for batch, draws in batches(hyperparameters, 3, updates, dtype):
        learner.update(batch, draws)
        for member, model in enumerate(models):
            train(model, batch, draws, member)
    for key, stack in learner.stacks.items():
        assert float((stack.flat - before[key]).abs().max()) > 2 * limit, key
    assert max(difference(model, learner, member) for member, model in enumerate(models)) <= limit


@pytest.mark.parametrize("name", ["sac", "td3", "sac layer_norm"])
def test_a_frozen_plan_is_sb3s_and_frozen_numbers_stay(name):
    hyperparameters = HOWS[name]
    models = [sb3_model(hyperparameters, seed, torch.float64) for seed in range(2)]
    learner = cohort_of(models, hyperparameters, torch.float64)
    frozen = [
        "actor.trunk.0",
        "critic.trunk.0",
        "critic.trunk.1",
        *(["log_std", "temperature"] if name == "sac" else []),
    ]
    for adam in learner.optimisers.values():
        learning = adam.learning.copy()
        for place in adam.stack.layout.places:
            learning[place.row, 1, place.part] = place.component not in frozen
        adam.set_learning(learning)
    components = sb3.components_of(models[1])
    for component in frozen:
        for value in components[component].values():
            value.requires_grad_(False)
    sb3.hold_temperature(models[1], tuple(frozen))
    before = {
        key: {n: v.clone() for n, v in t.items()} for s in learner.stacks.values() for key, t in s.member(1).items()
    }
    for batch, draws in batches(hyperparameters, 2, 20, torch.float64):
        learner.update(batch, draws)
        for member, model in enumerate(models):
            train(model, batch, draws, member)
    assert max(difference(model, learner, member) for member, model in enumerate(models)) <= 1e-12
    for stack in learner.stacks.values():
        for component, tensors in stack.member(1).items():
            if not component.startswith(TARGET):
                same = all(torch.equal(value, before[component][tensor]) for tensor, value in tensors.items())
                assert same == (component in frozen), component


def test_a_member_alone_makes_the_same_updates():
    hyperparameters = msgspec.structs.replace(HOWS["sac"], hidden=(64, 64))
    models = [sb3_model(hyperparameters, seed, torch.float32) for seed in range(5)]
    every, alone = (
        cohort_of(models, hyperparameters, torch.float32),
        cohort_of(models[3:4], hyperparameters, torch.float32),
    )
    for batch, draws in batches(hyperparameters, 5, 20, torch.float32):
        every.update(batch, draws)
        alone.update(TransitionBatch(*(one[3:4].clone() for one in batch)), draws[:, 3:4].clone())
    for key, stack in every.stacks.items():
        assert np.array_equal(stack.flat[:, 3].numpy(), alone.stacks[key].flat[:, 0].numpy()), key
