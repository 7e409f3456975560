"""CompoNet: attention against a few lines of numpy; earlier tasks to the bit; what is held, and what is refused."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from tests.mechanisms.streams import FIRST, PPO, SECOND, THIRD, order, stage
from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.preview import preview
from trl_suite.mechanisms.self_composing import Composition
from trl_suite.networks.card import Composed
from trl_suite.networks.composition import attend, positions
from trl_suite.networks.policy import Policy, load
from trl_suite.networks.stage_memory import policy_of_task
from trl_suite.training.rehearsal import rehearse
from trl_suite.training.sb3.loop import train
from trl_suite.training.training_run import TrainingOutcome, Unwatched

STATES = np.random.default_rng(1).normal(size=(50, 4))
COMPONET = "componet"


@pytest.fixture(scope="module")
def stages() -> list[TrainingOutcome]:
    first = stage(FIRST)
    second = stage(SECOND, COMPONET, first.policy)
    return [first, second, stage(THIRD, COMPONET, second.policy)]


def test_attention_is_that_of_the_paper():
    generator = np.random.default_rng(0)
    state, before = generator.normal(size=4), generator.normal(size=(3, 2))
    shapes = {"query": (5, 4), "key": (5, 2), "value": (5, 2)}

    def head(*names: str) -> dict[str, np.ndarray]:
        return {
            f"{name}_{part}": generator.normal(size=shapes[name][: 2 if part == "weight" else 1])
            for name in names for part in ("weight", "bias")
        }  # fmt: skip

    def mixed(head: dict[str, np.ndarray], rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        query = head["query_weight"] @ state + head["query_bias"]
        keys = (rows + positions(*rows.shape).numpy()) @ head["key_weight"].T + head["key_bias"]
        shares = np.exp(keys @ query / np.sqrt(5))
        return shares / shares.sum() @ values

    output, taken_in = head("query", "key"), head("query", "key", "value")
    proposal = mixed(output, before, before)
    rows = np.vstack([before, proposal])
    context = mixed(taken_in, rows, rows @ taken_in["value_weight"].T + taken_in["value_bias"])
    components = {"actor.attention.output": output, "actor.attention.input": taken_in}
    tensors = {name: {key: torch.tensor(value) for key, value in part.items()} for name, part in components.items()}
    attended = attend(torch.tensor(state)[None], torch.tensor(before)[None], tensors)
    assert np.allclose(attended.proposal[0].numpy(), proposal)
    assert np.allclose(attended.inputs[0].numpy(), [*state, *context])


def test_rows_are_told_apart_by_their_place():
    encoded = positions(4, 3).numpy()
    assert np.allclose(encoded[0], [0, 1, 0])
    assert np.allclose(encoded[:, 0], np.sin(np.arange(4)))
    assert len(np.unique(encoded, axis=0)) == 4


def test_each_stage_adds_a_module_and_changes_none(stages):
    assert [result.policy.card.network.composed for result in stages] == [
        None, Composed(modules=1, attention=64), Composed(modules=2, attention=64),
    ]  # fmt: skip
    for result in stages[1:]:
        assert result.freeze.holds
        modules = {name for name in result.policy.components if name.startswith("module.")}
        assert modules <= set(result.freeze.before)
        assert modules <= set(result.transplant.copied)
        assert "actor.head" in result.transplant.fresh
    added = [sum(v.numel() for ts in result.policy.components.values() for v in ts.values()) for result in stages]
    assert added[2] - added[1] < 2 * (added[1] - added[0]), "grows by one module a stage"


def test_the_own_network_and_the_heads_learn(stages):
    for name in ("actor.attention.output", "actor.attention.input", "actor.trunk.0"):
        first, second = (result.policy.components[name] for result in stages[1:])
        assert any(not torch.equal(first[key], second[key]) for key in first)


def test_earlier_tasks_are_acted_by_their_own_modules_to_the_bit(stages, tmp_path):
    stages[2].policy.save(tmp_path)
    for policy in (stages[2].policy, load(Path(tmp_path))):
        assert policy.earlier_tasks == (FIRST, SECOND)
        assert np.array_equal(policy.predict(STATES)[0], stages[2].policy.predict(STATES)[0])
        for env, then in ((FIRST, stages[0]), (SECOND, stages[1])):
            assert np.array_equal(policy_of_task(policy, env).predict(STATES)[0], then.policy.predict(STATES)[0])
        assert policy_of_task(policy, THIRD) is policy


@pytest.mark.parametrize("algorithm", ["sac", "td3"])
def test_off_policy_learners_compose_too(algorithm, tmp_path):
    first = stage(FIRST, algorithm=algorithm)
    second = stage(SECOND, COMPONET, first.policy, algorithm=algorithm)
    second.policy.save(tmp_path)
    policy = load(Path(tmp_path))
    assert second.freeze.holds
    assert np.array_equal(policy_of_task(policy, FIRST).predict(STATES)[0], first.policy.predict(STATES)[0])


def test_a_preview_shows_modules_and_heads(stages):
    for count, result in enumerate(stages):
        seen = preview(result.policy, result.policy.interface, COMPONET, methods.find(COMPONET))
        parts = {part.name: part for part in seen.parts}
        assert parts[f"module.{count}.actor.head"].frozen
        assert parts[f"module.{count}.actor.head"].fate == "copied"
        assert parts["actor.attention.output"].fate == "fresh"
        assert parts["actor.trunk.0"].shapes["weight"] == (8, 4 + 64)


def refused(source: Policy, method: Method, **more) -> str:
    with pytest.raises(InputError) as raised:
        rehearse(order(SECOND, "mine", source, definition=method, **more))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_does_not_fit_is_refused_before_anything_runs(stages):
    componet, finetune = methods.find(COMPONET), methods.find("finetune")
    narrow = msgspec.structs.replace(componet, composition=Composition(width=8))
    first, second = stages[0].policy, stages[1].policy
    assert "source's heads have 64: give that" in refused(second, narrow)
    wide = msgspec.structs.replace(PPO, hidden=(16, 8))
    assert "layers of [8, 8] units and the target's of [16, 8]" in refused(first, componet, hyperparameters=wide)
    by_state = msgspec.structs.replace(PPO, use_sde=True)
    assert "not with use_sde" in refused(first, componet, hyperparameters=by_state)
    flat = msgspec.structs.replace(PPO, hidden=())
    assert "has no trunk layer" in refused(first, componet, hyperparameters=flat)
    assert "a composed policy, whose actor is more than layers" in refused(second, finetune)
    thawed = msgspec.structs.replace(componet, normaliser="learn")
    assert "copy and freeze normaliser.observation" in refused(first, thawed)
    assert "normalises its inputs, and no module does" in methods.refusal("sb3", componet, "crossq")
    assert "does not know the mechanism 'self-composing policies'" in methods.refusal("cohort", componet, "ppo")


def test_a_target_of_other_slots_is_refused(stages):
    training = order("hopper", COMPONET, stages[0].policy)
    with pytest.raises(InputError):
        train(training, Unwatched())


def test_a_composed_policy_is_not_exported(stages, tmp_path):
    with pytest.raises(InputError, match="attends to frozen ones, which no MlpPolicy of SB3 does"):
        stages[1].policy.to_sb3(tmp_path / "policy.zip")
    with pytest.raises(InputError, match="keep it as a policy folder"):
        stages[1].policy.to_onnx(tmp_path / "policy.onnx")
