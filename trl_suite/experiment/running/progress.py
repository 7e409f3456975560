"""Display while an experiment runs: a live line per cohort in a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from trl_suite.experiment.planning.cohort_queue import PlannedCohort
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.running.worker import News


class Display(Protocol):
    """Takes news of runs and shows them."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def began(self, cohort: PlannedCohort) -> None:
        """Show that a cohort is being made."""

    def heard(self, spec: RunSpec, news: News) -> None:
        """Show what a run says."""


class Lines:
    """One plain line per evaluation, for logs and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def began(self, cohort: PlannedCohort) -> None:
        """Print why runs are together; one that is alone speaks for itself."""
        if len(cohort.specs) > 1:
            self._print(f"{_name(cohort)}: {cohort.reason}")

    def heard(self, spec: RunSpec, news: News) -> None:
        """Print evaluations and failures; steps in between are left out."""
        if line := _line(spec, news):
            self._print(line)

    def _print(self, line: str) -> None:
        self._console.print(f"{time.monotonic() - self._started:6.1f} s  {line}", highlight=False, soft_wrap=True)


class _Speed(ProgressColumn):
    """Env steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@dataclass(kw_only=True)
class _CohortBar:
    """The line of one cohort."""

    task: TaskID
    total: int
    at: dict[str, int] = field(default_factory=dict[str, int])  # run -> env steps
    values: dict[str, float] = field(default_factory=dict[str, float])  # run -> latest return

    @property
    def completed(self) -> int:
        return sum(self.at.values())


class Bars:
    """The whole experiment's bar, and one below it for each cohort at work."""

    def __init__(self, console: Console, specs: Sequence[RunSpec]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:>9,.0f} / {task.total:,.0f} steps"),
            _Speed(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[value]}"),
            console=console,
        )
        self._all = self._progress.add_task("all", total=sum(spec.steps for spec in specs), value="")
        self._bars: dict[str, _CohortBar] = {}  # run -> its cohort's

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def began(self, cohort: PlannedCohort) -> None:
        """Add the cohort's line."""
        total = sum(spec.steps for spec in cohort.specs)
        bar = _CohortBar(task=self._progress.add_task(_name(cohort), total=total, value=""), total=total)
        self._bars |= {spec.folder: bar for spec in cohort.specs}

    def heard(self, spec: RunSpec, news: News) -> None:
        """Move the bars; what a user should read is printed above them."""
        if news.error or news.note or news.elsewhere:
            style = "red" if news.error else "yellow"
            self._progress.console.print(_line(spec, news), style=style, highlight=False, soft_wrap=True)
        name = spec.folder
        if name not in self._bars:
            self._progress.advance(self._all, spec.steps if news.done else 0)  # another process made it
            return
        bar = self._bars[name]
        at = spec.steps if news.done else min(news.step, spec.steps)
        if at > bar.at.get(name, 0):
            self._progress.advance(self._all, at - bar.at.get(name, 0))
            bar.at[name] = at
        if news.value is not None:
            bar.values[name] = news.value
        over = news.done or news.stopped or news.elsewhere or news.error is not None
        self._draw(bar, over and len(bar.values) <= 1)

    def _draw(self, bar: _CohortBar, over: bool) -> None:
        value = sum(bar.values.values()) / len(bar.values) if bar.values else None
        self._progress.update(
            bar.task,
            completed=bar.completed,
            visible=not over and bar.completed < bar.total,
            value="" if value is None else f"return {value:,.0f}",
        )


def display(console: Console, specs: Sequence[RunSpec]) -> Display:
    """Return bars for a terminal and lines for anything else."""
    return Bars(console, specs) if console.is_terminal else Lines(console)


def _name(cohort: PlannedCohort) -> str:
    if len(cohort.specs) == 1:
        return _title(cohort.specs[0])
    envs = list(dict.fromkeys(spec.env for spec in cohort.specs))
    return f"{len(cohort.specs)} runs of {envs[0]}" + (f" and {len(envs) - 1} more" if len(envs) > 1 else "")


def _title(spec: RunSpec) -> str:
    return f"{spec.env}  {spec.method}  seed {spec.seed}"


def _line(spec: RunSpec, news: News) -> str:
    if news.error:
        return f"{_title(spec)}  FAILED: {news.error}"
    if news.note:
        return f"{_title(spec)}  {news.note}"
    if news.elsewhere:
        return f"{_title(spec)}  is being made by another process"
    if news.stopped:
        return f"{_title(spec)}  {news.step:>9,} / {spec.steps:,} steps  interrupted"
    if news.value is None:
        return ""
    return f"{_title(spec)}  {news.step:>9,} / {spec.steps:,} steps  return {news.value:,.1f}"
