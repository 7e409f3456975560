"""A cohort on whichever machine a cluster gives it: what is done there, and what can be seen of it from here."""

import csv
import time
from pathlib import Path

from trl_suite.experiment.running import lease
from trl_suite.experiment.running.run_state import EVALUATIONS
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.running.worker import CohortOrder, News, Tell, work

FOLLOW_SECONDS = 1.0  # seconds between two looks at what a run has written


class RemoteCohort:
    """A cohort to be made by a process that a cluster starts; called, it returns what its runs said last."""

    def __init__(self, order: CohortOrder) -> None:
        self.order = order

    def __call__(self) -> list[News]:
        """Make the cohort."""
        return self._made(Stop())

    def _made(self, stop: Stop) -> list[News]:
        last: dict[str, News] = {}
        with stop:
            work(self.order, lambda news: last.update({news.run: news}), stop)
        return list(last.values())


class FolderFollower:
    """Reads from run folders how far runs are that other machines make."""

    def __init__(self) -> None:
        self._looked = 0.0
        self._seen: dict[str, tuple[int, int]] = {}  # run -> env steps, size of its evaluations

    def follow(self, orders: list[CohortOrder], tell: Tell) -> None:
        """Tell what is new, from time to time."""
        if time.monotonic() - self._looked < FOLLOW_SECONDS:
            return
        self._looked = time.monotonic()
        for order in orders:
            for spec in order.cohort.specs:
                self._look(order.root / spec.folder, spec.folder, tell)

    def _look(self, folder: Path, run: str, tell: Tell) -> None:
        path = folder / EVALUATIONS
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = 0
        seen = (lease.last_heartbeat(folder).step, size)
        before = self._seen.get(run, (0, 0))
        if seen == before:
            return
        self._seen[run] = seen
        at, value = _last(path) if seen[1] != before[1] else (0, None)
        tell(News(run=run, step=max(seen[0], at), value=value))


def _last(path: Path) -> tuple[int, float | None]:
    """Return step and mean return of the last evaluation that is whole; nothing where there is none."""
    try:
        lines = path.read_text().rpartition("\n")[0].splitlines()
    except FileNotFoundError:  # the run begins anew
        return 0, None
    rows = [row for row in csv.DictReader(lines) if row["mode"] == "deterministic"]
    if not rows:
        return 0, None
    step = rows[-1]["step"]
    values = [float(row["return"]) for row in rows if row["step"] == step]
    return int(step), sum(values) / len(values)
