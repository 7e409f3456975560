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


def test_restricted_mean_does_not_reward_failing():
    sure, rare = np.array([50.0, 50, 50, 50]), np.array([40.0, 100, 100, 100])
    assert measures.restricted_mean(sure) < measures.restricted_mean(rare)
    assert measures.restricted_mean(rare) == 85
    assert measures.speed_up(sure, rare) == 1.7
    assert measures.fraction_reached(np.array([True, False, False, False])) == 0.25
    assert np.isnan(measures.restricted_mean(np.array([])))


def test_a_curve_against_itself_is_no_faster():
    times = np.array([30.0, 50, 100])
    assert measures.speed_up(times, times) == 1
    np.testing.assert_array_equal(measures.log_speed_ups(times, times, 10), 0)


def test_no_time_at_all_is_bounded_by_the_grid():
    assert measures.speed_up(np.array([0.0]), np.array([60.0])) == float("inf")
    np.testing.assert_allclose(np.exp(measures.log_speed_ups(np.array([0.0]), np.array([60.0]), 10)), [6])
    assert np.isnan(measures.speed_up(np.array([0.0]), np.array([0.0])))


def test_normalised_area_is_linear():
    returns = curves(RAMP * 300 - 100)
    np.testing.assert_allclose(measures.area(STEPS, measures.normalise(returns, -100, 200)), [0.5])
    with pytest.raises(ValueError, match="does not exceed"):
        measures.normalise(returns, 200, 200)


def test_forward_transfer_is_for_scores_only():
    np.testing.assert_allclose(measures.forward_transfer(np.array([0.75, 0.2]), np.array([0.5, 0.6])), [0.5, -1])
    with pytest.raises(ValueError, match="scores in"):
        measures.forward_transfer(np.array([900.0]), np.array([0.5]))


def test_the_two_transfer_ratios_are_different_quantities():
    transfer, scratch = np.array([3.0]), np.array([2.0])
    assert measures.area_transfer_ratio(transfer, scratch) == 0.5
    assert measures.asymptote_transfer_ratio(transfer, scratch) == 1.5


def test_the_source_is_paid_for():
    assert measures.net_speed_up(20, 60, source_steps=100) == 0.5
    assert measures.net_speed_up(20, 60, source_steps=100, targets=5) == 1.5
    assert measures.break_even(20, 60, source_steps=100) == 2.5
    assert measures.net_speed_up(20, 60, 100, targets=measures.break_even(20, 60, 100)) == 1
    assert measures.break_even(60, 20, source_steps=100) == float("inf")


def test_negative_transfer_is_the_share_of_worse_pairs():
    assert measures.negative_transfer(np.array([-1.0, 2, 3, 0])) == 0.25


def test_retention_is_the_share_of_the_gain_that_is_left():
    before, after = np.array([900.0, 900, -300]), np.array([300.0, 900, 0])
    np.testing.assert_array_equal(measures.retention(before, after, random=-300), [0.5, 1, np.nan])
    np.testing.assert_array_equal(measures.forgetting(before, after), [600, 0, -300])


def test_a_cohorts_seconds_are_shared():
    assert measures.shared_seconds(120, 10) == 12
    with pytest.raises(ValueError, match="0 runs"):
        measures.shared_seconds(120, 0)


def test_forward_transfer_from_a_perfect_scratch_is_not_defined():
    assert np.isnan(measures.forward_transfer(np.array([1.0]), np.array([1.0]))[0])
