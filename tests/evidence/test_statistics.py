import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from trl_suite.evidence.statistics import bootstrap, estimates


def test_the_interval_is_students():
    values = np.array([1.0, 4, 2, 8, 5])
    found = estimates.mean(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([found.value, found.low, found.high], [4, expected.low, expected.high])
    assert found.n == 5
    assert found.excludes(-1)
    assert not found.excludes(3)


def test_a_lower_bound_excludes_only_what_lies_below():
    found = estimates.Estimate(value=0.4, low=0.2, high=0.8, at_least=True)
    assert found.excludes(0.1)
    assert not found.excludes(1)  # the truth may be anything above


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_seeds_give_a_number_and_no_interval(n: int):
    found = estimates.effect(np.full(n, 7.0))
    assert (found.value, found.n, found.has_interval) == (7, n, False)
    assert math.isnan(found.p)
    assert not found.excludes(0)


def test_nothing_gives_nothing():
    assert estimates.mean(np.array([np.nan])).n == 0
    assert math.isnan(estimates.effect(np.array([])).value)


def test_values_that_are_not_finite_are_not_counted():
    assert estimates.mean(np.array([1.0, np.nan, 3, 2])).n == 3


def test_a_ratio_is_averaged_on_the_log_scale():
    found = estimates.exponential(estimates.effect(np.log([2.0, 8, 4])))
    assert found.value == pytest.approx(4)
    assert found.low * found.high == pytest.approx(16)


@pytest.mark.parametrize(("n", "least"), [(3, 0.25), (5, 0.0625), (6, 0.03125), (10, 0.001953125)])
def test_the_least_p_of_a_sign_flip(n: int, least: float):
    assert estimates.sign_flip(np.arange(1.0, n + 1)) == least


def test_sign_flip_agrees_with_scipys_permutation_test():
    values = np.array([0.3, -1.2, 2.2, 0.9, 1.4, -0.1, 0.8])
    expected = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert estimates.sign_flip(values) == pytest.approx(expected)


def test_sign_flip_counts_equal_sums_as_equal():
    assert estimates.sign_flip(np.array([0.1, 0.2, -0.3])) == 1
    assert estimates.sign_flip(np.zeros(4)) == 1
    with pytest.raises(ValueError, match="21 values"):
        estimates.sign_flip(np.ones(21))


def test_many_values_get_the_t_tests_p():
    values = np.random.default_rng(1).normal(0.3, 1, 30)
    assert estimates.effect(values).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_holm_by_hand():
    np.testing.assert_allclose(
        estimates.holm([0.01, 0.04, float("nan"), 0.03, 0.005]), [0.03, 0.06, np.nan, 0.06, 0.02]
    )
    assert estimates.holm([0.6, 0.7]) == [1, 1]


def test_interquartile_mean():
    values = np.array([100.0, 1, 2, 3, 4, 5, 6, -50])
    assert estimates.interquartile_mean(values) == pytest.approx(3.5)
    np.testing.assert_allclose(estimates.interquartile_mean(np.stack([values, values]), axis=1), [3.5, 3.5])


def test_runs_from_one_source_are_one_unit():
    values = np.array([1.0, 3, 10, np.nan, np.nan])
    np.testing.assert_array_equal(estimates.by_sample(values, ["a", "a", "b", "b", "c"]), [2, 10, np.nan])


# Made once with rliable 1.2.0 (aggregate_iqm, aggregate_mean, probability_of_improvement, create_performance_profile,
# and get_interval_estimates with 50,000 replicates after np.random.seed(0)) in a virtual environment of its own,
# because rliable needs pandas<3: pip install rliable==1.2.0 "pandas<3".
# x is (10 runs, 5 tasks), y is (8 runs, 5 tasks).
RLIABLE = json.loads((Path(__file__).parent / "fixtures" / "rliable.json").read_text())
X, Y = np.array(RLIABLE["x"]), np.array(RLIABLE["y"])


def test_agreement_with_rliable():
    assert float(estimates.interquartile_mean(X.ravel())) == pytest.approx(RLIABLE["iqm"], abs=1e-12)
    found = estimates.probability_of_improvement(list(X.T), list(Y.T))
    assert found == pytest.approx(RLIABLE["probability_of_improvement"], abs=1e-12)
    profile = estimates.performance_profile(X, np.array(RLIABLE["taus"]))
    np.testing.assert_allclose(profile, RLIABLE["profile"], atol=1e-12)


def test_our_intervals_are_rliables_widened_to_students():
    """Rliable resamples the runs of each task by themselves and takes plain percentiles, which are too narrow."""
    for statistic in ("mean", "iqm"):
        low, high = RLIABLE[f"interval_{statistic}"]
        found = bootstrap.hierarchical(X.T[:, :, None], np.random.default_rng(0), statistic=statistic,
                                       groups=list("abcde"))  # fmt: skip
        widening = (found.high - found.low) / (high - low)
        assert widening == pytest.approx(stats.t.ppf(0.975, 9) / stats.norm.ppf(0.975) * math.sqrt(10 / 9), abs=0.08)


def test_probability_of_improvement_is_mann_and_whitneys_u():
    for x, y in zip(X.T, Y.T, strict=True):
        expected = stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
        assert estimates.probability_of_improvement([x], [y]) == pytest.approx(expected)
    assert math.isnan(estimates.probability_of_improvement([np.array([np.nan])], [np.ones(2)]))


def test_a_profile_counts_scores_above():
    scores = np.array([[0.1, 0.5], [0.5, np.nan]])
    np.testing.assert_allclose(
        estimates.performance_profile(scores, np.array([0.0, 0.1, 0.4, 0.5])), [1, 2 / 3, 2 / 3, 0]
    )
    assert np.isnan(estimates.performance_profile(np.array([np.nan]), np.zeros(2))).all()


def test_a_band_is_many_means():
    values = np.random.default_rng(5).normal(0, 1, (6, 4))
    values[0, 0] = values[:4, 1] = values[:, 2] = np.nan
    found = estimates.band(values)
    for column in range(4):
        one = estimates.mean(values[:, column])
        np.testing.assert_allclose([found.value[column], found.low[column], found.high[column]],
                                   [one.value, one.low, one.high])  # fmt: skip


def test_fieller_by_hand():
    """The bounds are the ratios at which the paired t test of x - r y is exactly at its limit."""
    x, y = np.array([12.0, 9, 14, 11, 10]), np.array([4.0, 3, 6, 5, 4])
    found = estimates.ratio_of_means(x, y)
    assert found.value == pytest.approx(56 / 22)
    for bound in (found.low, found.high):
        assert stats.ttest_1samp(x - bound * y, 0).pvalue == pytest.approx(0.05)
    assert estimates.ratio_of_means(x, np.array([0.0, 9, 0, 0, 0])).high == math.inf
    assert estimates.ratio_of_means(x[:2], y[:2]).n == 2
    assert not estimates.ratio_of_means(x[:2], y[:2]).has_interval
    assert estimates.ratio_of_means(np.array([1.0]), np.array([0.0])).value == math.inf
    assert estimates.ratio_of_means(np.array([]), np.array([])).n == 0


def test_a_share_has_an_exact_interval():
    found = estimates.share([False, False, False])
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 3))
    assert not estimates.share([True, False]).has_interval
    assert math.isnan(estimates.share([]).value)


@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_sign_flip_counts_all_patterns(n: int):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    signs = np.array(np.meshgrid(*[[-1, 1]] * n)).reshape(n, -1)
    expected = np.mean(np.abs(values @ signs) >= abs(values.sum()) - 1e-9)
    assert estimates.sign_flip(values) == pytest.approx(expected)
