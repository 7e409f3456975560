"""Learning curves: evaluation return against target env steps, as arrays; knows nothing of plans and methods.

Axes: runs, evaluations. Every curve starts at step 0, before any update.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

HEADER = "step,episode,return,length"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The evaluations of one run."""

    steps: Ints  # (evaluations,), env steps trained before each evaluation
    returns: Floats  # (evaluations,), mean over episodes; NaN where an episode's return was not finite
    lengths: Floats  # (evaluations,), mean over episodes, in env steps
    episodes: int  # per evaluation
    note: str = ""  # what was left out while reading


@dataclass(frozen=True, kw_only=True)
class Curves:
    """All runs of one method on one env, on one grid; a run that stopped early is NaN from there on."""

    env: str
    method: str
    steps: Ints  # (evaluations,)
    returns: Floats  # (runs, evaluations)
    complete: Flags  # (runs,), whether the run was evaluated up to its budget
    seeds: Ints  # (runs,)
    units: tuple[str, ...]  # (runs,), what was drawn anew for the run: its source, or itself without one
    folders: tuple[str, ...]  # (runs,)

    @property
    def whole(self) -> Floats:
        """The returns of the complete runs, NaN in the rows of the others: (runs, evaluations)."""
        return np.where(self.complete[:, None], self.returns, np.nan)


def read(path: Path, episodes: int = 0) -> Curve:
    """Return the curve in an `evaluations.csv`; an evaluation that was cut off at the end is left out with a note.

    Args:
        path: the file.
        episodes: how many belong to an evaluation; 0 takes those of the first evaluation for whole.

    Raises:
        InputError: the file cannot be read, is malformed before its end, lacks step 0, or holds an episode twice.
    """
    lines, cut = _lines(path)
    if not lines:
        return _empty("no evaluation has been finished")
    table = _table(path, lines)  # (episodes of all evaluations, 4)
    steps, first, count = np.unique(table[:, 0], return_index=True, return_counts=True)
    episodes = episodes or int(count[0])
    _check(path, table, count, episodes)
    keep = len(steps) - int(count[-1] < episodes)
    if keep == 0:
        return _empty("the first evaluation is unfinished")
    total = np.add.reduceat(np.where(np.isfinite(table), table, np.nan), first, axis=0)[:keep]
    return Curve(
        steps=steps[:keep].astype(np.int64),
        returns=total[:, 2] / episodes,
        lengths=total[:, 3] / episodes,
        episodes=episodes,
        note=f"an unfinished evaluation after step {steps[keep - 1]:,.0f} is left out"
        if cut or keep < len(steps)
        else "",
    )


def _empty(note: str) -> Curve:
    nothing = np.zeros(0)
    return Curve(steps=np.zeros(0, np.int64), returns=nothing, lengths=nothing, episodes=0, note=note)


def _lines(path: Path) -> tuple[list[str], bool]:
    """Return the whole lines below the header, and whether a line without its end was left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    whole, _, rest = text.rpartition("\n")  # a number without the line's end may lack digits
    lines = whole.splitlines()
    if lines and lines[0] != HEADER:
        raise InputError(f"{path}: the first line is '{lines[0][:80]}', expected '{HEADER}'")
    return lines[1:], bool(rest)


def _table(path: Path, lines: list[str]) -> Floats:
    try:
        table = np.loadtxt(io.StringIO("\n".join(lines)), delimiter=",", ndmin=2, comments=None)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if table.shape[1] != 4:
        raise InputError(f"{path}: {table.shape[1]} columns, expected 4 ({HEADER})")
    return table


def _check(path: Path, table: Floats, count: Ints, expected: int) -> None:
    """Refuse what no crash can explain: the writer appends whole evaluations in order, starting at step 0."""
    steps, episodes = table[:, 0], table[:, 1]
    if not np.isfinite(table[:, :2]).all() or steps[0] != 0:
        raise InputError(f"{path}: no evaluation at step 0, before any update")
    if (np.diff(steps) < 0).any():
        raise InputError(f"{path}: steps go back in line {int(np.argmax(np.diff(steps) < 0)) + 3}")
    if len(np.unique(table[:, :2], axis=0)) < len(table):
        again = (np.diff(steps) == 0) & (np.diff(episodes) <= 0)
        raise InputError(f"{path}: an episode of step {steps[1:][again][0]:.0f} is there twice")
    if (count[:-1] != expected).any() or count[-1] > expected:
        raise InputError(f"{path}: evaluations of {count.min()} to {count.max()} episodes, expected {expected} in each")
