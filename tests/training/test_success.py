"""Success rate is measured beside the return: in the file, the curve, and TensorBoard's scalars."""

from pathlib import Path

import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.evidence.reading import curve
from trl_suite.training.acting.evaluation import Episode, append, successes_so_far
from trl_suite.training.run_log import of_evaluation

EPISODES = [Episode(1.5, 10, "deterministic", True), Episode(2.0, 20, "deterministic", False)]


def test_success_is_a_column_a_curve_and_a_scalar(tmp_path: Path):
    path = tmp_path / "evaluations.csv"
    for step, flags in ((0, (False, False)), (100, (True, False)), (200, (True, True))):
        episodes = [episode._replace(success=flag) for episode, flag in zip(EPISODES, flags, strict=True)]
        append(path, step, episodes)
    assert path.read_text().splitlines()[:2] == [
        "step,episode,return,length,mode,success",
        "0,0,1.5,10,deterministic,0",
    ]
    read = curve.read(path)
    assert read.success_rates is not None
    assert read.success_rates.tolist() == [0.0, 0.5, 1.0]
    assert read.returns.tolist() == [1.75] * 3
    assert of_evaluation(EPISODES)["eval/success_rate"] == 0.5


def test_without_success_nothing_changes(tmp_path: Path):
    path = tmp_path / "evaluations.csv"
    append(path, 0, [episode._replace(success=None) for episode in EPISODES])
    assert path.read_text().startswith("step,episode,return,length,mode\n0,0,1.5,10,deterministic\n")
    assert curve.read(path).success_rates is None
    assert "eval/success_rate" not in of_evaluation([EPISODES[0]._replace(success=None)])


def test_odd_lines_are_one_error(tmp_path: Path):
    path = tmp_path / "evaluations.csv"
    path.write_text("step,episode,return,length,mode,success\n0,0,1.5,10,deterministic\n")
    with pytest.raises(InputError, match="5 columns"):
        curve.read(path)
    path.write_text("step,episode,return,length,mode,success\n0,0,nan,10,deterministic,1\n")
    read = curve.read(path)
    assert read.success_rates is not None
    assert read.success_rates.tolist() == [1.0]


def test_an_episode_keeps_the_success_that_it_ended_with():
    flags = successes_so_far(None, {}, np.array([True, True]))
    assert flags is None
    flags = successes_so_far(None, {"is_success": np.array([True, False])}, np.array([True, True]))
    flags = successes_so_far(flags, {"is_success": np.array([False, True])}, np.array([False, True]))
    assert flags is not None
    assert flags.tolist() == [True, True]
