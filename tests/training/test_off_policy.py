"""SAC and TD3 on the SB3 engine: twins, targets, temperature, and who acts while the replay fills."""

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC, TD3

from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.errors import InputError
from trl_suite.mechanisms import freeze_schedule
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.card import Training
from trl_suite.networks.policy import load
from trl_suite.training import settings
from trl_suite.training.from_scratch import Unwatched
from trl_suite.training.sb3.loop import train
from trl_suite.training.sb3.methods import source_memory
from trl_suite.training.sb3.methods.transplant import transplant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.training_run import TrainingRun

PENDULUM = "inverted-pendulum"
CARD = Training(env=PENDULUM, seed=0, steps=0)
TINY = {"hidden": (8, 8), "buffer_size": 1000, "learning_starts": 50, "batch_size": 16}
HOW = {"sac": SACHyperparameters(**TINY), "td3": TD3Hyperparameters(**TINY)}
ALGORITHMS = pytest.mark.parametrize("algorithm", ["sac", "td3"])


def trained(algorithm: str, seed: int = 0, steps: int = 120):
    model = sb3.build(PENDULUM, HOW[algorithm], seed)
    model.learn(steps)
    return model


def numbers(model) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{tensor}": value.detach().clone()
        for name, tensors in sb3.components_of(model).items()
        for tensor, value in tensors.items()
    }


@pytest.fixture(scope="module")
def sources():
    return {name: sb3.policy_of(trained(name, seed=7), CARD) for name in HOW}


@ALGORITHMS
def test_every_parameter_is_in_one_component(algorithm):
    model = sb3.build(PENDULUM, HOW[algorithm], 0)
    components = sb3.components_of(model)
    ours = [id(value) for tensors in components.values() for value in tensors.values()]
    assert len(ours) == len(set(ours))
    assert {id(parameter) for parameter in model.policy.parameters()} <= set(ours)
    assert sorted(components["critic.head"]) == ["q0_bias", "q0_weight", "q1_bias", "q1_weight"]
    assert ("temperature" in components) == (algorithm == "sac")
    assert ("target.actor.head" in components) == (algorithm == "td3")


@ALGORITHMS
def test_a_policy_predicts_the_same_bits_as_its_model_and_survives_its_folder(algorithm, sources, tmp_path):
    model = trained(algorithm, seed=7)
    policy = load(sources[algorithm].save(tmp_path / "policy"))
    seen = np.random.default_rng(0).normal(scale=20, size=(64, 4)).astype(np.float32)
    expected, _ = model.predict(seen, deterministic=True)
    assert np.array_equal(policy.predict(seen)[0], expected)
    assert abs(expected).max() > 1, "the pendulum's actions reach to 3: squashed actions are stretched to the bounds"


@ALGORITHMS
def test_targets_equal_what_was_copied(algorithm, sources):
    model = sb3.build(PENDULUM, HOW[algorithm], 1)
    record = transplant(sources[algorithm], model, Method(copy=("critic",)))
    after = numbers(model)
    for name, value in sources[algorithm].components["critic.head"].items():
        assert torch.equal(after[f"critic.head.{name}"], value)
        assert torch.equal(after[f"target.critic.head.{name}"], value)
    assert record.synced == ("target.critic.trunk.0", "target.critic.trunk.1", "target.critic.head")
    everything = record.copied + record.synced + record.fresh
    available = sb3.components_of(model) | source_memory.empty(model)
    assert sorted(everything) == sorted(available), "every component stands in the record once"


def test_the_temperature_is_copied_and_can_be_frozen(sources):
    model = sb3.build(PENDULUM, HOW["sac"], 1)
    transplant(sources["sac"], model, Method(copy=("temperature", "actor"), freeze=("temperature",)))
    source = sources["sac"].components["temperature"]["value"]
    assert torch.equal(model.log_ent_coef.detach(), source)
    model.learn(120)
    assert torch.equal(model.log_ent_coef.detach(), source)
    other = sb3.build(PENDULUM, HOW["sac"], 1)
    transplant(sources["sac"], other, Method(copy=("temperature", "actor")))
    other.learn(120)
    assert not torch.equal(other.log_ent_coef.detach(), source)


@ALGORITHMS
@pytest.mark.parametrize("depth", [1, 2])
def test_frozen_layers_are_bit_identical_and_the_others_moved(algorithm, depth, sources):
    model = sb3.build(PENDULUM, HOW[algorithm], 3)
    record = transplant(sources[algorithm], model, f"partial-freeze-{depth}")
    seal = freeze_schedule.sealed(sb3.components_of(model), record.frozen)
    before = numbers(model)
    model.learn(120)
    assert freeze_schedule.proved(seal, sb3.components_of(model)).holds
    for name, value in numbers(model).items():
        component = name.rpartition(".")[0]
        if component not in record.frozen and not component.startswith("target."):
            assert not torch.equal(value, before[name]), name


@ALGORITHMS
def test_a_transferred_policy_acts_before_learning_starts_and_scratch_draws_uniformly(algorithm, sources):
    transferred, scratch = (sb3.build(PENDULUM, HOW[algorithm], 5) for _ in range(2))
    transplant(sources[algorithm], transferred, "finetune")
    transplant(None, scratch, "scratch")
    before = numbers(transferred)
    for model in (transferred, scratch):
        model.learn(40)  # fewer than learning_starts
    assert all(torch.equal(value, before[name]) for name, value in numbers(transferred).items()), "nothing was updated"
    seen = transferred.replay_buffer.observations[:40, 0]
    mean = sources[algorithm].predict(seen)[0]
    drawn = transferred.policy.unscale_action(transferred.replay_buffer.actions[:40, 0])
    uniform = scratch.policy.unscale_action(scratch.replay_buffer.actions[:40, 0])
    assert np.std(uniform) > 1.2
    if algorithm == "td3":
        assert np.abs(drawn - mean).max() < 3 * 0.1 * 5
    assert not np.allclose(drawn, uniform)


def test_a_source_of_another_algorithm_is_refused_with_both_names(sources):
    model = sb3.build(PENDULUM, HOW["td3"], 0)
    with pytest.raises(
        InputError, match="the source's policy is sac with relu layers, the model's td3 with relu layers"
    ):
        transplant(sources["sac"], model, "finetune")


@ALGORITHMS
def test_training_runs_from_a_job_and_repeats(algorithm, sources):
    job = TrainingRun(
        env=PENDULUM, hyperparameters=HOW[algorithm], seed=2, steps=120,
        evaluation=settings.Evaluation(every=60, episodes=2),
        method="feature-extraction", definition=Method(copy=("actor.trunk",), freeze=("actor.trunk",)),
        source=sources[algorithm],
    )  # fmt: skip
    one, two = train(job, Unwatched()), train(job, Unwatched())
    assert one.policy.digest == two.policy.digest
    assert one.freeze.holds
    assert one.policy.card.algorithm == algorithm


@ALGORITHMS
def test_a_readers_own_plain_model_can_be_a_target(algorithm, sources):
    kind = {"sac": SAC, "td3": TD3}[algorithm]
    worlds = sb3.build(PENDULUM, HOW[algorithm], 0).get_env()
    model = kind("MlpPolicy", worlds, policy_kwargs={"net_arch": [8, 8]}, buffer_size=100, device="cpu")
    record = transplant(sources[algorithm], model, "finetune")
    assert "actor.head" in record.copied


def test_a_temperature_that_is_thawed_is_tuned_again():
    model = sb3.build("inverted-pendulum", HOW["sac"], 0)
    sb3.hold_temperature(model, ("temperature",))
    assert model.ent_coef_optimizer is None
    sb3.hold_temperature(model, ())
    assert model.ent_coef_optimizer.param_groups[0]["params"] == [model.log_ent_coef]
