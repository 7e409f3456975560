"""Display while an experiment runs: live lines in a terminal, one bar in a notebook, few plain lines elsewhere.

Time left and rate stand first, and no number is ever cut: what does not fit is left out, or wrapped between words.
"""

import html
import importlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table

from trl_suite.evidence.results.number_format import duration, number, plural
from trl_suite.experiment.planning.cohort_queue import PlannedCohort
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.running.pace import Pace
from trl_suite.experiment.running.worker import News
from trl_suite.terminal import Terminal

LOG_SECONDS_MAX = 30.0  # a log has a line at least so often
NOTEBOOK_SECONDS = 0.5  # between two pictures of a notebook's bar
BAR_COLUMNS = 20  # of a terminal, for a bar
WITH_STEPS, WITH_BAR = 100, 120  # columns of a terminal from which on there is room for them


class Display(Protocol):
    """Takes news of runs and shows them."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def already(self, specs: Sequence[RunSpec]) -> None:
        """Take it that some runs were done before."""

    def began(self, cohort: PlannedCohort) -> None:
        """Show that a cohort is being made."""

    def heard(self, spec: RunSpec, news: News) -> None:
        """Show what a run says."""


@dataclass(kw_only=True)
class _Ledger:
    """State of all runs: where each is, how it ended, and its latest return."""

    specs: Sequence[RunSpec]
    pace: Pace
    over: set[str] = field(default_factory=set[str])
    failed: set[str] = field(default_factory=set[str])
    values: dict[str, float] = field(default_factory=dict[str, float])

    def already(self, specs: Sequence[RunSpec]) -> None:
        for spec in specs:
            self.pace.finished(spec.folder)
            self.over.add(spec.folder)

    def heard(self, spec: RunSpec, news: News) -> None:
        if news.value is not None:
            self.values[spec.folder] = news.value
        self.over.discard(spec.folder)
        self.failed.discard(spec.folder)
        if news.done:
            self.pace.finished(spec.folder)
            self.over.add(spec.folder)
        elif news.error is not None:
            self.pace.lost(spec.folder)
            self.over.add(spec.folder)
            self.failed.add(spec.folder)
        elif news.step:
            self.pace.reached(spec.folder, news.step)

    def summary(self, specs: Sequence[RunSpec]) -> str:
        """Return `4 of 5 runs done, 1 failed, return 1,234` of some runs."""
        folders = [spec.folder for spec in specs]
        failed = sum(folder in self.failed for folder in folders)
        done = sum(folder in self.over for folder in folders) - failed
        values = [self.values[folder] for folder in folders if folder in self.values]
        parts = [f"{done:,} of {plural(len(folders), 'run')} done", f"{failed:,} failed" if failed else ""]
        returns = f"return {number(sum(values) / len(values))}" if values else ""
        return ", ".join(part for part in (*parts, returns) if part)


class Lines:
    """A plain line per target and method as its last run ends, for logs and CI, and one now and then in between."""

    def __init__(self, console: Terminal, specs: Sequence[RunSpec]) -> None:
        self._console, self._ledger = console, _Ledger(specs=specs, pace=Pace(specs))
        self._groups: dict[tuple[str, str, str], list[RunSpec]] = {}
        for spec in specs:
            self._groups.setdefault(_group(spec), []).append(spec)
        self._started = time.monotonic()
        self._heartbeat = Periodic(LOG_SECONDS_MAX, self._beat)

    def __enter__(self) -> Self:
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heartbeat.end()

    def already(self, specs: Sequence[RunSpec]) -> None:
        """Count what was done before, and say so."""
        self._ledger.already(specs)
        if specs:
            self._print(f"{len(specs):,} of {plural(len(self._ledger.specs), 'run')} were done before")

    def began(self, cohort: PlannedCohort) -> None:
        """Print why runs are together; one that is alone speaks for itself."""
        if len(cohort.specs) > 1:
            self._print(f"{_name(cohort.specs)}: {cohort.reason}")

    def heard(self, spec: RunSpec, news: News) -> None:
        """Print failures and notes as they come, and a target and method when its last run is over."""
        before = set(self._ledger.over)
        self._ledger.heard(spec, news)
        if line := _line(spec, news):
            self._print(line)
        members = self._groups[_group(spec)]
        if spec.folder in self._ledger.over - before and all(m.folder in self._ledger.over for m in members):
            self._print(f"{spec.env}  {spec.method}: {self._ledger.summary(members)}")

    def _beat(self) -> None:
        self._print(self._ledger.summary(self._ledger.specs).partition(", return")[0])

    def _print(self, line: str) -> None:
        pace = self._ledger.pace
        left, rate = f"{_left(pace)} left", f"{_rate(pace)} steps/s"
        head = f"{time.monotonic() - self._started:6.0f} s  {left:>12}  {rate:>16}  {pace.share:4.0%}"
        self._console.print(f"{head}  {line}", soft_wrap=True)
        self._heartbeat.postpone()


class Periodic:
    """Calls something every so many seconds from a thread of its own, unless it is postponed."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._seconds, self._call = seconds, call
        self._over, self._at = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def postpone(self) -> None:
        """Wait for the whole time from now on."""
        self._at = time.monotonic()

    def end(self) -> None:
        """Call no more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(max(0.01, self._at + self._seconds - time.monotonic())):
            if time.monotonic() >= self._at + self._seconds:
                self.postpone()
                self._call()


@dataclass(kw_only=True)
class _CohortRow:
    """The line of one cohort at work."""

    specs: Sequence[RunSpec]
    folders: frozenset[str]
    pace: Pace


class Bars:
    """The whole experiment's line, and one below it for each cohort at work."""

    def __init__(self, console: Terminal, specs: Sequence[RunSpec]) -> None:
        self._console, self._ledger = console, _Ledger(specs=specs, pace=Pace(specs))
        self._rows: list[_CohortRow] = []
        self._live = Live(console=console, get_renderable=self.table, refresh_per_second=4, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def already(self, specs: Sequence[RunSpec]) -> None:
        """Count what was done before."""
        self._ledger.already(specs)

    def began(self, cohort: PlannedCohort) -> None:
        """Add the cohort's line."""
        folders = frozenset(spec.folder for spec in cohort.specs)
        self._rows.append(_CohortRow(specs=cohort.specs, folders=folders, pace=Pace(cohort.specs)))

    def heard(self, spec: RunSpec, news: News) -> None:
        """Move the lines; what a user should read is printed above them."""
        if line := _line(spec, news):
            style = "red" if news.error else "yellow"
            self._console.print(line, style=style, soft_wrap=True)
        self._ledger.heard(spec, news)
        for row in [row for row in self._rows if spec.folder in row.folders]:
            _Ledger(specs=row.specs, pace=row.pace).heard(spec, news)
            if all(s.folder in self._ledger.over for s in row.specs) or news.stopped or news.elsewhere:
                self._rows.remove(row)

    def table(self) -> Table:
        """Return all lines, as wide as the terminal is now."""
        width = self._console.width
        numbers = [Column(name, justify="right", no_wrap=True) for name in ("left", "steps/s", "done")]
        bar = [Column("", no_wrap=True)] if width >= WITH_BAR else []
        steps = [Column("env steps", justify="right", no_wrap=True)] if width >= WITH_STEPS else []
        table = Table(*numbers, *bar, *steps, Column("runs", overflow="ellipsis"), box=None, padding=(0, 2, 0, 0))
        table.add_row(*self._cells(self._ledger.pace, bar, steps), self._ledger.summary(self._ledger.specs))
        for row in self._rows:
            values = [self._ledger.values[s.folder] for s in row.specs if s.folder in self._ledger.values]
            value = f", return {number(sum(values) / len(values))}" if values else ""
            table.add_row(*self._cells(row.pace, bar, steps), _name(row.specs) + value)
        return table

    def _cells(self, pace: Pace, bar: list[Column], steps: list[Column]) -> list[Any]:
        cells: list[Any] = [_left(pace), _rate(pace), f"{pace.share:.0%}"]
        cells += [ProgressBar(total=1.0, completed=pace.share, width=BAR_COLUMNS)] if bar else []
        return cells + ([f"{pace.done:,} / {pace.total:,}"] if steps else [])


class NotebookBar:
    """One bar with the time left, redrawn in place; failures and notes stand below it."""

    def __init__(self, specs: Sequence[RunSpec]) -> None:
        self._ledger, self._notes = _Ledger(specs=specs, pace=Pace(specs)), list[str]()
        self._handle: Any = None
        self._drawn_at = -math.inf

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw()

    def already(self, specs: Sequence[RunSpec]) -> None:
        """Count what was done before."""
        self._ledger.already(specs)
        self._draw()

    def began(self, cohort: PlannedCohort) -> None:
        """Show nothing: the bar is of all runs."""

    def heard(self, spec: RunSpec, news: News) -> None:
        """Move the bar."""
        self._ledger.heard(spec, news)
        if line := _line(spec, news):
            self._notes.append(line)
        if time.monotonic() - self._drawn_at >= NOTEBOOK_SECONDS:
            self._draw()

    def page(self) -> str:
        """Return the bar as HTML."""
        pace = self._ledger.pace
        text = (
            f"{_left(pace)} left, {_rate(pace)} steps/s, {pace.share:.0%}: {self._ledger.summary(self._ledger.specs)}"
        )
        notes = "".join(f"<div style='color:#a33b00'>{html.escape(note)}</div>" for note in self._notes)
        bar = f"<progress value='{pace.done}' max='{max(pace.total, 1)}' style='width:20em'></progress>"
        return f"<div>{bar} {html.escape(text)}</div>{notes}"

    def _draw(self) -> None:
        notebook: Any = importlib.import_module("IPython.display")  # there, since this is a notebook
        self._drawn_at = time.monotonic()
        picture: Any = notebook.HTML(self.page())
        if self._handle is None:
            self._handle = notebook.display(picture, display_id=True)
        else:
            self._handle.update(picture)


def display(console: Terminal, specs: Sequence[RunSpec]) -> Display:
    """Return one bar for a notebook, live lines for a terminal, and plain lines for anything else."""
    if console.is_jupyter and not console.quiet:
        return NotebookBar(specs)
    return Bars(console, specs) if console.is_terminal else Lines(console, specs)


def _left(pace: Pace) -> str:
    """Return `3 min 5 s`, or a dash while nothing is known."""
    return duration(pace.seconds_left) if math.isfinite(pace.seconds_left) else number(math.nan)


def _rate(pace: Pace) -> str:
    return f"{pace.rate:,.0f}" if math.isfinite(pace.rate) else number(math.nan)


def _group(spec: RunSpec) -> tuple[str, str, str]:
    return spec.role, spec.env, spec.method


def _name(specs: Sequence[RunSpec]) -> str:
    if len(specs) == 1:
        return specs[0].title
    envs = list(dict.fromkeys(spec.env for spec in specs))
    return f"{len(specs)} runs of {envs[0]}" + (f" and {len(envs) - 1} more" if len(envs) > 1 else "")


def _line(spec: RunSpec, news: News) -> str:
    """Return the line that a user should read at once, if there is one."""
    if news.error:
        return f"{spec.title}  FAILED: {news.error}"
    if news.note:
        return f"{spec.title}  {news.note}"
    if news.elsewhere:
        return f"{spec.title}  is being made by another process"
    if news.stopped:
        return f"{spec.title}  interrupted at {news.step:,} of {spec.steps:,} steps"
    return ""
