"""The cohort's PPO update is Stable-Baselines3's, on the same parameters, rollout and order of minibatches."""

from unittest.mock import patch

import msgspec
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.adapters import LowRank
from trl_suite.networks.activation_functions import ACTIVATIONS
from trl_suite.networks.card import Training
from trl_suite.networks.components import group
from trl_suite.training.cohort.learning.ppo_update import PPOUpdate, Transitions
from trl_suite.training.cohort.stacked.parameter_layout import on_policy
from trl_suite.training.cohort.stacked.stack import Stack
from trl_suite.training.sb3.methods.transplant import implant
from trl_suite.training.sb3.models import sb3_model as sb3

HOW = PPOHyperparameters(n_envs=4, n_steps=100, ent_coef=0.01, batch_size=64)


def learned(hyperparameters: PPOHyperparameters, seed: int = 0) -> PPO:
    """An SB3 model with a rollout in its buffer, from a policy that has moved already."""
    whole = msgspec.structs.replace(
        hyperparameters, batch_size=hyperparameters.n_envs * hyperparameters.n_steps
    )  # SB3 warns of a short last minibatch
    model = sb3.build("half-cheetah", whole, seed)
    model.batch_size = hyperparameters.batch_size
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.learn(hyperparameters.n_envs * hyperparameters.n_steps)
    with patch.object(model, "train"):
        model.learn(hyperparameters.n_envs * hyperparameters.n_steps, reset_num_timesteps=False)
    model.policy.optimizer.state.clear()  # the cohort's optimiser is fresh, as after a transplant
    return model


def cohort_of(model: PPO, hyperparameters: PPOHyperparameters, members: int, dtype=torch.float32) -> PPOUpdate:
    components = group("ppo", model.policy.named_parameters())
    adapted = tuple(net for net in ("actor", "critic") if f"adapter.{net}.trunk.0" in components)
    adapter = LowRank(on=adapted) if adapted else None
    layout = on_policy(17, 6, hyperparameters.hidden, adapter, hyperparameters.layer_norm)
    stack = Stack.zeros(layout, members, torch.device("cpu"), dtype)
    with torch.no_grad():
        for member in range(members):
            stack.write(member, components)
    return PPOUpdate(hyperparameters, stack)


def rollout_of(model: PPO, members: int, dtype=torch.float32) -> Transitions:
    buffer = model.rollout_buffer
    names = ("observations", "actions", "log_probs", "advantages", "returns")
    arrays = [buffer.swap_and_flatten(getattr(buffer, name)) for name in names]
    tensors = [torch.as_tensor(np.stack([array] * members)).to(dtype) for array in arrays]
    return Transitions(*tensors[:2], *(one[..., 0] for one in tensors[2:]))


def orders_of(hyperparameters: PPOHyperparameters, members: int, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    orders = np.stack(
        [rng.permutation(hyperparameters.n_envs * hyperparameters.n_steps) for _ in range(hyperparameters.n_epochs)]
    )
    return np.stack([orders] * members)


def train(model: PPO, orders: np.ndarray, dtype=torch.float32) -> None:
    """SB3's own update, with these permutations."""
    if dtype == torch.float64:
        model.policy.double()
        buffer = model.rollout_buffer
        for name in ("observations", "actions", "log_probs", "advantages", "returns", "values"):
            array = getattr(buffer, name)
            setattr(buffer, name, array.astype(np.float32).astype(np.float64))
    permutations = iter(orders)
    with (
        patch("numpy.random.permutation", lambda size: next(permutations)),
        patch("stable_baselines3.common.policies.preprocess_obs", lambda obs, *_, **__: obs.to(dtype)),
    ):
        model.train()


def difference(model: PPO, learner: PPOUpdate, member: int = 0) -> float:
    theirs, ours = group("ppo", model.policy.named_parameters()), learner.stack.member(member)
    assert theirs.keys() == ours.keys()
    return max(
        float((value.double() - ours[name][tensor].double()).abs().max().detach())
        for name, tensors in theirs.items()
        for tensor, value in tensors.items()
    )


def everything(learner: PPOUpdate) -> np.ndarray:
    return np.ones_like(learner.adam.learning)


both = pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["f64", "f32"])


@pytest.mark.parametrize("batch_size", [64, 100, 256])
@both
def test_a_whole_update_is_sb3s(batch_size, dtype, limit):
    hyperparameters = PPOHyperparameters(n_envs=4, n_steps=97, ent_coef=0.01, batch_size=batch_size)
    model = learned(hyperparameters)
    learner, orders = cohort_of(model, hyperparameters, 1, dtype), orders_of(hyperparameters, 1)
    rollout = rollout_of(model, 1, dtype)
    before = learner.stack.flat.clone()
    learner.update(rollout, orders, everything(learner))
    train(model, orders[0], dtype)
    assert float((learner.stack.flat - before).abs().max()) > 1e-3
    assert difference(model, learner) <= limit


@pytest.mark.parametrize("activation", ["tanh", "silu", "elu"])
def test_an_update_of_normalised_layers_is_sb3s(activation):
    hyperparameters = PPOHyperparameters(
        n_envs=4, n_steps=50, ent_coef=0.01, batch_size=64, hidden=(24, 10), activation=activation, layer_norm=True
    )
    model = learned(hyperparameters)
    learner, orders = cohort_of(model, hyperparameters, 2, torch.float64), orders_of(hyperparameters, 2)
    learning = everything(learner)
    for name, row, part in learner.stack.layout.components():
        learning[row, 1, learner.stack.layout.parts.index(part)] = name not in ("actor.trunk.0.norm", "critic.trunk.1")
    before = learner.stack.member(1)["actor.trunk.0.norm"]["weight"].clone()
    learner.update(rollout_of(model, 2, torch.float64), orders, learning)
    components = group("ppo", model.policy.named_parameters())
    for name in ("actor.trunk.0.norm", "critic.trunk.1"):
        for value in components[name].values():
            value.requires_grad_(False)
    train(model, orders[0], torch.float64)
    assert difference(model, learner, member=1) <= 1e-12
    assert torch.equal(learner.stack.member(1)["actor.trunk.0.norm"]["weight"], before)
    assert not torch.equal(learner.stack.member(0)["actor.trunk.0.norm"]["weight"], before)


def test_ten_steps_in_float32_are_within_rounding():
    hyperparameters = PPOHyperparameters(n_envs=4, n_steps=160, ent_coef=0.01, batch_size=64, n_epochs=1)
    model = learned(hyperparameters)
    learner, orders = cohort_of(model, hyperparameters, 1), orders_of(hyperparameters, 1)
    learner.update(rollout_of(model, 1), orders, everything(learner))
    train(model, orders[0])
    assert difference(model, learner) <= 2e-7


@both
def test_a_frozen_plan_is_sb3s_and_frozen_numbers_stay(dtype, limit):
    model = learned(HOW)
    frozen = ("actor.trunk.0", "critic.trunk.0", "critic.trunk.1")
    learner, orders = cohort_of(model, HOW, 2, dtype), orders_of(HOW, 2)
    learning = everything(learner)
    for name, row, part in learner.stack.layout.components():
        learning[row, 1, learner.stack.layout.parts.index(part)] = name not in frozen
    before = learner.stack.flat.clone()
    learner.update(rollout_of(model, 2, dtype), orders, learning)
    components = group("ppo", model.policy.named_parameters())
    for name in frozen:
        for value in components[name].values():
            value.requires_grad_(False)
    train(model, orders[0], dtype)
    assert difference(model, learner, member=1) <= limit
    assert difference(model, learner, member=0) > 1e-4
    for name, row, part in learner.stack.layout.components():
        span = slice(part.start, part.stop)
        assert torch.equal(learner.stack.flat[row, 1, span], before[row, 1, span]) == (name in frozen), name


@pytest.mark.parametrize(
    ("held", "on"),
    [(True, ("actor", "critic")), (False, ("actor", "critic")), (True, ("critic",))],
    ids=["held", "released", "of the critic alone"],
)
@both
def test_low_rank_products_are_sb3s(held, on, dtype, limit):
    model = learned(HOW)
    method = msgspec.structs.replace(methods.find("lora"), adapter=LowRank(on=on))
    method = method if held else msgspec.structs.replace(method, freeze=())
    implant(sb3.policy_of(model, Training(env="half-cheetah", seed=0, steps=0)), model, "lora", method, None, 0)
    learner, orders = cohort_of(model, HOW, 2, dtype), orders_of(HOW, 2)
    learning = everything(learner)
    for name, row, part in learner.stack.layout.components():
        if held and name.removeprefix("critic").removeprefix("actor").startswith(".trunk"):
            learning[row, :, learner.stack.layout.parts.index(part)] = False
    before = learner.stack.flat.clone()
    learner.update(rollout_of(model, 2, dtype), orders, learning)
    train(model, orders[0], dtype)
    assert difference(model, learner, member=1) <= limit
    for name, row, part in learner.stack.layout.components():
        span = slice(part.start, part.stop)
        moved = not torch.equal(learner.stack.flat[row, 1, span], before[row, 1, span])
        assert moved == (not held or ".trunk." not in name or name.startswith("adapter.")), name


@both
def test_members_stop_at_target_kl_where_sb3_does(dtype, limit):
    hyperparameters = PPOHyperparameters(n_envs=4, n_steps=100, batch_size=64, target_kl=0.01, ent_coef=0.01)
    rates = (3e-4, 3e-3)
    models = [learned(hyperparameters) for _ in rates]
    learner, orders = cohort_of(models[0], hyperparameters, 2, dtype), orders_of(hyperparameters, 2)
    learner.adam._rates[:, 1] *= 10
    learner.update(rollout_of(models[0], 2, dtype), orders, everything(learner))
    steps = learner.adam.count.max(axis=(0, 2))
    for index, (model, rate) in enumerate(zip(models, rates, strict=True)):
        model.lr_schedule = lambda _, rate=rate: rate
        train(model, orders[0], dtype)
        theirs = max(int(state["step"]) for state in model.policy.optimizer.state.values())
        assert steps[index] == theirs
        assert difference(model, learner, member=index) <= limit
    assert steps[1] < steps[0]


@pytest.mark.parametrize("clip", [1e3, 0.05, 1e-6], ids=["no sample clipped", "some", "nearly all"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_gradient_is_autograds(clip, activation):
    hyperparameters = PPOHyperparameters(
        n_envs=4, n_steps=100, clip_range=clip, ent_coef=0.01, activation=activation, hidden=(24, 32)
    )
    layout = on_policy(7, 3, hyperparameters.hidden)
    generator = torch.Generator().manual_seed(0)
    stack = Stack.zeros(layout, 2, torch.device("cpu"), torch.float64)
    for member in range(2):
        for tensors in stack.member(member).values():
            for value in tensors.values():
                value.normal_(std=0.3, generator=generator)
    learner = PPOUpdate(hyperparameters, stack)
    batch = torch.randn(2, 50, 16, dtype=torch.float64, generator=generator)
    batch[..., 10] = batch[..., 10] * 0.1 - 4.0  # log probabilities near those that the networks give
    learner.differentiate(batch)
    for member in range(2):
        parameters = {
            name: {tensor: value.clone().requires_grad_() for tensor, value in tensors.items()}
            for name, tensors in stack.member(member).items()
        }
        _loss(parameters, batch[member], hyperparameters).backward()
        for name, tensors in learner.gradient.member(member).items():
            for tensor, value in tensors.items():
                theirs = parameters[name][tensor].grad
                assert float((value - theirs).abs().max()) <= 1e-12 + 1e-9 * float(theirs.abs().max()), name


def _loss(parameters, batch, hyperparameters) -> torch.Tensor:
    """PPO's loss with torch's own distributions and autograd."""
    normalized_obs, action, rest = batch[:, :7], batch[:, 7:10], batch[:, 10:]

    def output(net):
        features, act = normalized_obs, ACTIVATIONS[hyperparameters.activation].module()
        for layer in ("trunk.0", "trunk.1"):
            own = parameters[f"{net}.{layer}"]
            features = act(torch.nn.functional.linear(features, own["weight"], own["bias"]))
        return torch.nn.functional.linear(features, *parameters[f"{net}.head"].values())

    density = torch.distributions.Normal(output("actor"), parameters["log_std"]["value"].exp())
    ratio = (density.log_prob(action).sum(1) - rest[:, 0]).exp()
    advantage = (rest[:, 1] - rest[:, 1].mean()) / (rest[:, 1].std() + 1e-8)
    gain = torch.min(
        advantage * ratio, advantage * ratio.clamp(1 - hyperparameters.clip_range, 1 + hyperparameters.clip_range)
    ).mean()
    value = torch.nn.functional.mse_loss(output("critic")[:, 0], rest[:, 2])
    return -gain - hyperparameters.ent_coef * density.entropy().sum(1).mean() + hyperparameters.vf_coef * value


def test_denormals_do_not_slow_it_down():
    """Numbers below the normal range make a product a hundred times slower: the cohort rounds them to zero."""
    from trl_suite.training.cohort.cohort_training import _without_denormals

    tiny = torch.full((4,), 1e-30)
    with _without_denormals():
        assert float((tiny * 1e-12).sum()) == 0.0
    assert float((tiny * 1e-12).sum()) > 0.0
