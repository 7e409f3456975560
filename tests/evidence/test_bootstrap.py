import math

import numpy as np
import pytest
from scipy import stats

from trl_suite.evidence.statistics import bootstrap
from trl_suite.evidence.statistics.estimates import interquartile_mean

VALUES = np.random.default_rng(3).normal(1, 1, (4, 10, 3))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("statistic", ["mean", "iqm"])
@pytest.mark.parametrize("tasks", [True, False])
def test_the_generator_decides_and_nothing_else(statistic, tasks: bool):
    np.random.seed(0)
    options = {"statistic": statistic, "resample_tasks": tasks, "replicates": 500}
    first = bootstrap.hierarchical(VALUES, generator(), **options)
    np.random.seed(1)
    assert first == bootstrap.hierarchical(VALUES, generator(), **options)
    assert first != bootstrap.hierarchical(VALUES, generator(1), **options)


def test_chunks_change_nothing_but_the_order_of_draws(monkeypatch):
    whole = bootstrap.hierarchical(VALUES, generator(), replicates=4000)
    monkeypatch.setattr(bootstrap, "CHUNK_WEIGHTS", 10_000)
    parts = bootstrap.hierarchical(VALUES, generator(), replicates=4000)
    np.testing.assert_allclose([whole.low, whole.high], [parts.low, parts.high], atol=0.05)


def test_values_are_those_of_numpy_and_scipy():
    mean = bootstrap.hierarchical(VALUES, generator(), replicates=100)
    middle = bootstrap.hierarchical(VALUES, generator(), statistic="iqm", replicates=100)
    assert mean.value == pytest.approx(VALUES.mean(), rel=1e-6)
    assert middle.value == pytest.approx(stats.trim_mean(VALUES, 0.25, axis=None), rel=1e-6)
    assert middle.value == pytest.approx(float(interquartile_mean(VALUES.ravel())), rel=1e-6)


@pytest.mark.parametrize("groups", [[0, 0, 0, 0], [0, 1, 0, 2]])
def test_weights_stand_for_copies(groups: list[int]):
    """Every replicate is scipy's and numpy's mean of the values written out as often as they were drawn."""
    labels = np.array(groups)
    cells = np.where(generator(9).random(VALUES.shape) < 0.1, np.nan, VALUES)
    draw = bootstrap._draw(cells, labels, True, 20, generator())
    middle, mean = bootstrap._interquartile(cells, labels)(draw), bootstrap._mean(cells, labels)(draw)
    for replicate in range(20):
        often = [
            draw.tasks[task, replicate]
            * np.outer(draw.sources[label, :, replicate], draw.targets[label, :, replicate]) * np.isfinite(cells[task])
            for task, label in enumerate(labels)
        ]  # fmt: skip
        copies = [np.repeat(cell.ravel(), count.ravel().astype(int)) for cell, count in zip(cells, often, strict=True)]
        assert middle[replicate] == pytest.approx(stats.trim_mean(np.concatenate(copies), 0.25), rel=1e-5)
        means = [copy.mean() if len(copy) else 0 for copy in copies]
        assert mean[replicate] == pytest.approx(np.average(means, weights=draw.tasks[:, replicate]), rel=1e-5)


def test_a_resample_of_holes_alone_has_no_mean():
    """Two target seeds that no source shares: some resamples draw only pairs that were never run."""
    holes = np.full((1, 4, 2), np.nan)
    holes[0, :2, 0], holes[0, 2:, 1] = (1, 2), (3, 4)
    for statistic in ("mean", "iqm"):
        found = bootstrap.hierarchical(holes, generator(), statistic=statistic, replicates=500)
        assert np.isfinite([found.low, found.high]).all()


def test_a_percentile_interval_widened_to_students():
    values = generator(4).normal(0, 1, 10)
    found = bootstrap.hierarchical(values[None, :, None], generator(), replicates=20_000)
    expected = stats.t.interval(0.95, 9, values.mean(), stats.sem(values))
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.12)


def test_shared_sources_make_tasks_less_independent():
    shared = np.repeat(generator(8).normal(0, 1, (1, 10, 1)), 6, axis=0)
    together = bootstrap.hierarchical(shared, generator(), replicates=2000)
    apart = bootstrap.hierarchical(shared, generator(), replicates=2000, groups=list("abcdef"))
    assert (together.high - together.low) > 2 * (apart.high - apart.low)


def test_a_group_without_a_value_is_as_if_it_were_not_there():
    holes = VALUES.copy()
    holes[1] = np.nan
    found = bootstrap.hierarchical(holes, generator(), replicates=200, groups=["a", "b", "c", "c"])
    assert found == bootstrap.hierarchical(VALUES[[0, 2, 3]], generator(), replicates=200, groups=["a", "c", "c"])


def test_resampled_tasks_are_less_sure():
    tasks = VALUES + np.array([-2, 0, 2, 4])[:, None, None]
    fixed = bootstrap.hierarchical(tasks, generator(), replicates=2000)
    drawn = bootstrap.hierarchical(tasks, generator(), replicates=2000, resample_tasks=True)
    assert (drawn.high - drawn.low) > 2 * (fixed.high - fixed.low)


def test_missing_runs_are_left_out_and_short_tasks_padded():
    holes = VALUES.copy()
    holes[0, 3:] = np.nan
    holes[1, 0, 0] = np.nan
    found = bootstrap.hierarchical(holes, generator(), replicates=500)
    assert found.value == pytest.approx(np.mean([np.nanmean(task) for task in holes]), rel=1e-6)
    assert found.has_interval
    assert found.n == 10


def test_the_same_source_stands_in_the_same_row():
    first = bootstrap.crossed(np.array([1.0, 2]), ["a", "b"], [0, 1])
    second = bootstrap.crossed(np.array([3.0, 4]), ["c", "b"], [0, 1])
    np.testing.assert_array_equal(bootstrap.stacked([first, second])[:, :, 0], [[1, 2, np.nan], [np.nan, 4, 3]])


def test_too_few_of_what_is_resampled_give_no_interval():
    assert not bootstrap.hierarchical(VALUES[:, :2], generator()).has_interval
    assert not bootstrap.hierarchical(VALUES[:2], generator(), resample_tasks=True).has_interval
    assert bootstrap.hierarchical(VALUES[:2], generator(), replicates=50).has_interval
    assert math.isnan(bootstrap.hierarchical(np.full((2, 3, 1), np.nan), generator()).value)
    assert bootstrap.hierarchical(np.zeros((0, 0, 0)), generator()).n == 0


def test_crossed_and_nested_seeds():
    pairs = [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    found = bootstrap.crossed(np.array([1.0, 2, 3, 4]), [s for s, _ in pairs], [t for _, t in pairs])
    np.testing.assert_array_equal(found.values, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(found.by_source, [1.5, 3.5])
    nested = bootstrap.crossed(np.array([1.0, 3, np.nan, 7]), ["a", "a", "b", "c"], [0, 1, 2, 3])
    np.testing.assert_array_equal(nested.values, [[2], [np.nan], [7]])
