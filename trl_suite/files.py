"""Files that are whole or not there, and what is said when a disk does not take them."""

import errno
import os
import shutil
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from trl_suite.errors import InputError, StorageError
from trl_suite.machine_resources import is_running

TEMPORARY = ".tmp"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PROTECTED = {errno.EACCES, errno.EPERM, errno.EROFS}
_HOST = socket.gethostname().partition(".")[0]


def temporary(path: Path) -> Path:
    """Return the name under which this process writes what will be `path`."""
    return path.with_name(f"{path.name}.{_HOST}.{os.getpid()}{TEMPORARY}")


def regular_size(path: Path) -> int:
    """Return the bytes of a regular file; a link is followed.

    Raises:
        InputError: there is no such file, or it is a folder, a pipe or a device, which could be read for ever.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise InputError(f"{path}: {reason_of(error)}") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is not a regular file")
    return status.st_size


def read_limited(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file, of which there may be `limit` at most; nothing is read if there are more.

    Raises:
        InputError: there is no such file, it is not a regular one, cannot be read, or is larger.
    """
    if (size := regular_size(path)) > limit:
        raise InputError(f"{path}: {size} bytes; it may have {limit} at most")
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path}: {reason_of(error)}") from None
    if len(content) > limit:
        raise InputError(f"{path}: grows while it is read; it may have {limit} bytes at most")
    return content


def regular_bytes(path: Path) -> bytes:
    """Bytes of a regular file; a link is followed.

    Raises:
        OSError: there is no such file, it cannot be read, or it is a folder, a pipe or a device, read for ever perhaps.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("is not a regular file")
    return path.read_bytes()


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's own words, or its kind where it has none."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.strip().partition("\n")[0] or type(error).__name__


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it, so that it is never half there."""
    unfinished = temporary(path)
    try:
        write(unfinished, content)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def whole(path: Path) -> Generator[Path]:
    """Give the temporary name under which a library writes `path`; it is renamed in the end, and gone after an error.

    Raises:
        StorageError: the disk is full, or does not let itself be written.
    """
    unfinished = temporary(path)
    try:
        with storing(path):
            yield unfinished
            sync(unfinished)
            unfinished.replace(path)
    except BaseException:
        with suppress(OSError):  # the error that counts is the first
            unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: Path) -> Generator[bool]:
    """Make a folder, which is gone again where what is done inside ends with an error; give whether it is new.

    One that is there already, another process's perhaps, stays.

    Raises:
        StorageError: it cannot be made.
    """
    is_new = True
    with storing(path):
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            is_new = False
    try:
        yield is_new
    except BaseException:
        if is_new:
            shutil.rmtree(path, ignore_errors=True)
        raise


def write(path: Path, content: bytes) -> None:
    """Write a file and flush it to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders, and flushes names by itself
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what processes of this machine that are gone have left half written in a folder."""
    for path in folder.glob(f"*.{_HOST}.*{TEMPORARY}"):
        pid = path.name.removesuffix(TEMPORARY).rpartition(".")[2]
        if pid.isdigit() and not is_running(int(pid)):
            path.unlink(missing_ok=True)


@contextmanager
def storing(path: Path, needed: int = 0) -> Generator[None]:
    """Turn a failure to write below `path` into one that says what to do; `needed` are the bytes to be written.

    Raises:
        StorageError: the disk is full, or does not let itself be written.
    """
    try:
        yield
    except (StorageError, BrokenPipeError):  # the reader of a pipe has seen enough
        raise
    except OSError as error:
        raise storage_error(error, path, needed) from error


def storage_error(error: OSError, path: Path | None = None, needed: int = 0) -> StorageError:
    """Return the error that says what to do about one of the system's.

    Args:
        error: the system's.
        path: what was written or read, where the error does not name it.
        needed: bytes to be written.
    """
    named = error.filename2 or error.filename  # of a copy, the second is written
    place = Path(os.fsdecode(named)) if isinstance(named, str | bytes) else path
    if place is not None and path is not None and place == temporary(path):
        place = path
    full = error.errno in _FULL
    size = f"; {needed:,} bytes are needed and {_free(place or Path()):,} free" if full and needed else ""
    mend = "free some space" if full else "make it writable" if error.errno in _PROTECTED else ""
    advice = f": {mend}, and the same command goes on" if mend else ""
    opening = "" if place is None else f"{place}: "
    return StorageError(f"{opening}{error.strerror or reason_of(error)}{size}{advice}", full=full)


def _free(path: Path) -> int:
    existing = next((candidate for candidate in (path, *path.parents) if candidate.exists()), Path())
    return shutil.disk_usage(existing).free
