"""The records of an experiment's runs in one file, in place of thousands of small ones in a repository."""

import io
import lzma
import tarfile
from collections.abc import Iterable
from pathlib import Path

from trl_suite.errors import InputError
from trl_suite.record import Readable

PLAN_FILE = "plan.json"  # the archive's first file: the plan with all its runs, which repeats the records' names
ARCHIVE_FILE = "runs.tar.xz"  # records repeat one another: compressed as one they take a fraction of what a zip takes
READ = (
    "run.json",
    "evaluations.csv",
    "retention.csv",
    "plasticity.csv",
    "tasks.csv",
)  # of a run; other files are passed over
MOST_FILE_BYTES = 64_000_000  # of one record
MOST_ARCHIVE_BYTES = 2_000_000_000  # of all files of an archive, unpacked
MOST_FILES = 1_000_000  # in an archive
WINDOW_BYTES = 1 << 24  # that are searched for repetitions; records of all runs of an experiment fit
Files = dict[str, dict[str, Readable]]  # a run's folder, relative to the experiment's -> its files by name


class ArchivedFile:
    """A file in an archive, named by its place below the experiment's folder."""

    def __init__(self, name: str, content: bytes) -> None:
        self._name, self._content = name, content

    def __str__(self) -> str:
        """Return its name."""
        return self._name

    def read_bytes(self) -> bytes:
        """Return its content."""
        return self._content


def read(path: Path) -> Files:
    """Return the records in an archive; nothing is unpacked to a disk, and links and other files are passed over.

    Raises:
        InputError: the archive is damaged, or larger than any experiment's.
    """
    files: Files = {}
    total = 0
    try:
        with tarfile.open(path, "r:xz") as archive:
            for count, entry in enumerate(archive):
                total += entry.size
                _check_size(path, entry, total, count)
                folder, _, name = entry.name.rpartition("/")
                content = archive.extractfile(entry) if entry.isreg() and name in READ else None
                if content is not None:
                    files.setdefault(folder, {})[name] = ArchivedFile(entry.name, content.read())
    except (OSError, EOFError, ValueError, KeyError, OverflowError, tarfile.TarError, lzma.LZMAError) as error:
        raise InputError(f"{path}: not an archive of runs: {error}") from None
    return files


def _check_size(path: Path, entry: tarfile.TarInfo, total: int, count: int) -> None:
    if entry.isreg() and entry.size > MOST_FILE_BYTES:
        raise InputError(f"{path}: {entry.name[:80]!r} has {entry.size:,} bytes, a record {MOST_FILE_BYTES:,} at most")
    if total > MOST_ARCHIVE_BYTES or count >= MOST_FILES:
        raise InputError(f"{path}: larger than {MOST_ARCHIVE_BYTES:,} bytes or {MOST_FILES:,} files; not read further")


def read_plan(path: Path) -> ArchivedFile | None:
    """Return the plan in an archive; None where it has none, as archives of before.

    Raises:
        InputError: the archive is damaged, or its plan larger than any experiment's.
    """
    try:
        with tarfile.open(path, "r:xz") as archive:
            entry = archive.next()
            if entry is None or entry.name != PLAN_FILE or not entry.isreg():
                return None
            _check_size(path, entry, entry.size, 0)
            content = archive.extractfile(entry)
            return ArchivedFile(f"{path}: {PLAN_FILE}", content.read()) if content is not None else None
    except (OSError, EOFError, ValueError, KeyError, OverflowError, tarfile.TarError, lzma.LZMAError) as error:
        raise InputError(f"{path}: not an archive of runs: {error}") from None


def write(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """Write files, named by their places below the experiment's folder, and return the archive; it holds no times."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6 | lzma.PRESET_EXTREME, "dict_size": WINDOW_BYTES}]
    with lzma.open(path, "wb", filters=filters) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path
