"""Who is making a run: a folder that one process can put there, and its owner's sign of life.

No clock of one machine is compared with another's: an observer sees a sign of life change, by its own monotonic clock.
"""

import os
import secrets
import shutil
import socket
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Self

import msgspec

from trl_suite import files
from trl_suite.machine_resources import is_running

HEARTBEAT_SECONDS = 10.0  # seconds between two signs of life
HEARTBEATS_AT_FULL_RATE = 32  # runs of one process that each give one so often
STALE_LEASE_SECONDS = 600.0  # seconds without one after which an owner on another machine counts as dead
LEASE = "lease"  # in a run's folder
_OWNER, _HEARTBEAT = "owner.json", "heartbeat.json"


def pause(among: int) -> float:
    """Return the seconds between two signs of life of a run whose process makes so many runs at once."""
    return min(HEARTBEAT_SECONDS * max(1.0, among / HEARTBEATS_AT_FULL_RATE), STALE_LEASE_SECONDS / 10)


class LeaseLostError(RuntimeError):
    """Another process has taken the run over: this one must not write any more."""


class LeaseOwner(msgspec.Struct, frozen=True, kw_only=True):
    """The process that holds a lease."""

    token: str
    host: str
    pid: int
    born: str  # when the process started, as its machine counts it: a pid may be used again
    boot: str  # of the machine: its pids begin anew with each
    pids: str  # the namespace of the pid: containers have their own
    since: str  # ISO 8601, UTC; for people

    @property
    def here(self) -> bool:
        """Whether the process is, or was, one of this machine since it was started, so that its pid can be looked up.

        After a restart it counts as another machine's: two machines may have one name.
        """
        return (self.host, self.pids, self.boot) == (socket.gethostname(), _namespace(), _boot())

    @property
    def alive(self) -> bool:
        """Whether a process of this machine still runs."""
        return _born(self.pid) == self.born


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """The last sign of life: how far the run was."""

    step: int = 0
    done: int = 0  # env steps of this attempt
    seconds: float = 0.0  # of this attempt


class Lease:
    """The right to write into one run's folder."""

    def __init__(self, folder: Path, owner: bytes) -> None:
        self._path, self._owner = folder / LEASE, owner
        self._started = self._beat_at = time.monotonic()
        self._first: int | None = None  # env steps at the first sign of life

    @classmethod
    def claim(cls, folder: Path, observer: "LeaseObserver") -> Self | None:
        """Return the lease of a run, or None where somebody who may be alive has it."""
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / LEASE).exists() and (observer.is_live(folder) or not _put_stale_aside(folder)):
            return None
        owner = _self()
        ready = folder / f"{LEASE}.{owner.token}{files.TEMPORARY}"
        content = msgspec.json.encode(owner)
        ready.mkdir()
        (ready / _OWNER).write_bytes(content)
        (ready / _HEARTBEAT).write_bytes(msgspec.json.encode(Heartbeat()))
        try:
            ready.rename(folder / LEASE)  # refused where there is one: what is renamed onto must be empty
        except OSError:
            shutil.rmtree(ready, ignore_errors=True)
            return None
        return cls(folder, content)

    def check(self) -> None:
        """Make sure that the run is still this process's.

        Raises:
            LeaseLostError: it is not: this process was silent for too long, suspended perhaps.
        """
        try:
            still_owner = (self._path / _OWNER).read_bytes() == self._owner
        except OSError:
            still_owner = False
        if not still_owner:
            raise LeaseLostError(f"{self._path.parent}: another process has taken the run over")

    def heartbeat(self, step: int, among: int = 1) -> bool:
        """Give a sign of life if it is time to; return whether it was.

        Args:
            step: how far the run is.
            among: so many runs of this process that give one, which is why it is given less often.

        Raises:
            LeaseLostError: another process has the lease.
        """
        now = time.monotonic()
        if self._first is not None and now - self._beat_at < pause(among):
            return False
        self._beat_at = now
        self.check()
        if self._first is None:
            self._first, self._started = step, now
        last_heartbeat = Heartbeat(step=step, done=step - self._first, seconds=round(now - self._started, 1))
        with files.storing(self._path):
            (self._path / _HEARTBEAT).write_bytes(msgspec.json.encode(last_heartbeat))
        return True

    def release(self) -> None:
        """Give the run back, if it is still this process's."""
        try:
            self.check()
        except LeaseLostError:
            return
        gone = self._path.with_name(f"{LEASE}.{secrets.token_hex(8)}{files.TEMPORARY}")
        try:
            self._path.rename(gone)
        except OSError:  # a disk that is full takes no new name
            gone = self._path
        for path in (gone, *self._path.parent.glob(f"{LEASE}.*")):
            shutil.rmtree(path, ignore_errors=True)


class LeaseObserver:
    """Tells the living owners from the dead."""

    def __init__(self, expiry: float = STALE_LEASE_SECONDS) -> None:
        self._expiry = expiry
        # folder -> its last sign of life, and when it was new to us
        self._seen: dict[Path, tuple[tuple[bytes, bytes] | None, float]] = {}

    def is_live(self, folder: Path) -> bool:
        """Return whether a run's lease may have a living owner; one of another machine dies only by being watched."""
        owner = holder(folder)
        if owner is not None and owner.here:
            return owner.alive
        sign = _sign_of_life(folder)
        if sign is None:
            return False
        last, since = self._seen.get(folder, (None, 0.0))
        if last != sign:
            self._seen[folder] = (sign, time.monotonic())
            return True
        return time.monotonic() - since < self._expiry


def holder(folder: Path) -> LeaseOwner | None:
    """Return who has the lease of a run, or None where nobody has or nobody can tell."""
    try:
        return msgspec.json.decode((folder / LEASE / _OWNER).read_bytes(), type=LeaseOwner)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


def last_heartbeat(folder: Path) -> Heartbeat:
    """Return the last sign of life in a run's lease."""
    try:
        return msgspec.json.decode((folder / LEASE / _HEARTBEAT).read_bytes(), type=Heartbeat)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):  # it may be being written
        return Heartbeat()


def _put_stale_aside(folder: Path) -> bool:
    """Put a dead owner's lease aside; return False where another process was faster.

    The name that it gets stands for the dead owner, and a folder that is not empty is never renamed onto: two who saw
    the same owner dead cannot both bury, and the second cannot bury the first's own lease in its stead.
    """
    former_owner = holder(folder)
    stale_lease = folder / f"{LEASE}.{former_owner.token if former_owner else 'unknown'}"
    if former_owner is None:
        shutil.rmtree(stale_lease, ignore_errors=True)
    try:
        (folder / LEASE).rename(stale_lease)
    except OSError:
        return False
    return True


def _sign_of_life(folder: Path) -> tuple[bytes, bytes] | None:
    """Return the lease's content, which changes with every sign of life; None where there is no lease."""
    if not (folder / LEASE).exists():
        return None
    return _content(folder / LEASE / _OWNER), _content(folder / LEASE / _HEARTBEAT)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _self() -> LeaseOwner:
    return LeaseOwner(
        token=secrets.token_hex(8),
        host=socket.gethostname(),
        pid=os.getpid(),
        born=_born(os.getpid()),
        boot=_boot(),
        pids=_namespace(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _born(pid: int) -> str:
    """Return when a process started, "" where there is none; a process that is dead and not yet fetched is none."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    except OSError:
        # without /proc whether the process is there stands in for its birth
        return "there" if not Path("/proc/self").exists() and is_running(pid) else ""


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
