"""The records of an experiment's runs in one file, in place of thousands of small ones in a repository."""

import io
import lzma
import tarfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from trl_suite.errors import InputError

NAME = "runs.tar.xz"  # records repeat one another: compressed as one they take a fraction of what a zip takes


@contextmanager
def opened(runs: Path) -> Generator[Path]:
    """Yield where the runs' folders lie: unpacked from the archive where there is one, else in the folder itself.

    Raises:
        InputError: the archive is damaged, or no place is left to unpack it.
    """
    path = runs / NAME
    if not path.is_file():
        yield runs
        return
    with TemporaryDirectory(prefix="trl-suite-") as place:
        try:
            with tarfile.open(path, "r:xz") as kept:
                kept.extractall(place, filter="data")
        except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
            raise InputError(f"{path}: {error}") from None
        yield Path(place)


def write(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """Write files, named by their places below the experiment's folder, and return the archive; it holds no times."""
    with tarfile.open(path, "w:xz") as kept:
        for name, content in files:
            found = tarfile.TarInfo(name)
            found.size = len(content)
            kept.addfile(found, io.BytesIO(content))
    return path
