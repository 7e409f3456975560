"""Sources that learn several tasks at once, or the world's dynamics without any reward."""

import msgspec
import numpy as np
import pytest
import torch

from tests.training.conftest import CARD, FOLLOW, HOW, Follow, Steps, job, numbers
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.training.from_scratch import Unwatched
from trl_suite.training.sb3.dynamics import DynamicsTransitions, learn_trunks
from trl_suite.training.sb3.loop import train
from trl_suite.training.sb3.methods.transplant import implant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.multi_head import Heads, Marked
from trl_suite.training.settings import Dynamics, SourceTraining

PENDULUM = "inverted-pendulum"
MIX = (f"{PENDULUM}.gravity-0.5", f"{PENDULUM}.inverted-actions")
TWO = {name: msgspec.structs.replace(hyperparameters, n_envs=2) for name, hyperparameters in HOW.items()}
ALGORITHMS = pytest.mark.parametrize("algorithm", ["ppo", "sac", pytest.param("td3", marks=pytest.mark.slow)])


def heads_of(model) -> dict[str, torch.Tensor]:
    return {path: module.weight for path, module in model.policy.named_modules() if isinstance(module, Heads)}


@ALGORITHMS
def test_each_task_has_its_own_heads_on_one_trunk(algorithm):
    model = sb3.build(PENDULUM, TWO[algorithm], 0, training_variants=MIX, heads=True)
    implant(None, model, "scratch", Method(), None, 0)
    before = {path: weight.detach().clone() for path, weight in heads_of(model).items()}
    assert all(torch.equal(weight[0], weight[1]) for weight in before.values()), "they begin alike"
    model.learn(256 if algorithm == "ppo" else 120)
    for path, weight in heads_of(model).items():
        assert len(weight) == 2
        assert not torch.equal(weight[0], weight[1]), f"{path}: each has learned from its own task"


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_task_moves_its_own_head_and_no_other_and_the_trunk_never_sees_the_mark(algorithm):
    model = sb3.build(PENDULUM, TWO[algorithm], 0, training_variants=MIX, heads=True)
    first = next(module for path, module in model.policy.named_modules() if isinstance(module, Heads))
    features = torch.randn(5, first.weight.shape[2])
    outputs = first(torch.cat([features, torch.tensor([[0.0, 1.0]]).repeat(5, 1)], dim=1))
    outputs.sum().backward()
    assert not bool(first.weight.grad[0].any())
    assert bool(first.weight.grad[1].any())
    assert numbers(model)["actor.trunk.0.weight"].shape == (8, 4)


@ALGORITHMS
@pytest.mark.parametrize("normalise", [False, True])
def test_what_is_stored_has_the_mean_of_the_heads_and_is_an_ordinary_policy(algorithm, normalise, tmp_path):
    hyperparameters = msgspec.structs.replace(TWO[algorithm], normalise_observation=normalise)
    task = job(
        algorithm,
        None,
        Method(),
        env=PENDULUM,
        hyperparameters=hyperparameters,
        training_variants=MIX,
        source_training=SourceTraining(heads=True),
        steps=128,
    )
    outcome = train(task, Steps())
    policy = outcome.policy
    assert policy.interface == sb3.interface_of_model(sb3.build(PENDULUM, hyperparameters, 0))
    assert policy.predict(np.zeros((3, 4)))[0].shape == (3, 1)
    policy.to_sb3(tmp_path / "policy.zip")
    target = sb3.build(PENDULUM, hyperparameters, 1)
    assert "actor.trunk.0" in implant(policy, target, "finetune", methods.find("finetune"), None, 0).copied
    again = train(task, Unwatched())
    assert again.policy.digest == policy.digest


def test_the_stored_head_is_the_mean():
    model = sb3.build(PENDULUM, TWO["ppo"], 0, training_variants=MIX, heads=True)
    implant(None, model, "scratch", Method(), None, 0)
    model.learn(128)
    heads = heads_of(model)
    stored = sb3.policy_of(model, CARD).components
    assert torch.equal(stored["actor.head"]["weight"], heads["action_net"].mean(0))
    assert torch.equal(stored["critic.head"]["weight"], heads["value_net"].mean(0))


def test_a_marked_world_says_whose_it_is_to_the_end_of_its_episode():
    worlds = Marked(sb3.build(FOLLOW, PPOHyperparameters(n_envs=3, batch_size=96), 0).get_env().venv, 2)
    marks = worlds.reset()[:, 3:]
    assert marks.tolist() == [[1, 0], [0, 1], [1, 0]]
    for _ in range(16):
        observation, _, ended, infos = worlds.step(np.zeros((3, 1), dtype=np.float32))
    assert ended.all()
    assert observation[:, 3:].tolist() == marks.tolist()
    assert [info["terminal_observation"][3:].tolist() for info in infos] == marks.tolist()


# --- dynamics, without any reward -----------------------------------------------------------------------------------


def dynamic(algorithm: str, env: str = PENDULUM):
    return job(
        algorithm, None, Method(), env=env, steps=300, source_training=SourceTraining(dynamics=Dynamics(epochs=3))
    )


@ALGORITHMS
def test_trunks_learn_and_heads_stay_as_they_were(algorithm):
    watcher = Steps()
    outcome = train(dynamic(algorithm), watcher)
    fresh = numbers(sb3.build(PENDULUM, HOW[algorithm], 3))
    assert watcher.seen == [0, 128, 256, 300]
    assert outcome.steps == 300, "random actions are paid for"
    assert outcome.policy.card.training.steps == 300
    assert outcome.policy.card.training.hyperparameters["dynamics"] == {"epochs": 3}
    for component, tensors in outcome.policy.components.items():
        for name, value in tensors.items():
            learned = ".trunk." in component or component == "normaliser.observation"
            assert torch.equal(value, fresh[f"{component}.{name}"]) != learned, f"{component}.{name}"
    target = sb3.build(PENDULUM, HOW[algorithm], 1)
    assert implant(outcome.policy, target, "trunk-only", methods.find("trunk-only"), None, 0).copied


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_no_reward_is_read(algorithm, monkeypatch):
    rewarded = train(dynamic(algorithm, env=FOLLOW), Unwatched()).policy.digest
    original = Follow.step

    def unpaid(world, action):
        observation, _, terminated, truncated, info = original(world, action)
        return observation, 1e9, terminated, truncated, info

    monkeypatch.setattr(Follow, "step", unpaid)
    assert train(dynamic(algorithm, env=FOLLOW), Unwatched()).policy.digest == rewarded


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
@pytest.mark.parametrize(("forward", "inverse"), [(0.2, 0.8), (0.0, 1.0), (1.0, 0.0)])
def test_the_features_tell_more_of_the_world_than_before(algorithm, forward, inverse):
    """On a world whose next state is a known function of state and action."""
    generator = torch.Generator().manual_seed(0)
    before, action = torch.randn(2000, 4, generator=generator), torch.rand(2000, 1, generator=generator) * 2 - 1
    moves = DynamicsTransitions(before, action, before + torch.cat([action, -action, action, before[:, :1]], dim=1))
    model = sb3.build(PENDULUM, HOW[algorithm], 0)
    hyperparameters = Dynamics(forward=forward, inverse=inverse, epochs=8)
    losses = learn_trunks(model, moves, hyperparameters, 64, generator)
    assert losses[-1] < 0.6 * losses[0]
