"""Methods act in a cohort as they say, and what comes out of it is an ordinary policy."""

import msgspec
import numpy as np
import pytest
import torch

from tests.training.cohort.small import HOW, Keeping, job, numbers, run
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.adapters import LowRank
from trl_suite.mechanisms.distillation import Distillation
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.weight_regularizer import WeightRegularizer
from trl_suite.networks.actor import source_actor
from trl_suite.networks.align import align
from trl_suite.networks.policy import load
from trl_suite.networks.store import digest
from trl_suite.training import settings
from trl_suite.training.acting.evaluation import Evaluator
from trl_suite.training.cohort.cohort_key import bytes_of, cohort_key, obstacle
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.worlds.stepping.env import make

COPIED = ("actor", "critic", "normaliser")


def test_a_scratch_member_starts_from_sb3s_parameters_of_its_seed(make_job):
    watcher = Keeping(keep=True)
    run([make_job(seed=5)], [watcher])
    model = sb3.build("inverted-pendulum", msgspec.structs.replace(HOW, batch_size=64), 5)
    components = sb3.components_of(model)
    actor = watcher.snapshots[0].arrays["parameters.policy"][0]
    weight = components["actor.trunk.0"]["weight"].detach().numpy()
    assert np.array_equal(actor[: weight.size].reshape(weight.shape), weight)


NAMES = [  # those of sequences alone: tests/mechanisms/test_packing.py and test_stage_memory.py
    name.replace("K", "1") for name, method in methods.shipped().items() if not methods.sequence_key(method)
]


def test_only_guides_adapters_memories_and_head_starts_are_left_to_sb3():
    left = {name for name in NAMES if obstacle(job(method=name))}
    assert left == {"jsrl", "learned-adapter", "progressive", "residual", "componet", "progress-and-compress"}


def test_low_rank_products_are_a_cohorts_where_nothing_pulls_beside_them():
    lora = methods.find("lora")
    pulled = [
        msgspec.structs.replace(lora, weight_regularizer=WeightRegularizer(strength=1.0)),
        msgspec.structs.replace(lora, distillation=Distillation(strength=1.0)),
    ]
    assert not obstacle(job(method="lora"))
    assert all("adapter" in obstacle(job(method="own", definition=one)) for one in pulled)
    assert "adapter" in obstacle(job(method="lora", hyperparameters=SACHyperparameters()))
    ranks = [msgspec.structs.replace(lora, adapter=LowRank(rank=rank)) for rank in (2, 4)]
    apart = {cohort_key(job(method="own", definition=one)) for one in ranks} | {cohort_key(job())}
    assert len(apart) == 3
    assert bytes_of(job(method="lora")) > bytes_of(job())


def test_a_low_rank_member_is_stored_as_the_plain_network_that_it_acts_as(make_job, source):
    watcher = Keeping()
    outcome = run([make_job(method="lora")], [watcher])[0]
    assert not any(name.startswith("adapter.") for name in outcome.policy.components)
    moved = outcome.policy.components["actor.trunk.0"]["weight"] - source.components["actor.trunk.0"]["weight"]
    assert int(torch.linalg.matrix_rank(moved, rtol=1e-4)) == 4
    (_, first), *_, (_, last) = watcher.curve
    again = Evaluator("inverted-pendulum", 2)(lambda normalized_obs: outcome.policy.predict(normalized_obs)[0])
    assert [one.length for one in last] == [one.length for one in again] != [one.length for one in first]


@pytest.mark.parametrize("name", [name for name in NAMES if not obstacle(job(method=name))])
def test_every_method_that_a_cohort_can_do_trains_and_proves_its_freeze(make_job, name):
    job = make_job(method=name)
    outcome = run([job])[0]
    assert outcome.freeze.holds
    assert set(outcome.freeze.before) == set(outcome.transplant.frozen)
    assert all(np.isfinite(value).all() for value in numbers(outcome).values())
    shuffled = set(job.definition.shuffle and outcome.transplant.copied)
    held = set(outcome.transplant.frozen) - set(outcome.freeze.until) - shuffled
    folded = {name.removeprefix("adapter.") for name in outcome.transplant.fresh}  # into what is stored
    for component in held & set(outcome.transplant.copied) - folded:
        for tensor, value in job.source.components[component].items():
            if tensor != "count":
                assert torch.equal(outcome.policy.components[component][tensor], value), component


def test_frozen_statistics_stay_and_others_follow(make_job, source):
    frozen = Method(copy=COPIED, log_std="copied", normaliser="frozen")
    held, free = run([make_job(method="own", definition=frozen), make_job(seed=1, method="finetune")])
    mean = source.components["normaliser.observation"]["mean"]
    assert torch.equal(held.policy.components["normaliser.observation"]["mean"], mean)
    assert not torch.equal(
        held.policy.components["normaliser.return"]["var"], source.components["normaliser.return"]["var"]
    )
    assert not torch.equal(free.policy.components["normaliser.observation"]["mean"], mean)


def test_a_pull_on_weights_keeps_them_nearer_to_the_source(make_job, source):
    stiff = Method(copy=COPIED, log_std="copied", weight_regularizer=WeightRegularizer(strength=200.0, on=("actor",)))
    free, pulled = run([make_job(seed=1, method="finetune"), make_job(seed=1, method="own", definition=stiff)])

    def away(outcome, part):
        return sum(
            float((outcome.policy.components[name]["weight"] - tensors["weight"]).abs().sum())
            for name, tensors in source.components.items()
            if name.startswith(part)
        )

    assert away(pulled, "actor.") < 0.5 * away(free, "actor.")
    assert away(pulled, "critic.") > 0.5 * away(free, "critic.")


def test_kickstarting_brings_the_actions_nearer_to_the_sources(make_job, source):
    kick = Method(copy=("normaliser.observation",), distillation=Distillation(strength=5.0))
    plain, kicked = run([make_job(seed=1, method="statistics-only"), make_job(seed=1, method="own", definition=kick)])
    states = np.random.default_rng(0).normal(size=(200, 4)) * [0.1, 0.05, 0.3, 0.3]
    theirs, _ = source_actor(source, source.interface, align(source.interface, source.interface)).gaussian(states)

    def away(outcome):
        normalized_obs = torch.as_tensor(outcome.policy.normalised(states))
        mean, _ = outcome.policy.gaussian(normalized_obs, outcome.policy.components)
        return float((mean - theirs).square().mean())

    assert away(kicked) < 0.5 * away(plain)


def test_a_thawed_layer_moves_from_its_step_on(make_job):
    thaws = Method(copy=COPIED, log_std="copied", freeze=("actor.trunk",), thaw={"actor.trunk": 0.5})
    watcher = Keeping(keep=True)
    outcome = run([make_job(method="own", definition=thaws)], [watcher])[0]
    first = [snapshot.arrays["parameters.policy"][0, :80] for snapshot in watcher.snapshots]  # of actor.trunk.0
    assert [np.array_equal(first[0], one) for one in first[1:]] == [True, True, False]
    assert outcome.freeze.until == {"actor.trunk.0": 256, "actor.trunk.1": 256}


def test_a_rate_of_a_component_scales_its_steps(make_job):
    slow = Method(copy=COPIED, log_std="copied", rate={"actor": 1e-3})
    watchers = [Keeping(keep=True), Keeping(keep=True)]
    run([make_job(method="finetune"), make_job(method="own", definition=slow)], watchers)
    moved = [
        np.abs(
            (one.snapshots[1].arrays["parameters.policy"] - one.snapshots[0].arrays["parameters.policy"])[:, :80]
        ).max(1)
        for one in watchers  # the first layer's
    ]
    assert moved[1][0] < 0.01 * moved[0][0]
    assert moved[1][1] > 0.1 * moved[0][1]


def test_a_member_becomes_a_policy_folder_and_a_zip_that_act_alike(make_job, tmp_path):
    from stable_baselines3 import PPO

    policy = run([make_job(seed=2)])[0].policy
    kept = load(policy.save(tmp_path / "policy"))
    assert digest(kept.components) == digest(policy.components)
    archive, _ = policy.to_sb3(tmp_path / "policy.zip")
    model = PPO.load(archive, device="cpu")
    world = make("inverted-pendulum")
    observation, _ = world.reset(seed=0)
    for _ in range(20):
        action, _ = policy.predict(observation)
        assert np.array_equal(action, model.predict(policy.normalised(observation[None]), deterministic=True)[0][0])
        observation, *_ = world.step(action)


def test_without_normalisation_and_with_relu_and_drawn_actions(make_job):
    hyperparameters = PPOHyperparameters(
        n_envs=4, n_steps=32, batch_size=64, n_epochs=2, hidden=(8,), activation="relu",
        normalise_observation=False, normalise_reward=False,
    )  # fmt: skip
    evaluation = settings.Evaluation(every=256, episodes=2, stochastic=True)
    watcher = Keeping()
    outcome = run([make_job(hyperparameters=hyperparameters, evaluation=evaluation)], [watcher])[0]
    assert outcome.policy.card.normaliser is None
    assert outcome.policy.card.network.activation == "relu"
    assert [[one.mode for one in episodes] for _, episodes in watcher.curve] == 3 * [
        ["deterministic", "deterministic", "stochastic", "stochastic"]
    ]


def test_the_card_tells_the_return_that_the_policy_reaches(make_job):
    watcher = Keeping()
    outcome = run([make_job(seed=2)], [watcher])[0]
    last = [episode.value for episode in watcher.curve[-1][1]]
    assert outcome.policy.card.training.return_mean == pytest.approx(np.mean(last))
    world = make("inverted-pendulum")
    from trl_suite.training.reproducibility import seed_for

    observation, _ = world.reset(seed=seed_for(0, "evaluation"))
    total, ended = 0.0, False
    while not ended:
        action, _ = outcome.policy.predict(observation)
        observation, reward, terminated, truncated, _ = world.step(action)
        total, ended = total + float(reward), terminated or truncated
    assert total == pytest.approx(last[0], rel=0.05)


def test_a_head_start_is_trained_and_neither_measured_nor_counted(make_job):
    plain, early = Keeping(keep=True), Keeping(keep=True)
    run([make_job(steps=512)], [plain])
    late = run([make_job(steps=256, head_start=256)], [early])[0]
    assert [step for step, _ in early.curve] == [0, 128, 256]
    assert [episodes for _, episodes in early.curve] == [episodes for _, episodes in plain.curve[2:]]
    assert late.policy.card.training.steps == 512
