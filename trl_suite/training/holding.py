"""What one run holds fixed, until when, and the proof that it did."""

from collections.abc import Callable

from trl_suite.mechanisms import freeze_schedule
from trl_suite.networks.components import Components, select
from trl_suite.record import Freeze, Transplant
from trl_suite.training.training_run import TrainingRun


class Holding:
    """The frozen components of one run. Made after the transplant, before the first step."""

    def __init__(self, run: TrainingRun, record: Transplant, components: Components) -> None:
        self.frozen = set(record.frozen)
        self.released: dict[str, str] = {}  # component -> its hash when it was released
        self.released_at: dict[str, int] = {}
        self._seal = freeze_schedule.sealed(components, record.frozen)
        self._due = _thaws(run, record)

    def release(self, step: int, components: Callable[[], Components]) -> set[str]:
        """Release what is due after so many env steps, and return it; it is proved unmoved so far."""
        due = {name for name, at in self._due.items() if at <= step and name in self.frozen}
        if due:
            self.released |= freeze_schedule.hashes(components(), tuple(sorted(due)))
            self.released_at |= dict.fromkeys(due, step)
            self.frozen -= due
        return due

    def next(self, step: int) -> int | None:
        """Return the next step after this one at which something is due; None where nothing is."""
        return min((at for name, at in self._due.items() if at > step and name in self.frozen), default=None)

    def proof(self, components: Components) -> Freeze:
        """Return the proof that nothing moved while it was frozen.

        Raises:
            FreezeBrokenError: a component did; it is named.
        """
        return freeze_schedule.proved(self._seal, components, self.released, self.released_at)

    def state(self) -> dict[str, dict[str, str] | dict[str, int]]:
        """Return what was released so far, for a snapshot."""
        return {"released": dict(self.released), "released_at": dict(self.released_at)}

    def restore(self, state: dict[str, dict[str, str] | dict[str, int]]) -> None:
        """Take up a snapshot's state."""
        self.released = {name: str(digest) for name, digest in state["released"].items()}
        self.released_at = {name: int(step) for name, step in state["released_at"].items()}
        self.frozen -= set(self.released)


def _thaws(run: TrainingRun, record: Transplant) -> dict[str, int]:
    """Return the env step after which each frozen component learns."""
    where = f"method '{run.method}'"
    shares = run.definition.thaw
    due = {name: share for pattern, share in shares.items() for name in select((pattern,), record.frozen, where)}
    return {name: round(share * run.steps) for name, share in due.items()}
