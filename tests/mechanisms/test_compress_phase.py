"""Progress & compress: the knowledge base learns at the end, stays near what it was, and is the stage's policy."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.mechanisms.streams import FIRST, PPO, ROLLOUT, SECOND, STEPS, THIRD, order, stage
from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.compress_phase import Compress
from trl_suite.mechanisms.distillation import divergence
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.policy import load
from trl_suite.networks.stage_memory import STAGE_IMPORTANCE, policy_of_task
from trl_suite.training.rehearsal import blank_source, rehearse
from trl_suite.training.sb3.methods.knowledge_base import KnowledgeBase
from trl_suite.training.sb3.methods.learner_actions import distribution, normalized
from trl_suite.training.sb3.methods.transplant import implant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.training_run import TrainingOutcome

NAME = "progress-and-compress"
METHOD = methods.find(NAME)
STATES = np.random.default_rng(1).normal(size=(50, 4))


@pytest.fixture(scope="module")
def stages() -> list[TrainingOutcome]:
    first = stage(FIRST)
    second = stage(SECOND, NAME, first.policy)
    return [first, second, stage(THIRD, NAME, second.policy)]


def test_the_policy_of_a_stage_is_its_knowledge_base_which_never_grows(stages, tmp_path):
    for result in stages:
        assert result.policy.card.network.actor == (8, 8)
    stages[2].policy.save(tmp_path)
    policy = load(Path(tmp_path))
    assert policy.earlier_tasks == (FIRST, SECOND)
    assert list(policy.memory) == [STAGE_IMPORTANCE]
    for env in (FIRST, SECOND, THIRD):
        assert np.array_equal(policy_of_task(policy, env).predict(STATES)[0], stages[2].policy.predict(STATES)[0])


def test_the_phase_is_on_the_record_and_the_column_beside_is_proved_unmoved(stages):
    assert [result.compress_steps for result in stages] == [0, ROLLOUT, ROLLOUT]
    for result in stages[1:]:
        assert result.steps == STEPS
        assert result.freeze.holds
        assert {"source.actor.trunk.0", "source.actor.trunk.1"} <= set(result.freeze.before)


def test_the_importance_is_summed_over_stages(stages):
    second, third = (result.policy.memory[STAGE_IMPORTANCE] for result in stages[1:])
    for name, value in second.items():
        assert bool((third[name] >= value).all())
    assert float(sum(value.sum() for value in third.values())) > float(sum(value.sum() for value in second.values()))


@pytest.mark.parametrize("algorithm", ["ppo", "sac", "td3"])
def test_the_knowledge_base_comes_to_act_as_the_active_column(algorithm):
    source = stage(FIRST, algorithm=algorithm, steps=64).policy
    training = order(SECOND, NAME, source, algorithm=algorithm)
    model = sb3.build(SECOND, training.hyperparameters, 0)
    implant(source, model, NAME, METHOD, None, 0)
    knowledge = KnowledgeBase(model, training, Compress(strength=1e-9))
    model.learn(64)

    def distance() -> float:
        seen = normalized(model, STATES)
        active = distribution(model, seen)
        base = source.gaussian(seen, knowledge.deployed(sb3.policy_of(model, source.card.training)).components)
        return float((divergence(base, active) if active[1] is None else divergence(active, base)).detach())

    knowledge.advance(STEPS)
    before = distance()
    for _ in range(20):
        model.train(gradient_steps=10, batch_size=16) if algorithm != "ppo" else model.train()  # pyright: ignore
    assert distance() < 0.5 * before
    assert knowledge.steps(STEPS + 10) == 10


def test_a_strong_pull_leaves_the_knowledge_base_where_it_was(stages):
    moved = []
    for strength in (1e-9, 1e9):
        method = msgspec.structs.replace(METHOD, compress=Compress(strength=strength))
        policy = stage(SECOND, "mine", stages[0].policy, definition=method).policy
        moved.append(float(np.abs(policy.predict(STATES)[0] - stages[0].policy.predict(STATES)[0]).max()))
    assert moved[1] < 0.5 * moved[0]


@pytest.mark.parametrize(
    ("share", "steps", "begins"), [(0.2, 256, 192), (0.25, 256, 192), (0.3, 256, 128), (0.01, 300, 192), (0.5, 130, 64)]
)
def test_the_phase_begins_with_a_rollout_and_has_its_share(share, steps, begins):
    assert Compress(share=share).begins(steps, ROLLOUT, "x") == begins


@pytest.mark.parametrize(("share", "steps"), [(0.2, 127), (0.9, 256), (0.2, 64)])
def test_a_budget_that_leaves_nothing_to_learn_from_is_refused_before_anything_runs(stages, share, steps):
    method = msgspec.structs.replace(METHOD, compress=Compress(share=share))
    with pytest.raises(
        InputError, match=r"method 'mine': compress: .* leave no rollout to learn from before"
    ) as raised:
        rehearse(order(SECOND, "mine", stages[0].policy, definition=method, steps=steps))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["progressive", NAME, "residual"])
def test_columns_that_explore_by_state_are_refused_before_anything_runs(name):
    by_state = msgspec.structs.replace(PPO, use_sde=True)
    source = blank_source(FIRST, by_state, ())
    with pytest.raises(InputError, match="columns: not with use_sde"):
        rehearse(order(SECOND, name, source, hyperparameters=by_state))


def test_engines_and_algorithms_that_cannot_are_refused_by_name():
    assert "does not know the mechanism 'compress phase'" in methods.refusal("cohort", METHOD, "ppo")
    assert "normalises its inputs" in methods.refusal("sb3", METHOD, "crossq")
    assert methods.refusal("transplant", METHOD, "ppo")
    assert methods.label(Method(adapter=METHOD.adapter, compress=METHOD.compress)) == "compresses, adapts (lateral)"
