"""Logs of a robot's states and controls: CSV, or npz of one array per column, with the names of the env's slots."""

import csv
import difflib
import io
import itertools
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError
from trl_suite.files import read_limited, reason_of
from trl_suite.interface import Interface
from trl_suite.worlds.terms.sensors import QUANTITIES

Floats = NDArray[np.float64]
TIME, EPISODE = "time", "episode"  # columns beside the slots: seconds, and a number that changes at each restart
LOG_BYTES_MAX = 2**28
RATE_TOLERANCE = 0.01  # share of a control step by which the times of neighbouring rows may be off


class StateLog(NamedTuple):
    """Rows of a log; the control of a row acts from its state to that of the next one."""

    positions: Floats  # (rows, nq)
    velocities: Floats  # (rows, nv)
    actions: Floats  # (rows, actions), as the env takes them
    episodes: NDArray[np.int64]  # (rows,)
    measured: NDArray[np.bool_]  # (nq + nv,), of positions and velocities: those that the log has
    ignored: tuple[str, ...]  # columns that are no slots


def read_log(path: Path, model: mujoco.MjModel, interface: Interface, control_hz: float) -> StateLog:
    """Return the log of a robot.

    Args:
        path: of the file.
        model: of the env.
        interface: of the env; a position that it does not observe, such as that along the track, may be missing.
        control_hz: of the env, 1/s.

    Raises:
        InputError: the file cannot be read, columns are missing, or its rate is not that of the env.
    """
    table = _npz(path) if path.suffix == ".npz" else _csv(path)
    rows = len(next(iter(table.values()), np.zeros(0)))
    _check_rate(path, table, control_hz)
    state = [f"{scalar.name}.{kind}" for kind in ("position", "velocity") for scalar in QUANTITIES[kind].find(model)]
    unseen = {name for name in state[: model.nq] if name not in interface.observation_names}
    missing = [name for name in (*state, *interface.action_names) if name not in table and name not in unseen]
    if missing:
        near = difflib.get_close_matches(missing[0], table, n=1)
        hint = f"; it has {near[0]}" if near else ""
        raise InputError(f"{path}: no column {', '.join(missing[:4])}{', ...' if len(missing) > 4 else ''}{hint}")
    columns = [table.get(name, np.zeros(rows)) for name in state]
    return StateLog(
        positions=np.stack(columns[: model.nq], axis=1),
        velocities=np.stack(columns[model.nq :], axis=1),
        actions=np.stack([table[name] for name in interface.action_names], axis=1),
        episodes=table.get(EPISODE, np.zeros(rows)).astype(np.int64),
        measured=np.array([name in table for name in state]),
        ignored=tuple(name for name in table if name not in {*state, *interface.action_names, TIME, EPISODE}),
    )


def _check_rate(path: Path, table: Mapping[str, Floats], control_hz: float) -> None:
    if TIME not in table:
        raise InputError(f"{path}: no column '{TIME}' (s), which tells the rate of the log")
    steps = np.diff(table[TIME])[np.diff(table.get(EPISODE, np.zeros(len(table[TIME])))) == 0]
    if len(steps) < 2:
        raise InputError(f"{path}: has {len(table[TIME])} rows; a fit needs more")
    typical = float(np.median(steps))
    if not abs(typical * control_hz - 1) <= RATE_TOLERANCE:
        rate = 1 / typical if typical > 0 else float("nan")
        raise InputError(f"{path}: its rate is {rate:.4g} Hz, and the env's control rate {control_hz:.4g} Hz")
    uneven = np.flatnonzero(np.abs(steps * control_hz - 1) > RATE_TOLERANCE)
    if len(uneven):
        raise InputError(
            f"{path}: {len(uneven)} steps of its column '{TIME}' are not 1/{control_hz:.4g} s: "
            f"give a column '{EPISODE}' that changes at each restart"
        )


def _csv(path: Path) -> dict[str, Floats]:
    try:
        lines = list(csv.reader(io.StringIO(read_limited(path, LOG_BYTES_MAX).decode())))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV: {reason_of(error)}") from None
    names = [name.strip() for name in lines[0]] if lines else []
    if not names or len(set(names)) < len(names):
        raise InputError(f"{path}: its first line is to name each column once")
    values = np.empty((len(lines) - 1, len(names)))
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise InputError(f"{path}: line {number} has {len(line)} numbers, and the first line {len(names)} names")
        for place, text in enumerate(line):
            values[number - 2, place] = _number(text, f"{path}: line {number}, {names[place]}")
    return {name: values[:, place] for place, name in enumerate(names)}


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f"{where}: {text[:40]!r} is no finite number")
    return value


def _npz(path: Path) -> dict[str, Floats]:
    content = read_limited(path, LOG_BYTES_MAX)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LOG_BYTES_MAX:
                raise InputError(f"{path}: unpacks to more than {LOG_BYTES_MAX / 2**20:.0f} MB")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            table = {name: np.asarray(arrays[name]) for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is no npz of plain arrays: {reason_of(error)}") from None
    rows = {array.shape for array in table.values()}
    if len(rows) != 1 or len(next(iter(rows))) != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in list(table.items())[:4])
        raise InputError(f"{path}: an array per column, (rows,), all of one length, and not {shapes}")
    for name, array in table.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise InputError(f"{path}: {name} is not all finite numbers")
    return {name: array.astype(np.float64) for name, array in table.items()}


def segments(log: StateLog, steps: int) -> NDArray[np.int64]:
    """Return the first rows of stretches of so many control steps within an episode, of which no two share a row."""
    starts: list[int] = []
    breaks = np.flatnonzero(np.diff(log.episodes)) + 1
    bounds: Sequence[int] = [0, *breaks.tolist(), len(log.episodes)]
    for first, last in itertools.pairwise(bounds):
        starts += range(first, last - steps, steps + 1)
    return np.array(starts, dtype=np.int64)
