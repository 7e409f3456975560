"""A recorded run is made again and compared; a display says what there is to see."""

import io
import json
import shutil

import pytest
from rich.console import Console

from trl_suite.cli.main import main
from trl_suite.errors import InputError
from trl_suite.experiment.planning import grid
from trl_suite.experiment.planning.cohort_queue import PlannedCohort
from trl_suite.experiment.reuse.reproduction import compare, rerun
from trl_suite.experiment.running import progress
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.running.worker import News
from trl_suite.experiment.specification import experiment_file

from .conftest import Hearing


def target(finished):
    return next(iter(sorted(finished.glob("*gravity-1.5/finetune/seed-0*"))))


def test_a_run_that_is_made_again_is_the_same_to_the_last_bit(finished, tmp_path):
    found = rerun(target(finished), tmp_path, Hearing(), Stop())
    assert found is not None
    assert found.equal
    assert found.weights_equal
    assert (found.first_difference, found.largest_difference) == (None, 0.0)
    with pytest.raises(InputError, match="has been made again there already"):
        rerun(target(finished), tmp_path, Hearing(), Stop())


def test_what_differs_is_said(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(target(finished), folder)
    path = folder / "evaluations.csv"
    lines = path.read_text().splitlines()
    cells = lines[-1].split(",")
    cells[2] = repr(float(cells[2]) + 1.5)
    path.write_text("\n".join([*lines[:-1], ",".join(cells)]) + "\n")
    record = json.loads((folder / "run.json").read_text())
    record["versions"]["torch"] = "1.0"
    (folder / "run.json").write_text(json.dumps(record))
    found = compare(target(finished), folder)
    assert not found.equal
    assert (found.first_difference, found.largest_difference) == (256, 1.5)
    assert found.circumstances["torch"].endswith("-> 1.0")


def test_a_record_that_was_edited_is_not_made_again(finished, tmp_path, capsys):
    folder = tmp_path / "env" / "method" / target(finished).name
    shutil.copytree(target(finished), folder)
    record = json.loads((folder / "run.json").read_text())
    record["specification"]["seed"] = 5
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit) as exit_:
        main(["rerun", str(folder), "--out", str(tmp_path / "out")])
    assert exit_.value.code == 2
    assert "was edited" in capsys.readouterr().err


def display(terminal: bool, tiny):
    steps = grid.run_specs(experiment_file.load(tiny))
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=140, legacy_windows=False)
    return steps, stream, progress.display(console, steps)


def test_a_terminal_shows_a_line_per_cohort_with_steps_speed_return_and_time_left(tiny):
    steps, stream, bars = display(True, tiny)
    pair = tuple(step for step in steps if step.role == "source")
    with bars:
        bars.began(PlannedCohort(specs=pair, engine="cohort", reason="same"))
        for step in pair:
            bars.heard(step, News(run=step.folder, step=104, value=20.0))
        bars.heard(pair[0], News(run=pair[0].folder, note="no checkpoint to go on from"))
    shown = stream.getvalue()
    assert "2 runs of inverted-pendulum" in shown
    assert "208 / 1,024 steps" in shown
    assert "return 20" in shown
    assert "no checkpoint to go on from" in shown


def test_a_log_shows_plain_lines(tiny):
    steps, stream, lines = display(False, tiny)
    with lines:
        lines.began(PlannedCohort(specs=tuple(steps[:2]), engine="cohort", reason="same slots"))
        lines.heard(steps[0], News(run=steps[0].folder, step=104, value=20.0))
        lines.heard(steps[0], News(run=steps[0].folder, step=110))
        lines.heard(steps[1], News(run=steps[1].folder, error="ValueError: no"))
        lines.heard(steps[2], News(run=steps[2].folder, elsewhere=True))
    shown = stream.getvalue().splitlines()
    assert len(shown) == 4
    assert "same slots" in shown[0]
    assert "104 / 512 steps  return 20.0" in shown[1]
    assert "FAILED: ValueError: no" in shown[2]
    assert "is being made by another process" in shown[3]
    assert "\x1b" not in stream.getvalue()
