import numpy as np
import pytest

from trl_suite.evidence.results import across_targets, comparison
from trl_suite.evidence.results.experiment_results import load

from .conftest import Grid


def test_methods_over_all_targets(standing: Grid):
    results = load(standing.root)
    found = {one.method: one for one in across_targets.overall(results)}
    assert list(found)[:2] == ["finetune from half-cheetah", "partial-freeze-1"]
    best = found["partial-freeze-1"]
    logs = [comparison.log_speed_ups(results.curves[env, "partial-freeze-1"], results.curves[env, "scratch"],
                                     results.scales[env]).by_source for env in results.envs]  # fmt: skip
    assert best.speed_up.value == pytest.approx(np.exp(np.mean([np.mean(one) for one in logs])), rel=1e-5)
    assert (best.targets, best.speed_up.n, best.speed_up_elsewhere.n) == (4, 6, 4)
    assert best.speed_up.low < best.speed_up.value < best.speed_up.high
    assert found["random-frozen"].gain.high < 0 < best.gain.low
    assert found["random-frozen"].improvement < 0.5 < best.improvement


def test_the_same_runs_give_the_same_intervals(standing: Grid):
    assert across_targets.overall(load(standing.root)) == across_targets.overall(load(standing.root))


def test_one_target_is_no_suite(experiment):
    assert across_targets.overall(load(experiment.root)) == []


def test_scores_are_of_all_complete_runs(grid: Grid):
    grid.write(grid.target("finetune", 0, Grid.TARGETS[0]), [1.0, 2.0], status="failed")
    found = across_targets.scores(load(grid.root))
    assert len(found["scratch"]) == 24
    assert np.isnan(found["finetune from half-cheetah"]).sum() == 1
