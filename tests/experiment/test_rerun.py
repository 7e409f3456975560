"""A recorded run is made again and compared; a display says what there is to see."""

import json
import shutil

import pytest

from trl_suite.cli.main import main
from trl_suite.errors import InputError
from trl_suite.experiment.reuse.reproduction import compare, rerun
from trl_suite.experiment.running.stop_request import Stop

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
