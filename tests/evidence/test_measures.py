"""Curves whose measures are known in closed form."""

import numpy as np
import pytest

from trl_suite.evidence.statistics import measures

STEPS = np.arange(0, 101, 10)  # H = 100
RAMP = STEPS / 100.0  # from 0 to 1
STEP = np.where(STEPS >= 50, 1.0, 0.0)


def curves(*rows: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(row, dtype=float) for row in rows])


def test_area_of_a_constant_a_ramp_and_a_step():
    np.testing.assert_allclose(measures.area(STEPS, curves(np.full(11, 7.0), RAMP, STEP)), [7, 0.5, 0.55])


def test_area_on_an_uneven_grid_of_a_ramp_is_exact():
    steps = np.array([0, 1, 7, 50, 100])
    np.testing.assert_allclose(measures.area(steps, curves(steps / 100)), [0.5])


def test_area_difference_is_signed_where_curves_cross():
    falling = 1 - RAMP
    np.testing.assert_allclose(measures.area_difference(STEPS, curves(falling), curves(RAMP)), [0], atol=1e-12)
    np.testing.assert_allclose(measures.area_difference(STEPS, curves(STEP), curves(RAMP)), [0.05])


def test_start_jumpstart_dip_and_end():
    dipping = np.array([5.0, 3, 4, 6, 7, 8, 0, 9, 9, 9, 11])
    both = curves(dipping, RAMP)
    np.testing.assert_array_equal(measures.zero_shot(both), [5, 0])
    np.testing.assert_array_equal(measures.jumpstart(curves(dipping), curves(RAMP)), [5])
    np.testing.assert_array_equal(measures.dip(STEPS, both), [2, 0])  # the fall at step 60 is not an early one
    np.testing.assert_allclose(measures.asymptote(STEPS, both), [10, 0.95])  # steps 90 and 100


def test_time_to_threshold_needs_two_evaluations_in_a_row():
    spike = np.where(STEPS == 30, 1.0, 0.0)
    last = np.where(STEPS == 100, 1.0, 0.0)
    lost = np.where(STEPS == 60, np.nan, STEP)
    found = measures.time_to_threshold(STEPS, curves(RAMP, STEP, spike, last, lost, np.ones(11)), 0.5)
    np.testing.assert_array_equal(found.steps, [50, 50, 100, 100, 70, 0])
    np.testing.assert_array_equal(found.reached, [True, True, False, False, True, True])


def test_no_time_at_all_is_bounded_by_the_grid():
    np.testing.assert_allclose(np.exp(measures.log_speed_ups(np.array([0.0]), np.array([60.0]), 10)), [6])


def test_normalised_area_is_linear():
    returns = curves(RAMP * 300 - 100)
    np.testing.assert_allclose(measures.area(STEPS, measures.normalise(returns, -100, 200)), [0.5])
    with pytest.raises(ValueError, match="does not exceed"):
        measures.normalise(returns, 200, 200)


def test_forward_transfer_is_for_scores_only():
    np.testing.assert_allclose(measures.forward_transfer(np.array([0.75, 0.2]), np.array([0.5, 0.6])), [0.5, -1])
    with pytest.raises(ValueError, match="scores in"):
        measures.forward_transfer(np.array([900.0]), np.array([0.5]))


def test_the_source_is_paid_for():
    assert measures.break_even(20, 60, source_steps=100) == 2.5
    assert measures.break_even(60, 20, source_steps=100) == float("inf")


def test_retention_is_the_share_of_the_gain_that_is_left():
    before, after = np.array([900.0, 900, -300]), np.array([300.0, 900, 0])
    np.testing.assert_array_equal(measures.retention(before, after, random=-300), [0.5, 1, np.nan])


def test_forward_transfer_from_a_perfect_scratch_is_not_defined():
    assert np.isnan(measures.forward_transfer(np.array([1.0]), np.array([1.0]))[0])


def test_a_speed_up_is_the_geometric_mean_of_paired_ratios():
    assert measures.speed_up(np.array([20.0, 30.0]), np.array([40.0, 240.0]), 10) == pytest.approx(4)
    assert measures.speed_up(np.array([0.0]), np.array([60.0]), 10) == pytest.approx(6)


def test_times_to_many_thresholds_are_those_to_each():
    generator = np.random.default_rng(3)
    steps, returns = np.arange(0, 110, 10), generator.normal(size=(7, 11)).cumsum(axis=1)
    returns[2, 4] = np.nan
    thresholds = np.linspace(-3, 4, 29)
    expected = [measures.time_to_threshold(steps, returns, threshold).steps for threshold in thresholds]
    np.testing.assert_array_equal(measures.times_to_thresholds(steps, returns, thresholds), expected)
