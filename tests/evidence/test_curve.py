from pathlib import Path

import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.evidence.reading import curve


def write(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / "evaluations.csv"
    path.write_text("\n".join([curve.HEADER, *lines]) + end)
    return path


def test_returns_are_means_over_episodes(tmp_path: Path):
    found = curve.read(write(tmp_path, "0,0,1,10", "0,1,3,20", "500,0,-4.5,30", "500,1,0.5,30"))
    np.testing.assert_array_equal(found.steps, [0, 500])
    np.testing.assert_array_equal(found.returns, [2, -2])
    assert (found.episodes, found.note) == (2, "")


@pytest.mark.parametrize("tail", ["500,0,1,10\n500", "500,0,1,10\n500,1,7.", "500,0,1,10\n", "50"])
def test_a_cut_off_evaluation_is_left_out_and_said(tmp_path: Path, tail: str):
    found = curve.read(write(tmp_path, "0,0,1,10", "0,1,3,20", tail, end=""))
    np.testing.assert_array_equal(found.steps, [0])
    assert "unfinished evaluation after step 0" in found.note


def test_the_only_evaluation_is_judged_by_the_plan(tmp_path: Path):
    path = write(tmp_path, "0,0,1,10", "0,1,3,20")
    assert len(curve.read(path, episodes=2).steps) == 1
    assert len(curve.read(path, episodes=3).steps) == 0


def test_an_empty_file_is_a_curve_without_evaluations(tmp_path: Path):
    assert len(curve.read(write(tmp_path)).steps) == 0


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_return_that_is_not_finite_stays_visible(tmp_path: Path, value: str):
    found = curve.read(write(tmp_path, "0,0,1,10", "0,1,3,10", f"500,0,{value},10", "500,1,3,10"))
    assert np.isnan(found.returns[1])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0,0,1"], "3 columns"),
        (["0,0,one,10"], "could not convert"),
        (["100,0,1,10"], "no evaluation at step 0"),
        (["nan,0,1,10"], "no evaluation at step 0"),
        (["0,0,1,10", "0,0,1,10"], "an episode of step 0 is there twice"),
        (["0,0,1,10", "500,0,1,10", "400,0,1,10"], "steps go back in line 4"),
        (["0,0,1,1", "0,1,1,1", "5,0,1,1", "9,0,1,1", "9,1,1,1"], "evaluations of 1 to 2 episodes, expected 2"),
    ],
)
def test_what_no_crash_explains_is_refused(tmp_path: Path, lines: list[str], message: str):
    path = write(tmp_path, *lines)
    with pytest.raises(InputError, match=message) as caught:
        curve.read(path)
    assert str(path) in str(caught.value)


def test_another_header_is_refused(tmp_path: Path):
    (tmp_path / "x.csv").write_text("step,reward\n0,1\n")
    with pytest.raises(InputError, match="first line is 'step,reward'"):
        curve.read(tmp_path / "x.csv")


def modes(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / "evaluations.csv"
    path.write_text("\n".join([f"{curve.HEADER},mode", *lines]) + end)
    return path


def test_both_ways_of_evaluating_stand_on_one_grid(tmp_path: Path):
    d, s = "deterministic", "stochastic"
    lines = [f"0,0,1,9,{d}", f"0,1,3,9,{d}", f"0,0,10,9,{s}", f"500,0,4,9,{d}", f"500,1,6,9,{d}", f"500,0,20,9,{s}"]
    found = curve.read(modes(tmp_path, *lines), episodes=2)
    np.testing.assert_array_equal(found.returns, [2, 5])
    np.testing.assert_array_equal(found.stochastic, [10, 20])
    assert found.note == ""


@pytest.mark.parametrize("end", ["\n", "\n500,1,6,9,sto", "\n500,1,6,9,stochastic"])
def test_a_stochastic_evaluation_that_was_cut_off_is_not_a_number(tmp_path: Path, end: str):
    lines = [f"{step},{episode},{step},9,{mode}" for step in (0, 500) for mode in curve.MODES for episode in (0, 1)]
    found = curve.read(modes(tmp_path, *lines[:-1], end=end), episodes=2)
    np.testing.assert_array_equal(found.returns, [0, 500])
    np.testing.assert_array_equal(found.stochastic, [0, np.nan])


def test_without_a_fifth_column_evaluations_are_deterministic(tmp_path: Path):
    assert curve.read(write(tmp_path, "0,0,1,10")).stochastic is None


def test_an_unknown_mode_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="unknown mode 'greedy'"):
        curve.read(modes(tmp_path, "0,0,1,10,greedy"))


def test_lines_of_other_widths_are_refused_even_where_they_add_up(tmp_path: Path):
    with pytest.raises(InputError, match="3 columns in '0,1,3'"):
        curve.read(write(tmp_path, "0,0,1,10", "0,1,3", "0,2,3,10,1"))
