"""Evaluations: whole episodes, always the same ones, and none that learns."""

import numpy as np
import pytest

from trl_suite.training.acting.evaluation import Episode, Evaluator, append, mean_return
from trl_suite.training.reproducibility import seed_for


@pytest.fixture
def evaluator():
    evaluator = Evaluator("inverted-pendulum", 3)
    yield evaluator
    evaluator.close()


def still(observations):
    return np.zeros((len(observations), 1), dtype=np.float32)


def push(observations):
    return np.full((len(observations), 1), 3.0, dtype=np.float32)


def test_every_policy_gets_the_same_episodes(evaluator):
    first = evaluator(still)
    pushed = evaluator(push)
    assert evaluator(still) == first
    assert pushed != first
    assert len({episode.length for episode in first}) > 1, "three episodes start from three states"


def test_two_evaluators_agree_on_the_episodes(evaluator):
    other = Evaluator("inverted-pendulum", 5)
    assert other(still)[:3] == evaluator(still)
    other.close()


def test_a_policy_sees_only_the_episodes_that_go_on(evaluator):
    sizes = []

    def watch(observations):
        sizes.append(len(observations))
        return still(observations)

    episodes = evaluator(watch)
    assert sizes[0] == 3
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == sum(episode.length for episode in episodes)


def test_returns_are_undiscounted_sums(evaluator):
    assert all(episode.value == episode.length - 1 or episode.value == episode.length for episode in evaluator(still))


def test_a_curve_file_grows_by_whole_evaluations(tmp_path):
    path = tmp_path / "policy" / "curve.csv"
    append(path, 0, [Episode(1.5, 10), Episode(-0.25, 7)])
    append(path, 128, [Episode(2.0, 3)])
    assert path.read_text() == (
        "step,episode,return,length,mode\n0,0,1.5,10,deterministic\n0,1,-0.25,7,deterministic\n128,0,2.0,3,deterministic\n"
    )
    assert mean_return([Episode(1.0, 1), Episode(2.0, 1)]) == 1.5


def test_roles_and_indices_have_streams_of_their_own():
    seeds = {
        seed_for(seed, role, index) for seed in range(20) for role in ("learner", "evaluation") for index in range(5)
    }
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)
