import numpy as np

from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import mode_ranking
from trl_suite.evidence.results.experiment_results import load

from .conftest import ENV, STEPS, Grid

RAMP = STEPS / 100.0


def test_the_two_ways_can_rank_methods_differently(experiment):
    for seed in range(5):
        experiment.write(experiment.target("scratch", seed), RAMP + seed, stochastic=RAMP)
        experiment.write(experiment.target("finetune", seed), 3 * RAMP + seed, stochastic=RAMP / 2)
        experiment.write(experiment.target("feature-extraction", seed), 2 * RAMP + seed, stochastic=2 * RAMP)
    results = load(experiment.root)
    (found,) = mode_ranking.rankings(results)
    assert found.env == ENV
    assert [(place.method, place.places) for place in found.places] == [
        ("finetune", (1, 3)), ("feature-extraction", (2, 1)), ("scratch", (3, 2)),
    ]  # fmt: skip
    assert set(found.reversed) == {("finetune", "feature-extraction"), ("finetune", "scratch")}
    page = report_files.render(results)
    assert "They rank methods differently here" in page
    assert "finetune is ahead of scratch with the deterministic policy and behind it with the stochastic one" in page


def test_ways_that_agree_say_so(experiment):
    for planned in experiment.planned[5:]:
        returns = RAMP * (2 + len(planned.method)) + planned.seed
        experiment.write(planned, returns, stochastic=returns / 2)
    assert "Both ways rank the methods alike" in report_files.render(load(experiment.root))


def test_one_way_only_has_no_ranking(experiment):
    assert mode_ranking.rankings(load(experiment.root)) == []
    assert "Both ways of evaluating" not in report_files.render(load(experiment.root))


def test_runs_without_the_stochastic_column_are_left_out_of_its_measures(grid: Grid):
    grid.write(grid.target("partial-freeze-1", 0, Grid.TARGETS[0]), np.linspace(0, 1, 11))
    rows = {(row.env, row.method): row for row in load(grid.root).measures("stochastic")}
    assert rows[Grid.TARGETS[0], "partial-freeze-1"].area.n == 5
