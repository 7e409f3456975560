import numpy as np

from trl_suite.evidence.keep import keep
from trl_suite.evidence.results import load

from .conftest import ENV, write_evaluations


def test_what_is_kept_reports_the_same(experiment, tmp_path):
    write_evaluations(
        experiment.folder("finetune", 0) / "retention.csv", np.array([700.0, 300]), np.array([0, 100_000])
    )
    pictures = keep(experiment.root, tmp_path / "kept")
    assert [path.name for path in pictures] == [f"{ENV}.svg"]
    assert pictures[0].read_text().startswith("<svg")
    kept = load(tmp_path / "kept")
    assert repr(kept.measures()) == repr(load(experiment.root).measures())  # NaN equals nothing, not even itself
    assert (tmp_path / "kept" / "report.html").is_file()


def test_an_experiment_with_nothing_evaluated_is_kept_too(experiment, tmp_path):
    for planned in experiment.planned:
        (experiment.root / planned.folder / "evaluations.csv").unlink()
    assert load(experiment.root).curves == {}
    assert keep(experiment.root, tmp_path / "kept") == []
