"""The records of an experiment's runs in one file, in place of thousands of small ones in a repository."""

import io
import lzma
import tarfile
from collections.abc import Iterable
from pathlib import Path

from trl_suite.errors import InputError
from trl_suite.record import Readable

NAME = "runs.tar.xz"  # records repeat one another: compressed as one they take a fraction of what a zip takes
Files = dict[str, dict[str, Readable]]  # a run's folder, relative to the experiment's -> what stands in it, by name


class Stored:
    """A file in an archive, named by its place below the experiment's folder."""

    def __init__(self, name: str, content: bytes) -> None:
        self._name, self._content = name, content

    def __str__(self) -> str:
        """Return its name."""
        return self._name

    def read_bytes(self) -> bytes:
        """Return what it holds."""
        return self._content


def read(path: Path) -> Files:
    """Return the files of an archive; nothing is unpacked to a disk.

    Raises:
        InputError: the archive is damaged.
    """
    found: Files = {}
    try:
        with tarfile.open(path, "r:xz") as kept:
            for one in kept:
                if (content := kept.extractfile(one)) is not None:
                    folder, _, name = one.name.rpartition("/")
                    found.setdefault(folder, {})[name] = Stored(one.name, content.read())
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        raise InputError(f"{path}: {error}") from None
    return found


def write(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """Write files, named by their places below the experiment's folder, and return the archive; it holds no times."""
    with tarfile.open(path, "w:xz") as kept:
        for name, content in files:
            found = tarfile.TarInfo(name)
            found.size = len(content)
            kept.addfile(found, io.BytesIO(content))
    return path
