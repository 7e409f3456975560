"""`trl_suite.run` in a notebook: one bar, and an interrupt that is one."""

import signal

import pytest

import trl_suite
from trl_suite.experiment import run_experiment
from trl_suite.experiment.run_experiment import Finished
from trl_suite.experiment.running.scheduler import Tally


def made_with(monkeypatch, tally: Tally, tmp_path) -> list[bool]:
    """Let nothing be trained; return whether each call was quiet."""
    quiet: list[bool] = []

    def make_runs(named, options, terminal, command):
        quiet.append(terminal.quiet)
        return Finished(folder=tmp_path / "runs" / "tiny", tally=tally)

    monkeypatch.setattr(run_experiment, "make_runs", make_runs)
    return quiet


def test_an_interrupt_is_one_when_all_is_saved(tiny, tmp_path, monkeypatch):
    made_with(monkeypatch, Tally(stopped_by=signal.SIGINT), tmp_path)
    with pytest.raises(KeyboardInterrupt, match="all runs are saved in .*tiny, and the same call goes on"):
        trl_suite.run(tiny)


@pytest.mark.parametrize(("notebook", "asked", "quiet"), [
    (True, None, False), (False, None, True), (True, True, True), (False, False, False),
])  # fmt: skip
def test_progress_is_shown_in_notebooks_and_where_it_is_asked_for(tiny, tmp_path, monkeypatch, notebook, asked, quiet):
    seen = made_with(monkeypatch, Tally(stopped_by=signal.SIGINT), tmp_path)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: notebook)
    with pytest.raises(KeyboardInterrupt):
        trl_suite.run(tiny, quiet=asked)
    assert seen == [quiet]
