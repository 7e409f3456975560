import numpy as np
import pytest

from trl_suite.evidence.reading.run_records import PLASTICITY, NetworkState, plasticity_text
from trl_suite.evidence.report.results_archive import archive_results
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.statistics.plasticity import dormant_share, effective_rank, weight_norm


def test_units_below_a_fortieth_of_their_layers_mean_are_dormant():
    first = np.array([[1.0, -1.0, 0.0, 0.001], [1.0, 1.0, 0.0, -0.001]])  # mean activity 0.50025
    second = np.array([[2.0, 2.0], [2.0, -2.0]])
    assert dormant_share([first]) == 0.5
    assert dormant_share([first, second]) == pytest.approx(2 / 6)
    assert dormant_share([np.zeros((3, 4))]) == 1.0


def test_the_rank_counts_singular_values_up_to_a_share_of_their_sum():
    orthogonal = np.linalg.qr(np.random.default_rng(0).standard_normal((50, 4)))[0]
    assert effective_rank(orthogonal * [1.0, 1.0, 1.0, 1.0]) == 4
    assert effective_rank(orthogonal * [1.0, 1.0, 1e-3, 1e-3]) == 2
    assert effective_rank(orthogonal * [99.5, 0.5, 0.0, 0.0]) == 1
    assert effective_rank(np.zeros((5, 3))) == 0


def test_the_norm_is_that_of_all_weights_as_one_vector():
    assert weight_norm([np.array([[3.0]]), np.array([[0.0, 4.0]])]) == 5.0


def test_what_was_measured_stands_in_every_view(experiment, tmp_path):
    for planned in experiment.planned:
        if planned.role == "target":
            kl = 0.5 if planned.source else float("nan")
            states = [NetworkState(100_000, 0.1 + planned.seed / 100, 12.0, 9.0, kl)]
            (experiment.root / planned.folder / PLASTICITY).write_text(plasticity_text(states))
    found = experiment_results.load(experiment.root)
    rows = {row.method: row for row in found.measures()}
    assert rows["finetune"].dormant.value == pytest.approx(0.12)
    assert (rows["finetune"].source_kl.value, rows["scratch"].source_kl.n) == (0.5, 0)
    assert "What became of the networks" in found.report(tmp_path / "page.html").read_text()
    assert "KL to the source" in found.report(tmp_path / "page.md").read_text()
    assert found.runs()["weight_norm"].dropna().eq(9.0).all()
    archive_results(experiment.root, tmp_path / "archive")
    again = {row.method: row for row in experiment_results.load(tmp_path / "archive").measures()}
    assert again["finetune"].dormant == rows["finetune"].dormant


@pytest.mark.parametrize("text", ["", "step\n1\n", "step,dormant,effective_rank,weight_norm,source_kl\n1,x,1,1,1\n"])
def test_a_damaged_file_is_a_finding(experiment, text):
    (experiment.folder("finetune", 0) / PLASTICITY).write_text(text)
    found = experiment_results.load(experiment.root)
    assert [f.kind for f in found.irregularities if PLASTICITY in f.what] == ["unreadable"]
