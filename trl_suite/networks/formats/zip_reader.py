"""A zip of somebody else's, read member by member within limits; nothing is ever unpacked to disk."""

import io
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from trl_suite.errors import InputError
from trl_suite.files import reason_of, regular_size

MAX_MEMBERS = 1000
ARCHIVE_MAX_BYTES = 2 * 1024**3  # of all members together, unpacked
MAX_UNPACKED_TO_PACKED = 100  # unpacked to packed: numbers hardly shrink, a bomb does

_ARCHIVE_ERRORS = (  # by which zipfile and its unpackers refuse a member or a directory; RuntimeError: encrypted
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError, struct.error,
    OverflowError, IndexError, MemoryError,
)  # fmt: skip


class Archive:
    """A zip whose list of members has been checked before any of them is read.

    Args:
        content: the file, or its bytes.
        where: opens the message of every error.

    Raises:
        InputError: not a zip, too many or too large members, one that unpacks to more than
            `MAX_UNPACKED_TO_PACKED` times its size, is listed twice, is a link, or leads out of the archive.
    """

    def __init__(self, content: Path | bytes, where: str) -> None:
        self._where = where
        size = len(content) if isinstance(content, bytes) else regular_size(content)
        if size > ARCHIVE_MAX_BYTES:
            raise InputError(f"{where}: {size} bytes; {ARCHIVE_MAX_BYTES} are the most")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content)
        except zipfile.BadZipFile:
            raise InputError(f"{where}: not a zip, or one that was cut off or damaged") from None
        except _ARCHIVE_ERRORS as error:
            raise InputError(f"{where}: not a zip that can be read: {reason_of(error)}") from None
        try:
            self._check(self._zip.infolist())
        except InputError:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._zip.close()

    @property
    def names(self) -> Collection[str]:
        """The members' names."""
        return self._zip.namelist()

    def read(self, name: str, limit: int) -> bytes:
        """Return a member's bytes.

        Raises:
            InputError: there is no such member, it is larger than `limit` bytes, or damaged.
        """
        if name not in self.names:
            raise InputError(f"{self._where}: holds no {name}, but {', '.join(sorted(self.names)[:10]) or 'nothing'}")
        if (size := self._zip.getinfo(name).file_size) > limit:
            raise InputError(f"{self._where}: {name} has {size} bytes; {limit} are the most that it may have")
        try:
            return self._zip.read(name)
        except _ARCHIVE_ERRORS as error:
            raise InputError(f"{self._where}: {name} is damaged or cannot be unpacked: {reason_of(error)}") from None

    def _check(self, members: list[zipfile.ZipInfo]) -> None:
        if len(members) > MAX_MEMBERS:
            raise InputError(f"{self._where}: {len(members)} members; {MAX_MEMBERS} are the most that it may have")
        for member in members:
            if reason := _objection(member):
                raise InputError(f"{self._where}: refused, since its member '{member.filename}' {reason}")
        if len({member.filename for member in members}) < len(members):
            raise InputError(f"{self._where}: refused, since it lists a member twice")
        if (total := sum(member.file_size for member in members)) > ARCHIVE_MAX_BYTES:
            raise InputError(f"{self._where}: unpacks to {total} bytes; {ARCHIVE_MAX_BYTES} are the most")


def _objection(member: zipfile.ZipInfo) -> str:
    """Return the fault of a member, or an empty text."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename:
        return "leads out of the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.file_size > MAX_UNPACKED_TO_PACKED * max(member.compress_size, 1):
        sizes = f"unpacks from {member.compress_size} to {member.file_size} bytes"
        return f"{sizes}, more than {MAX_UNPACKED_TO_PACKED} times as many"
    return ""
