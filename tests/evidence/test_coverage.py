"""What 95 % mean: how often intervals cover the truth on synthetic data whose truth is known."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from trl_suite.evidence.statistics import bootstrap, estimates
from trl_suite.evidence.statistics.estimates import Estimate

SAMPLES, REPLICATES = 4000, 600
Interval = Callable[[np.ndarray, np.random.Generator], Estimate]


def students(values: np.ndarray, generator: np.random.Generator) -> Estimate:
    return estimates.mean(values)


def hierarchical(values: np.ndarray, generator: np.random.Generator) -> Estimate:
    return bootstrap.hierarchical(values[None, :, None], generator, replicates=REPLICATES)


def covered(interval: Interval, draw: Callable[[np.random.Generator], np.ndarray], truth: float) -> float:
    generator = np.random.default_rng(11)
    return float(np.mean([not interval(draw(generator), generator).excludes(truth) for _ in range(SAMPLES)]))


@pytest.mark.parametrize("interval", [students, hierarchical])
def test_95_percent_means_94_to_96_at_ten_seeds(interval: Interval):
    assert 0.94 <= covered(interval, lambda generator: generator.normal(3, 2, 10), 3) <= 0.96


def test_a_plain_percentile_interval_would_not_do():
    def percentile(values: np.ndarray, generator: np.random.Generator) -> Estimate:
        means = values[generator.integers(0, 10, (REPLICATES, 10))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        return Estimate(value=values.mean(), low=low, high=high, n=10)

    assert 0.88 <= covered(percentile, lambda generator: generator.normal(3, 2, 10), 3) <= 0.92


def test_the_interval_of_a_loss_follows_its_skew():
    """Losses end at 0, and six in ten are: max(0, x) of a Gaussian x, whose mean is known."""
    truth = float(stats.norm.pdf(0.3) - 0.3 * stats.norm.sf(0.3))

    def losses(generator: np.random.Generator) -> np.ndarray:
        return np.maximum(0, generator.normal(-0.3, 1, 10))

    assert covered(students, losses, truth) < 0.91
    assert 0.93 <= covered(lambda values, _: estimates.skewed_mean(values), losses, truth) <= 0.97
    symmetric = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert estimates.skewed_mean(symmetric).low == pytest.approx(estimates.mean(symmetric).low)
    assert estimates.skewed_mean(np.zeros(5)) == estimates.mean(np.zeros(5))


@pytest.mark.parametrize(("seeds", "measured"), [(5, 0.47), (10, 0.66), (20, 0.87)])
def test_one_failure_in_ten_runs_is_not_covered(seeds: int, measured: float):
    """The figures of the docstring: a run scores 1 with a little noise, or fails and scores 0."""

    def draw(generator: np.random.Generator) -> np.ndarray:
        return np.where(generator.random(seeds) < 0.1, 0, 1) + generator.normal(0, 0.05, seeds)

    assert covered(students, draw, 0.9) == pytest.approx(measured, abs=0.03)


def crossed(generator: np.random.Generator, tasks: int, targets: int, shift: float = 0.0) -> np.ndarray:
    """Tasks that share ten sources; what a source, a target seed, a run and a task add are independent."""
    source, target = generator.normal(0, 1, (1, 10, 1)), generator.normal(0, 0.7, (1, 1, targets))
    run, task = generator.normal(0, 1, (tasks, 10, targets)), generator.normal(0, shift, (tasks, 1, 1))
    return 3 + source + (target if targets > 1 else 0) + run + task


@pytest.mark.parametrize(
    ("tasks", "targets", "resampled", "least", "most"),
    [(5, 1, False, 0.93, 0.97), (4, 5, False, 0.93, 0.97), (10, 1, True, 0.94, 0.98), (4, 2, False, 0.83, 0.90)],
)
def test_crossed_seeds_and_tasks(tasks: int, targets: int, resampled: bool, least: float, most: float):
    generator, hits = np.random.default_rng(5), 0
    for _ in range(1000):
        values = crossed(generator, tasks, targets, shift=1.0 if resampled else 0.0)
        found = bootstrap.hierarchical(values, generator, resample_tasks=resampled, replicates=400)
        hits += not found.excludes(3)
    assert least <= hits / 1000 <= most


def test_fieller_covers_a_ratio_of_means():
    generator, hits = np.random.default_rng(2), 0
    for _ in range(SAMPLES):
        shared = generator.normal(0, 1, 10)
        found = estimates.ratio_of_means(10 + shared + generator.normal(0, 1, 10), 5 + shared)
        hits += not found.excludes(2)
    assert 0.94 <= hits / SAMPLES <= 0.96
