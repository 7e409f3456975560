import math

import numpy as np
import pytest
from scipy import stats

from trl_suite.evidence.statistics import similarity
from trl_suite.evidence.statistics.similarity import Pair, Probes

NAN = float("nan")


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_zero_shot_is_on_the_scale_of_the_reference():
    assert similarity.zero_shot(np.array([100.0, 300]), random=0, reference=400) == 0.5
    with pytest.raises(ValueError, match="does not exceed"):
        similarity.zero_shot(np.array([1.0]), 3, 3)


def test_the_same_world_is_at_distance_0_and_scale_counts_nothing():
    source = generator().normal(0, 1, (500, 3))
    target = source + np.array([0.0, 0, 0.6])
    assert similarity.transition_distance(source, source) == 0
    near = similarity.transition_distance(source, target)
    assert near == pytest.approx(0.6 / source[:, 2].std() / math.sqrt(3))
    units = np.array([1e-3, 1.0, 1e3])
    assert similarity.transition_distance(source * units, target * units) == pytest.approx(near)
    np.testing.assert_allclose(similarity.slot_distances(source, target), [0, 0, 0.6 / source[:, 2].std()])


def test_a_slot_that_never_moves_has_no_say_and_shapes_must_agree():
    still = np.stack([generator().normal(0, 1, 50), np.full(50, 2.0)], axis=1)
    assert similarity.transition_distance(still, still + np.array([0, 1])) == 0
    with pytest.raises(ValueError, match="one shape"):
        similarity.transition_distance(still, still[:, :1])


def test_explained_variance_of_a_critic():
    returns = generator().normal(0, 2, 1000)
    assert similarity.explained_variance(returns + 7, returns) == pytest.approx(1)
    assert similarity.explained_variance(np.zeros(1000), returns) == pytest.approx(0)
    assert similarity.explained_variance(-returns, returns) == pytest.approx(-3)
    assert math.isnan(similarity.explained_variance(np.ones(3), np.ones(3)))


def test_decodability_of_what_is_there_and_of_what_is_not():
    features, noise = generator().normal(0, 1, (600, 5)), generator(1).normal(0, 1, 600)
    episodes = np.repeat(np.arange(6), 100)
    told = features @ np.array([1.0, -2, 0, 3, 0.5])
    assert similarity.decodability(features, told, episodes) > 0.999
    assert similarity.decodability(features, noise, episodes) == pytest.approx(0, abs=0.03)
    half = similarity.decodability(features, told / told.std() + noise, episodes)
    assert half == pytest.approx(0.5, abs=0.06)
    both = similarity.decodability(features, np.stack([told, told], axis=1), episodes)
    assert both == pytest.approx(similarity.decodability(features, told, episodes))


def test_what_one_episode_says_of_itself_does_not_count():
    """Features that only name the episode tell nothing of another one."""
    episodes = np.repeat(np.arange(8), 50)
    features = np.eye(8)[episodes] + generator().normal(0, 1e-3, (400, 8))
    level = generator(2).normal(0, 1, 8)[episodes]
    assert similarity.decodability(features, level, episodes) < 0.2
    with pytest.raises(ValueError, match="two are needed"):
        similarity.decodability(features, level, np.zeros(400))


@pytest.mark.parametrize(
    ("layers", "depth"), [((0.5, 0.6, 0.49, 0.3), 2), ((0.5, 0.4, 0.9), 0), ((0.5,), 0), ((), 0), ((0.5, NAN), 0)]
)
def test_freeze_depth(layers: tuple[float, ...], depth: int):
    assert similarity.freeze_depth(layers) == depth


@pytest.mark.parametrize(
    ("probes", "method", "depth", "word"),
    [
        (Probes(zero_shot=0.8, layers=(0.5, 0.6)), "finetune", 1, "keep all of it"),
        (Probes(zero_shot=0.3, critic=0.4), "critic-warmup", 0, "warm the critic up"),
        (Probes(zero_shot=0.02, layers=(0.2, 0.5)), "feature-extraction", 1, "keep the features"),
        (Probes(zero_shot=-0.1, critic=-0.7), "scratch", 0, "the critic misleads (-0.70)"),
        (Probes(zero_shot=0.0), "scratch", 0, "no layer tells more"),
        (Probes(zero_shot=NAN), "finetune", 0, "unknown"),
    ],
)
def test_every_rule_names_itself(probes: Probes, method: str, depth: int, word: str):
    found = similarity.suggest(probes)
    assert (found.method, found.freeze_depth) == (method, depth)
    assert word in found.rule


def pairs(n: int, rho: float, seed: int = 0) -> list[Pair]:
    draws = generator(seed).normal(0, 1, (n, 2))
    return [Pair(x, rho * x + math.sqrt(1 - rho**2) * y) for x, y in draws]


def test_the_rank_correlation_is_scipys():
    some = pairs(18, 0.6)
    expected = stats.spearmanr([p.probe for p in some], [p.log_speed_up for p in some])
    found = similarity.prediction(some, generator())
    assert (found.value, found.p) == (
        pytest.approx(expected.statistic),
        pytest.approx(expected.pvalue, rel=0.3, abs=1e-3),
    )
    assert found.low < found.value < found.high
    assert found == similarity.prediction(some, generator())


def of_robots(rho: float, seed: int = 0) -> list[Pair]:
    """Pairs of three robots, of which each next one has greater probes and gains more."""
    names = np.repeat(["hopper", "walker2d", "half-cheetah"], [8, 9, 10])
    steps = {name: 4 * place for place, name in enumerate(dict.fromkeys(names.tolist()))}
    return [Pair(pair.probe + steps[name], pair.log_speed_up + steps[name], name)
            for pair, name in zip(pairs(27, rho, seed), names.tolist(), strict=True)]  # fmt: skip


def test_that_one_robot_gains_more_than_another_is_no_prediction():
    some = of_robots(0.0, seed=1)
    assert stats.spearmanr(*np.array([pair[:2] for pair in some]).T).statistic > 0.7
    found = similarity.prediction(some, generator())
    alone = [similarity.prediction([pair for pair in some if pair.robot == robot], generator()).value
             for robot in {pair.robot for pair in some}]  # fmt: skip
    assert min(alone) < found.value < max(alone)
    assert not found.excludes(0)
    low, high = similarity.leave_one_out(some)
    assert low < found.value < high
    assert similarity.prediction([*some, Pair(99, -99, "ant")], generator()).n == 27  # nothing to be ranked with


@pytest.mark.slow
def test_within_robots_a_null_is_covered_and_its_p_is_that_of_permutations():
    hits = [not similarity.prediction(of_robots(0.0, seed), generator(seed), 300).excludes(0) for seed in range(400)]
    assert 0.92 <= np.mean(hits) <= 0.99
    some = of_robots(0.5, 1)
    robots = similarity._robots(some)
    ones = [np.ones((1, len(known))) for known in robots]
    draw = generator()
    drawn = [similarity._correlations([np.c_[known[:, 0], draw.permutation(known[:, 1])] for known in robots], ones)[0]
             for _ in range(4_000)]  # fmt: skip
    found = similarity.prediction(some, generator())
    assert found.p == pytest.approx(np.mean(np.abs(drawn) >= abs(found.value)), abs=0.02)


def test_few_pairs_get_an_exact_p():
    some = pairs(6, 0.9)
    x, y = np.array([pair[:2] for pair in some]).T
    expected = stats.permutation_test((y,), lambda y: stats.spearmanr(x, y).statistic, permutation_type="pairings",
                                      n_resamples=np.inf).pvalue  # fmt: skip
    assert similarity.prediction(some, generator()).p == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_a_null_is_reported_and_covered():
    hits = [not similarity.prediction(pairs(18, 0.0, seed), generator(seed), 300).excludes(0) for seed in range(400)]
    assert 0.92 <= np.mean(hits) <= 0.99


def test_too_few_pairs_and_constants():
    assert math.isnan(similarity.prediction(pairs(2, 0.5), generator()).value)
    assert not similarity.prediction(pairs(7, 0.5), generator()).has_interval
    of_three = [Pair(*pair[:2], robot) for pair, robot in zip(pairs(9, 0.5), "aaabbbccc", strict=True)]
    assert not similarity.prediction(of_three, generator()).has_interval
    perfect = similarity.prediction([Pair(i, i) for i in range(8)], generator(), 200)
    assert (perfect.value, perfect.high) == (pytest.approx(1), pytest.approx(1, abs=0.01))
    assert perfect.low < 0.95
    assert math.isnan(similarity.prediction([Pair(1, 2), Pair(1, 3), Pair(1, 4), Pair(1, 5)], generator()).value)
    assert similarity.prediction([*pairs(9, 0.5), Pair(NAN, 1)], generator(), 100).n == 9


def test_one_pair_that_carries_it_shows():
    flat = [Pair(x, y) for x, y in ((1, 3), (2, 1), (3, 2), (4, 2.5), (50, 90))]
    low, high = similarity.leave_one_out(flat)
    assert low == pytest.approx(-0.2)
    assert high > 0.7
    assert math.isnan(similarity.leave_one_out(flat[:3])[0])


def test_resamples_are_counted_as_if_they_were_copied():
    known = np.array([[1.0, 2], [1, 3], [2, 1], [3, 3], [4, 0], [5, 3]])
    counts = generator().multinomial(6, np.full(6, 1 / 6), 50)
    copies = [np.repeat(known, count, axis=0) for count in counts]
    expected = [stats.spearmanr(copy).statistic if np.ptp(copy, axis=0).all() else np.nan for copy in copies]
    np.testing.assert_allclose(similarity._correlations([known], [counts.astype(float)]), expected, atol=1e-12)


def test_p_is_that_of_all_arrangements_within_robots():
    two = [np.array([[0.0, 0], [1, 1], [2, 2]]), np.array([[0.0, 1], [1, 3], [2, 5]])]
    assert similarity.permutation_p(two) == pytest.approx(2 / 36)  # both in order, or both in reverse
    assert np.isnan(similarity.permutation_p(two[:1]))  # 6 arrangements could not reach 0.05
    assert similarity.permutation_p([np.stack([np.arange(5.0)] * 2, axis=1)]) == pytest.approx(2 / 120)


def test_p_of_more_arrangements_than_can_be_counted_is_no_smaller_than_one_of_those_drawn():
    robots = [np.stack([np.arange(15.0)] * 2, axis=1)] * 3
    assert similarity.permutation_p(robots) == pytest.approx(1 / 50_001)
