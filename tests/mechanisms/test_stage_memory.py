"""What stages hand on: kept behaviour, heads, transitions; stored, carried over, and refused where it does not fit."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from tests.training.cohort.small import HOW, numbers, run
from tests.training.cohort.small import job as small_job
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.distillation import Distillation, divergence, kept_examples, together
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.policy import Policy, load
from trl_suite.networks.stage_memory import STAGE_HEADS, STAGE_REPLAYS, STAGE_STATES, policy_of_task
from trl_suite.training.sb3.loop import train as train_on_sb3
from trl_suite.training.settings import SourceTraining
from trl_suite.training.training_run import TrainingOutcome, TrainingRun, Unwatched

FIRST, SECOND, THIRD = (f"inverted-pendulum{variant}" for variant in ("", ".gravity-1.5", ".gravity-0.5"))
EVEN = msgspec.structs.replace(HOW, batch_size=64)  # SB3 warns of a shorter last minibatch
SAC = SACHyperparameters(hidden=(8, 8), learning_starts=32, batch_size=16, buffer_size=600)
COPY = ("actor", "critic", "normaliser")
ENGINES = ("sb3", "cohort")


def stage(engine: str, **more) -> TrainingOutcome:
    training: TrainingRun = small_job(**({"hyperparameters": EVEN, "steps": 256} | more))
    result = train_on_sb3(training, Unwatched()) if engine == "sb3" else run([training])[0]
    assert isinstance(result, TrainingOutcome), result
    return result


@pytest.fixture(scope="module")
def first() -> Policy:
    return stage("cohort", env=FIRST).policy


def cloning(strength: float) -> Method:
    return Method(copy=COPY, log_std="copied", distillation=Distillation(strength=strength, states="earlier"))


@pytest.mark.parametrize("engine", ENGINES)
def test_cloning_stays_near_what_all_earlier_tasks_did(engine, first, tmp_path):
    strayed = {}
    for strength in (1e-6, 30.0):
        second = stage(engine, env=SECOND, definition=cloning(strength), source=first)
        second.policy.save(tmp_path)
        policy = stage(engine, env=FIRST, definition=cloning(strength), source=load(Path(tmp_path))).policy
        assert policy.earlier_tasks == (FIRST, SECOND)
        assert sorted(policy.memory) == [f"{STAGE_STATES}0", f"{STAGE_STATES}1"]
        behaviour = together({name: dict(tensors) for name, tensors in policy.memory.items()})
        assert behaviour["observations"].shape == (4_000, 4)
        states = torch.as_tensor(policy.normalised(behaviour["observations"].numpy()))
        learned = policy.gaussian(states, policy.components)
        strayed[strength] = float(divergence((behaviour["mean"], behaviour["log_std"]), learned))
    assert strayed[30.0] < 0.2 * strayed[1e-6]


def test_kept_states_are_drawn_with_what_was_done_there():
    observations = torch.arange(20, dtype=torch.float64).view(10, 2)
    behaviour = {"observations": observations, "mean": observations.float() + 0.5, "log_std": -observations.float()}
    raw, (mean, log_std) = kept_examples(behaviour, np.random.default_rng(0))()
    assert len(np.unique(raw[:, 0])) == 10
    assert np.array_equal(mean.numpy(), raw.astype(np.float32) + 0.5)
    assert log_std is not None
    assert np.array_equal(log_std.numpy(), -raw.astype(np.float32))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_task_has_its_heads_again_when_it_comes_again(engine, first, tmp_path):
    heads = Method(copy=COPY, heads=("actor.head", "critic.head"))
    second = stage(engine, env=SECOND, definition=heads, source=first)
    assert {"actor.head", "critic.head"} <= set(second.transplant.fresh)
    second.policy.save(tmp_path)
    policy = load(Path(tmp_path))
    head = policy_of_task(policy, FIRST).components["actor.head"]
    assert torch.equal(head["weight"], first.components["actor.head"]["weight"])
    assert torch.equal(policy.memory[f"{STAGE_HEADS}0"]["critic.head.bias"], first.components["critic.head"]["bias"])
    frozen_trunk = Method(copy=COPY, heads=("actor.head", "critic.head"), rate={"actor": 1e-12, "critic": 1e-12})
    third = stage(engine, env=FIRST, definition=frozen_trunk, source=policy)
    weights = numbers(third)["actor.head.weight"]
    assert np.allclose(weights, first.components["actor.head"]["weight"].numpy(), atol=1e-6)
    assert sorted(third.policy.memory) == [f"{STAGE_HEADS}0", f"{STAGE_HEADS}1"]
    assert third.policy.earlier_tasks == (FIRST, SECOND)


@pytest.mark.parametrize("engine", ENGINES)
def test_transitions_of_each_earlier_task_stay_in_the_replay(engine):
    keep = {"hyperparameters": SAC, "steps": 128, "source_training": SourceTraining(keep=("replay",), transitions=40)}
    replaying = Method(copy=("actor", "critic", "temperature"), task_replay=40)
    policy = stage(engine, env=FIRST, **keep).policy
    firsts = policy.memory["replay"]
    assert len(firsts["rewards"]) == 40
    second = stage(engine, env=SECOND, definition=replaying, source=policy, **keep)
    assert second.freeze.before.keys() == second.freeze.after.keys() == {"replay"}
    assert second.freeze.holds
    own = second.policy.memory["replay"]["next_observations"].numpy()
    assert len(own) == 40
    received = firsts["next_observations"].numpy()
    assert not any((row == received).all(1).any() for row in own), "its own, and not those that it was given"
    third = stage(engine, env=FIRST, definition=replaying, source=second.policy, **keep)
    assert torch.equal(third.policy.memory[f"{STAGE_REPLAYS}0"]["rewards"], firsts["rewards"])
    assert np.array_equal(third.policy.memory[f"{STAGE_REPLAYS}1"]["next_observations"].numpy(), own)


def test_a_replay_without_room_for_earlier_tasks_is_refused():
    small = msgspec.structs.replace(SAC, buffer_size=40)
    keep = {"hyperparameters": SAC, "steps": 128, "source_training": SourceTraining(keep=("replay",), transitions=40)}
    policy = stage("cohort", env=FIRST, **keep).policy
    replaying = small_job(env=SECOND, hyperparameters=small, definition=Method(copy=("actor",), task_replay=40),
                          source=policy)  # fmt: skip
    (refused,) = run([replaying])
    assert isinstance(refused, InputError)
    assert "would leave no room in the replay" in str(refused)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"stages.heads.0/actor.head.bias" = [\n    1,\n]', '"stages.heads.0/actor.head.bias" = [\n    2,\n]', "shape"),
        ("stages.heads.0/actor.head.bias", "stages.heads.0/actor.hat.bias", "is of no such weight"),
        ("stages.heads.0/actor.head.bias", "other/actor.head.bias", "nothing that a stage hands on"),
    ],
)
def test_a_card_that_says_something_else_of_a_memory_is_refused(first, tmp_path, old, new, message):
    heads = {f"{STAGE_HEADS}0": {f"actor.head.{key}": value for key, value in first.components["actor.head"].items()}}
    Policy(card=first.card, components=first.components, memory=heads, earlier_tasks=(FIRST,)).save(tmp_path)
    text = (tmp_path / "card.toml").read_text()
    assert old in text
    (tmp_path / "card.toml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        load(tmp_path)


@pytest.fixture(scope="module")
def columns(first) -> list[TrainingOutcome]:
    lateral = methods.find("progressive")
    second = stage("sb3", env=SECOND, definition=lateral, source=first)
    return [second, stage("sb3", env=THIRD, definition=lateral, source=second.policy)]


def test_each_stage_adds_a_column_that_takes_in_all_before_it_and_changes_none(first, columns):
    width = EVEN.hidden[0]
    for count, result in enumerate(columns, 2):
        assert result.policy.card.network.actor == (count * width, count * width)
        assert result.freeze.holds
        assert {"source.actor.trunk.0", "source.actor.trunk.1"} <= set(result.freeze.before)
        weight = result.policy.components["actor.trunk.1"]["weight"].detach().numpy()
        before = (count - 1) * width
        assert not weight[:before, before:].any(), "no earlier column takes in a later one"
        assert weight[before:, :before].any(), "the new one takes in all"
    inner = columns[1].policy.components["actor.trunk.1"]["weight"].detach().numpy()[:width, :width]
    assert np.array_equal(inner, first.components["actor.trunk.1"]["weight"].numpy())


def test_earlier_tasks_are_acted_by_their_own_columns_to_the_bit(first, columns, tmp_path):
    states = np.random.default_rng(2).normal(size=(50, 4))
    columns[1].policy.save(tmp_path)
    policy = load(Path(tmp_path))
    for env, then in ((FIRST, first), (SECOND, columns[0].policy)):
        assert np.array_equal(policy_of_task(policy, env).predict(states)[0], then.predict(states)[0])
    assert policy_of_task(policy, THIRD) is policy


def test_an_earlier_actor_that_is_not_whole_is_refused(columns, tmp_path):
    columns[0].policy.save(tmp_path)
    card = (tmp_path / "card.toml").read_text()
    start = card.index('"stages.actors.0/actor.head.bias"')
    (tmp_path / "card.toml").write_text(card[:start] + card[card.index("]\n", start) + 2 :])
    with pytest.raises(InputError, match=r"lacks 'stages.actors.0/actor.head.bias'"):
        load(tmp_path)
