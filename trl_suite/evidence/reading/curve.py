"""Learning curves: evaluation return against target env steps, as arrays; knows nothing of plans and methods.

Axes: runs, evaluations. Every curve starts at step 0, before any update. The deterministic policy is the primary one;
where the stochastic one was evaluated too, its returns stand on the same grid.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError
from trl_suite.record import Readable, content_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

HEADER = "step,episode,return,length"
MODE = "mode"  # an optional fifth column
SUCCESS = "success"  # an optional sixth column: 1 or 0
MODES = ("deterministic", "stochastic")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The evaluations of one run."""

    steps: Ints  # (evaluations,), env steps trained before each evaluation
    returns: Floats  # (evaluations,), mean over episodes; NaN where an episode's return was not finite
    episodes: int  # per evaluation
    stochastic: Floats | None = None  # (evaluations,), NaN where only the deterministic policy was evaluated
    success_rates: Floats | None = None  # (evaluations,), share of deterministic episodes; None where nothing is one
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
    samples: tuple[str, ...]  # (runs,), what was drawn anew for the run: its source, or itself without one
    folders: tuple[str, ...]  # (runs,)
    seconds: Floats  # (runs,), wall time of training and evaluation
    success_rates: Floats | None = None  # (runs, evaluations); None where nothing is a success

    @property
    def whole(self) -> Floats:
        """The returns of the complete runs, NaN in the rows of the others: (runs, evaluations)."""
        return np.where(self.complete[:, None], self.returns, np.nan)


class _Mode(NamedTuple):
    """Which lines of a file are evaluations of one mode."""

    lines: Ints  # (episodes of all evaluations,)
    first: Ints  # (evaluations,), into lines
    at: Ints  # (evaluations,), into the steps
    episodes: int  # per evaluation


class _Layout(NamedTuple):
    """Which line of a file belongs to which evaluation; runs of one experiment share it."""

    steps: Ints  # (evaluations,)
    deterministic: _Mode
    stochastic: _Mode | None
    short: bool  # the last evaluation lacks episodes


def read(path: Readable, episodes: int = 0) -> Curve:
    """Return the curve in an `evaluations.csv`; an evaluation that was cut off at the end is left out with a note.

    Args:
        path: the file; a fifth column `mode` tells evaluations of the stochastic policy from the deterministic one's.
        episodes: how many belong to an evaluation; 0 takes those of the first evaluation for whole.

    Raises:
        InputError: the file cannot be read, is malformed before its end, lacks step 0, or holds an episode twice.
    """
    try:
        table, cut = _table(content_of(path).decode())
        if not len(table):
            return _empty("no evaluation has been finished")
        layout = _layout(table[:, _KEYS].tobytes(), episodes)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    if not len(layout.steps):
        return _empty("the first evaluation is unfinished")
    returns, judged = table[:, _RETURN], table.shape[1] > _SUCCESS
    note = f"an unfinished evaluation after step {layout.steps[-1]:,} is left out" if cut or layout.short else ""
    return Curve(
        steps=layout.steps,
        returns=_means(returns, layout.deterministic, len(layout.steps)),
        episodes=layout.deterministic.episodes,
        stochastic=_means(returns, layout.stochastic, len(layout.steps)) if layout.stochastic else None,
        success_rates=_means(table[:, _SUCCESS], layout.deterministic, len(layout.steps)) if judged else None,
        note=note,
    )


_KEYS, _RETURN, _SUCCESS = [0, 1, 4], 2, 5  # columns of a table: step, episode, return, length, mode, success
_LINES = msgspec.json.Decoder(list[tuple[float, float, float, float, float]])
_JUDGED_LINES = msgspec.json.Decoder(list[tuple[float, float, float, float, float, float]])
_JUDGED = f"{HEADER},{MODE},{SUCCESS}"


def _empty(note: str) -> Curve:
    return Curve(steps=np.zeros(0, np.int64), returns=np.zeros(0), episodes=0, note=note)


def _table(text: str) -> tuple[Floats, bool]:
    """Return the lines below the header, and whether one without its end was left out: (lines, 5), or 6 with success.

    Ten thousand files are read for one report: a file without an odd line is read as a whole, as numbers of JSON.
    """
    whole, _, rest = text.rpartition("\n")  # a number without the line's end may lack digits
    header, _, body = whole.partition("\n")
    if header not in ("", HEADER, f"{HEADER},{MODE}", _JUDGED):
        raise ValueError(f"the first line is '{header[:80]}', expected '{HEADER}'")
    if not body:
        return np.zeros((0, 6 if header == _JUDGED else 5)), bool(rest)
    try:
        decoder = _JUDGED_LINES if header == _JUDGED else _LINES
        lines = decoder.decode(f"[[{_digits(body, header)}]]".replace("\n", "],["))
    except msgspec.DecodeError:
        lines = [_line(line, header) for line in body.split("\n")]
    return np.fromiter(chain.from_iterable(lines), np.float64).reshape(len(lines), -1), bool(rest)


def _digits(body: str, header: str) -> str:
    """Return the lines with the place of their mode in `MODES` as the last column; empty where one has none."""
    if header == HEADER:
        return body.replace("\n", ",0\n") + ",0"
    lines = body.count("\n") + 1
    lines_with_mode = sum(body.count(f",{mode}") for mode in MODES)
    for place, mode in enumerate(MODES):
        body = body.replace(f",{mode}", f",{place}")
    return body if lines_with_mode == lines else ""


def _line(line: str, header: str) -> tuple[float, ...]:
    """Return one line as numbers, also where they are not finite; a ValueError says what is odd."""
    fields, width = line.split(","), header.count(",") + 1
    if len(fields) != width:
        raise ValueError(f"{len(fields)} columns in '{line[:80]}', expected {width} ({header})")
    mode = fields[4] if width > 4 else MODES[0]
    if mode not in MODES:
        raise ValueError(f"unknown mode '{mode}', expected {' or '.join(MODES)}")
    return (*map(float, fields[:4]), float(MODES.index(mode)), *map(float, fields[5:]))


@lru_cache(maxsize=64)
def _layout(keys: bytes, episodes: int) -> _Layout:
    """Return the lines of each evaluation, by mode; a ValueError says what no crash can explain.

    The writer appends whole evaluations in order, starting at step 0.
    """
    table = np.frombuffer(keys).reshape(-1, len(_KEYS))
    steps, random = table[:, 0], table[:, 2] > 0
    if not np.isfinite(table).all() or steps[0] != 0:
        raise ValueError("no evaluation at step 0, before any update")
    if (np.diff(steps) < 0).any():
        raise ValueError(f"steps go back in line {int(np.argmax(np.diff(steps) < 0)) + 3}")
    _check_once(table)
    grid = np.unique(steps)
    plain = _mode(steps, grid, np.flatnonzero(~random), episodes)
    keep = len(plain.at)
    noisy = _mode(steps, grid[:keep], np.flatnonzero(random & (steps <= grid[keep - 1])), 0) if random.any() else None
    return _Layout(grid[:keep].astype(np.int64), plain, noisy, keep < len(grid))


def _check_once(table: Floats) -> None:
    distinct, count = np.unique(table, axis=0, return_counts=True)
    if len(distinct) < len(table):
        raise ValueError(f"an episode of step {distinct[count > 1][0, 0]:.0f} is there twice")


def _mode(steps: Floats, grid: Floats, lines: Ints, episodes: int) -> _Mode:
    """Return the whole evaluations among some lines of a file; only the last may be unfinished."""
    mode_steps, first, count = np.unique(steps[lines], return_index=True, return_counts=True)
    if not len(mode_steps):
        return _Mode(lines[:0], lines[:0], lines[:0], episodes)
    expected = episodes or int(count[0])
    unfinished = len(mode_steps) - 1 if mode_steps[-1] == grid[-1] else len(mode_steps)
    if (count[:unfinished] != expected).any() or count[-1] > expected:
        raise ValueError(f"evaluations of {count.min()} to {count.max()} episodes, expected {expected} in each")
    keep = len(mode_steps) - int(count[-1] < expected)
    end = int(first[keep]) if keep < len(mode_steps) else len(lines)
    return _Mode(lines[:end], first[:keep], np.searchsorted(grid, mode_steps[:keep]), expected)


def _means(values: Floats, mode: _Mode, evaluations: int) -> Floats:
    """Return the mean of each evaluation, NaN where there is none or a value is not finite: (evaluations,)."""
    means = np.full(evaluations, np.nan)
    if len(mode.first):
        mode_values = values[mode.lines]
        finite = np.where(np.isfinite(mode_values), mode_values, np.nan)
        means[mode.at] = np.add.reduceat(finite, mode.first) / mode.episodes
    return means
