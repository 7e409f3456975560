"""How far the runs of an experiment are: env steps made, steps per second, time left; knows no terminal."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from trl_suite.experiment.planning.run_spec import RunSpec

WINDOW_SECONDS = 60.0  # the rate is that of the last so many


class Pace:
    """Counts the env steps of some runs.

    Args:
        specs: the runs.
        clock: seconds, from any beginning on.
    """

    def __init__(self, specs: Sequence[RunSpec], clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = {spec.folder: spec.steps for spec in specs}
        self._at: dict[str, int] = {}  # run -> env steps
        self._lost: set[str] = set()  # runs of which nothing more is expected
        self._clock, self._made = clock, 0  # env steps that were made while this was looking
        self._marks: deque[tuple[float, int]] = deque([(clock(), 0)])

    @property
    def total(self) -> int:
        """Env steps of all runs, without those that a failed run still had to make."""
        return sum(self._at.get(run, 0) if run in self._lost else steps for run, steps in self._steps.items())

    @property
    def done(self) -> int:
        """Env steps made, by whomever and whenever."""
        return sum(self._at.values())

    @property
    def share(self) -> float:
        """Share of the env steps that is made, from 0 to 1."""
        return self.done / self.total if self.total else 1.0

    @property
    def rate(self) -> float:
        """Env steps per second of the last minute; NaN before there are any."""
        (since, before), now = self._marks[0], self._clock()
        return (self._made - before) / (now - since) if self._made > before and now > since else float("nan")

    @property
    def seconds_left(self) -> float:
        """Seconds until all is done at this rate; NaN while there is none."""
        return (self.total - self.done) / self.rate

    def reached(self, run: str, step: int) -> None:
        """Take it that a run has made so many env steps; those before its first word were made earlier."""
        step = min(step, self._steps[run])
        self._made += max(0, step - self._at[run]) if run in self._at else 0
        self._at[run] = step
        self._lost.discard(run)
        self._mark()

    def finished(self, run: str) -> None:
        """Take it that a run is done."""
        self.reached(run, self._steps[run])

    def lost(self, run: str) -> None:
        """Expect nothing more of a run."""
        self._lost.add(run)

    def _mark(self) -> None:
        now = self._clock()
        if now - self._marks[-1][0] >= WINDOW_SECONDS / 60:
            self._marks.append((now, self._made))
        while len(self._marks) > 2 and now - self._marks[1][0] >= WINDOW_SECONDS:
            self._marks.popleft()
