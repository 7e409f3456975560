"""Results that anyone can check."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from trl_suite.cli.main import main
from trl_suite.errors import InputError
from trl_suite.evidence.report.results_archive import archive_results
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.statistics import estimates
from trl_suite.experiment.reuse import spot_check
from trl_suite.experiment.reuse.reproduction import Repetition


@pytest.fixture
def archive(finished: Path, tmp_path: Path) -> Path:
    return archive_results(finished, tmp_path / "results")


def called(*words: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(words)
    return int(exit_.value.code or 0)


def test_runs_of_an_archive_are_verified(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert called("check", str(archive), "--runs", "2", "--out", str(tmp_path / "out")) == 0
    printed = capsys.readouterr().out
    assert printed.count("verified: ") == 2
    assert "2 of the archive's runs made again: 2 verified" in printed


def test_a_return_that_was_edited_differs(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    for path in runs.glob("*/*/seed-*/evaluations.csv"):
        lines = path.read_text().splitlines()
        step, episode, value, *rest = lines[-1].split(",")
        path.write_text("\n".join([*lines[:-1], ",".join([step, episode, repr(float(value) + 1), *rest])]) + "\n")
    assert called("check", str(runs), "--runs", "1", "--json") == 1
    checked = json.loads(capsys.readouterr().out)
    assert [run["verdict"] for run in checked] == ["differs"]
    assert checked[0]["repetition"]["largest_difference"] == pytest.approx(1)


def test_the_draw_is_that_of_its_seed_and_never_twice(archive: Path):
    results = experiment_results.load(archive)
    drawn = [spot_check.draw(results, 3, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    everything = spot_check.draw(results, 10_000, np.random.default_rng(0))
    assert len({run.folder for run in everything}) == len(everything)


def test_without_a_finished_run_there_is_nothing_to_check(archive: Path):
    results = experiment_results.load(archive)
    with pytest.raises(InputError, match="no run on a target is done"):
        spot_check.draw(type(results)(**{**vars(results), "recorded": ()}), 1, np.random.default_rng(0))


@pytest.mark.parametrize(("circumstances", "verdict"), [({"cpu": "a -> b"}, "consistent"), ({}, "differs")])
def test_elsewhere_a_run_is_consistent_where_one_more_seed_would_lie(
    finished: Path, monkeypatch: pytest.MonkeyPatch, circumstances: dict[str, str], verdict: str
):
    monkeypatch.setattr(estimates, "prediction_interval", lambda values, level: (-1e9, 1e9))  # two seeds give none
    results = experiment_results.load(finished)
    runs = spot_check.draw(results, 100, np.random.default_rng(0))
    planned = next(run for run in runs if run.method == "finetune")
    other = next(run for run in runs if run.method == "finetune" and run.env == planned.env and run != planned)
    repetition = Repetition(run=planned.folder, repetition=str(finished / other.folder), evaluations_equal=False,
                            weights_equal=None, first_difference=0, largest_difference=1.0,
                            circumstances=circumstances)  # fmt: skip
    assert spot_check.judged(results, planned, repetition).verdict == verdict


def test_a_prediction_interval_covers_one_more_value():
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(4000, 6))
    inside = [low <= row[-1] <= high for row in drawn for low, high in [estimates.prediction_interval(row[:-1])]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)
    assert np.isnan(estimates.prediction_interval(np.ones(1))).all()
