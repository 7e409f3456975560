import math

import numpy as np
import pytest
from scipy import stats

from trl_suite.evidence import statistics


def test_the_interval_is_students():
    values = np.array([1.0, 4, 2, 8, 5])
    found = statistics.mean(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([found.value, found.low, found.high], [4, expected.low, expected.high])
    assert found.n == 5
    assert found.excludes(-1)
    assert not found.excludes(3)


def test_95_percent_means_95_percent():
    generator = np.random.default_rng(0)
    found = [statistics.mean(generator.normal(3, 2, size=10)) for _ in range(2000)]
    covered = np.mean([not estimate.excludes(3) for estimate in found])
    assert 0.94 <= covered <= 0.96


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_seeds_give_a_number_and_no_interval(n: int):
    found = statistics.mean(np.full(n, 7.0))
    assert (found.value, found.n, found.has_interval) == (7, n, False)
    assert math.isnan(found.p)
    assert not found.excludes(0)


def test_nothing_gives_nothing():
    assert statistics.mean(np.array([np.nan])).n == 0
    assert math.isnan(statistics.ratio(np.array([])).value)


def test_values_that_are_not_finite_are_not_counted():
    assert statistics.mean(np.array([1.0, np.nan, 3, 2])).n == 3


def test_a_ratio_is_averaged_on_the_log_scale():
    found = statistics.ratio(np.log([2.0, 8, 4]))
    assert found.value == pytest.approx(4)
    assert found.low * found.high == pytest.approx(16)


@pytest.mark.parametrize(("n", "least"), [(3, 0.25), (5, 0.0625), (6, 0.03125), (10, 0.001953125)])
def test_the_least_p_of_a_sign_flip(n: int, least: float):
    assert statistics.sign_flip(np.arange(1.0, n + 1)) == least == statistics.smallest_p(n)


def test_sign_flip_agrees_with_scipys_permutation_test():
    values = np.array([0.3, -1.2, 2.2, 0.9, 1.4, -0.1, 0.8])
    expected = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue
    assert statistics.sign_flip(values) == pytest.approx(expected)


def test_sign_flip_counts_equal_sums_as_equal():
    assert statistics.sign_flip(np.array([0.1, 0.2, -0.3])) == 1
    assert statistics.sign_flip(np.zeros(4)) == 1
    with pytest.raises(ValueError, match="21 values"):
        statistics.sign_flip(np.ones(21))


def test_many_values_get_the_t_tests_p():
    values = np.random.default_rng(1).normal(0.3, 1, 30)
    assert statistics.mean(values).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_holm_by_hand():
    np.testing.assert_allclose(
        statistics.holm([0.01, 0.04, float("nan"), 0.03, 0.005]), [0.03, 0.06, np.nan, 0.06, 0.02]
    )
    assert statistics.holm([0.6, 0.7]) == [1, 1]


def test_interquartile_mean():
    values = np.array([100.0, 1, 2, 3, 4, 5, 6, -50])
    assert statistics.interquartile_mean(values) == pytest.approx(3.5)
    np.testing.assert_allclose(statistics.interquartile_mean(np.stack([values, values]), axis=1), [3.5, 3.5])


def test_runs_from_one_source_are_one_unit():
    values = np.array([1.0, 3, 10, np.nan, np.nan])
    np.testing.assert_array_equal(statistics.by_unit(values, ["a", "a", "b", "b", "c"]), [2, 10, np.nan])
