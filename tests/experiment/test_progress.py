"""What is shown while an experiment runs: in terminals of any width, in logs, in notebooks."""

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest

from trl_suite.experiment.planning import grid
from trl_suite.experiment.planning.cohort_queue import PlannedCohort
from trl_suite.experiment.running import progress
from trl_suite.experiment.running.pace import Pace
from trl_suite.experiment.running.worker import News
from trl_suite.experiment.specification import experiment_file
from trl_suite.terminal import Terminal

WIDTHS = (60, 80, 120, 200)


@pytest.fixture
def specs(tiny):
    return grid.run_specs(experiment_file.load(tiny))


def of_length(steps, count=3, env="half-cheetah.gravity-1.5"):
    """Runs of so many steps, as a display knows them."""
    return [
        SimpleNamespace(folder=f"f{i}", steps=steps, env=env, method="finetune", role="target",
                        title=f"{env}  finetune  seed {i}") for i in range(count)
    ]  # fmt: skip


def console(stream, terminal, width=140):
    return Terminal(file=stream, force_terminal=terminal, width=width, legacy_windows=False, color_system=None)


def shown(bars, width):
    stream = io.StringIO()
    console(stream, True, width).print(bars.table())
    return stream.getvalue()


# --- pace ---


def test_rate_and_time_left_are_those_of_the_last_minute():
    clock = [0.0]
    specs = of_length(1_000)
    pace = Pace(specs, lambda: clock[0])
    assert pace.rate != pace.rate
    pace.reached("f0", 500)  # made before this was looking: nothing is known of the rate
    assert pace.rate != pace.rate
    clock[0] = 10.0
    pace.reached("f0", 600)
    assert pace.rate == pytest.approx(10.0)
    assert pace.seconds_left == pytest.approx((3_000 - 600) / 10)
    for second in range(11, 200):
        clock[0] = float(second)
        pace.reached("f0", 600 + second)  # slower now
    assert pace.rate == pytest.approx(1.0, rel=0.05)


def test_a_run_that_was_done_before_or_has_failed_leaves_nothing_to_wait_for():
    specs = of_length(1_000)
    pace = Pace(specs)
    pace.finished("f0")
    pace.reached("f1", 250)
    pace.lost("f1")
    assert (pace.done, pace.total) == (1_250, 2_250)
    pace.reached("f1", 100)  # it is tried again
    assert (pace.done, pace.total) == (1_100, 3_000)


# --- a terminal ---


def test_a_terminal_shows_a_line_per_cohort_with_time_left_and_rate_first(specs):
    stream = io.StringIO()
    bars = progress.display(console(stream, True), specs)
    pair = tuple(spec for spec in specs if spec.role == "source")
    with bars:
        bars.began(PlannedCohort(specs=pair, engine="cohort", reason="same"))
        for spec in pair:
            bars.heard(spec, News(run=spec.folder, step=104, value=20.0))
        bars.heard(pair[0], News(run=pair[0].folder, note="no checkpoint [to] go on from"))
        text = shown(bars, 140)
    assert "no checkpoint [to] go on from" in stream.getvalue()
    header, whole, cohort = text.splitlines()
    assert header.split()[:3] == ["left", "steps/s", "done"]
    assert "0 of 8 runs done, return 20.0" in whole
    assert "2 runs of inverted-pendulum, return 20.0" in cohort
    assert "208 / 1,024" in cohort


@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_is_cut_and_no_word_broken(width, monkeypatch):
    specs = of_length(123_456_789, count=12)
    monkeypatch.setattr(Pace, "rate", property(lambda _: 1_234_567.0))
    stream = io.StringIO()
    bars = progress.Bars(console(stream, True, width), specs)
    bars.began(PlannedCohort(specs=tuple(specs), engine="cohort", reason="same"))
    for spec in specs:
        bars.heard(spec, News(run=spec.folder, step=98_765_432, value=-123_456.0))
    text = shown(bars, width)
    assert max(len(line) for line in text.splitlines()) <= width
    words = set(text.split())
    assert {"1,234,567", "80%", "4", "min", "half-cheetah.gravity-1.5,", "\u2212123,456", "runs", "done,"} <= words
    if width >= progress.WITH_STEPS:
        assert "1,185,185,184 / 1,481,481,468" in text
    assert "\u2026" not in text


def test_what_was_done_before_is_counted(specs):
    bars = progress.Bars(console(io.StringIO(), True), specs)
    bars.already(specs[:4])
    assert "4 of 8 runs done" in shown(bars, 100)


# --- a log ---


def test_a_log_has_a_line_per_target_and_method_and_what_failed(specs):
    stream = io.StringIO()
    targets = [spec for spec in specs if spec.method == "scratch"]
    with progress.display(console(stream, False), specs) as lines:
        lines.began(PlannedCohort(specs=tuple(specs[:2]), engine="cohort", reason="same slots"))
        for spec in targets:
            for step in range(0, 257, 64):
                lines.heard(spec, News(run=spec.folder, step=step, value=20.0))
            lines.heard(spec, News(run=spec.folder, step=256, done=True))
        lines.heard(specs[0], News(run=specs[0].folder, error="ValueError: [no]"))
        lines.heard(specs[1], News(run=specs[1].folder, elsewhere=True))
    text = stream.getvalue().splitlines()
    assert len(text) == 4
    assert "same slots" in text[0]
    assert "inverted-pendulum.gravity-1.5  scratch: 2 of 2 runs done, return 20.0" in text[1]
    assert "FAILED: ValueError: [no]" in text[2]
    assert "is being made by another process" in text[3]
    assert all(re.match(r" +\d+ s .* left .* steps/s +\d+%", line) for line in text)
    assert "\x1b" not in stream.getvalue()


def test_a_log_that_is_silent_has_a_heartbeat(specs, monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS_MAX", 0.05)
    stream = io.StringIO()
    with progress.display(console(stream, False), specs) as lines:
        lines.heard(specs[0], News(run=specs[0].folder, step=64, value=3.0))
        until = time.monotonic() + 10
        while "runs done" not in stream.getvalue() and time.monotonic() < until:
            time.sleep(0.01)
    assert "0 of 8 runs done" in stream.getvalue()
    before = stream.getvalue()
    time.sleep(0.15)
    assert stream.getvalue() == before


# --- a notebook ---


def test_a_notebook_has_one_bar(specs, monkeypatch):
    shown_pages, handle = [], SimpleNamespace(update=lambda page: shown_pages.append(page))
    fake = SimpleNamespace(HTML=str, display=lambda page, display_id: shown_pages.append(page) or handle)
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=fake))
    with progress.NotebookBar(specs) as bar:
        bar.heard(specs[0], News(run=specs[0].folder, step=128, value=20.0))
        bar.heard(specs[0], News(run=specs[0].folder, step=130, value=20.0))
    assert 2 <= len(shown_pages) <= 3  # when it begins, when it ends, and not at every word
    bar.heard(specs[0], News(run=specs[0].folder, step=256, value=20.0))
    bar.heard(specs[1], News(run=specs[1].folder, error="<script>"))
    page = bar.page()
    assert page.count("<progress") == 1
    assert "1 failed" in page
    assert "left" in page
    assert "<script>" not in page
