"""What one sees while an experiment runs: a live bar per run in a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from trl_suite.experiment.plan import Step
from trl_suite.experiment.worker import News


class Display(Protocol):
    """Takes news of runs and shows them."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def heard(self, step: Step, news: News) -> None:
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

    def heard(self, step: Step, news: News) -> None:
        """Print evaluations and failures; steps in between are left out."""
        line = _line(step, news)
        if line:
            self._console.print(f"{time.monotonic() - self._started:6.1f} s  {line}", highlight=False, soft_wrap=True)


class Bars:
    """The whole experiment's bar, and one below it for each run at work."""

    def __init__(self, console: Console, steps: list[Step]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:>9,.0f} / {task.total:,.0f} steps"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[value]}"),
            console=console,
        )
        self._all = self._progress.add_task("all", total=sum(step.steps for step in steps), value="")
        self._tasks: dict[str, TaskID] = {}
        self._seen: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def heard(self, step: Step, news: News) -> None:
        """Move the bars; a failure is printed above them."""
        if news.error:
            self._progress.console.print(_line(step, news), style="red", highlight=False, soft_wrap=True)
            return
        name = step.planned.folder
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(_title(step), total=step.steps, value="")
        done = min(news.step, step.steps)
        self._progress.advance(self._all, done - self._seen.get(name, 0))
        self._seen[name] = done
        self._progress.update(self._tasks[name], completed=done, visible=done < step.steps)
        if news.value is not None:
            self._progress.update(self._tasks[name], value=f"return {news.value:,.0f}")


def display(console: Console, steps: list[Step]) -> Display:
    """Return bars for a terminal and lines for anything else."""
    return Bars(console, steps) if console.is_terminal else Lines(console)


def _title(step: Step) -> str:
    return f"{step.planned.env}  {step.planned.method}  seed {step.planned.seed}"


def _line(step: Step, news: News) -> str:
    if news.error:
        return f"{_title(step)}  FAILED: {news.error}"
    if news.value is None:
        return ""
    return f"{_title(step)}  {news.step:>9,} / {step.steps:,} steps  return {news.value:,.1f}"
