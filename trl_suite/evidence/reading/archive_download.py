"""An archive that is too large for a repository: a manifest in its place, and its download, checked by its hash."""

import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import msgspec

from trl_suite import files
from trl_suite.errors import InputError
from trl_suite.evidence.reading.run_archive import ARCHIVE_FILE, MOST_ARCHIVE_BYTES

ARCHIVE_MANIFEST = "archive.json"
LARGE_ARCHIVE_BYTES = 2_000_000  # from which on an archive stands elsewhere, and its manifest in the repository
MANIFEST_BYTES_MAX = 10_000
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60  # without a byte
SCHEMES = ("https", "file")


class ArchiveManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an archive is, and how to know it."""

    url: str  # of a release asset; "" until somebody has uploaded it
    sha256: str
    bytes: int


def describe(archive: Path, url: str = "") -> ArchiveManifest:
    """Return the manifest of an archive that is here."""
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ArchiveManifest(url=url, sha256=digest, bytes=archive.stat().st_size)


def read_manifest(results: Path) -> ArchiveManifest | None:
    """Return the manifest in a folder of kept results; None where there is none.

    Raises:
        InputError: it cannot be read.
    """
    path = results / ARCHIVE_MANIFEST
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(files.read_limited(path, MANIFEST_BYTES_MAX), type=ArchiveManifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None


def fetch(results: Path) -> bool:
    """Download the archive of kept results; return whether it was needed, since it may be here already.

    Nothing takes the archive's place before its hash is that of the manifest.

    Raises:
        InputError: no manifest, no address, no such file there, or another hash or size.
        StorageError: it cannot be written.
    """
    manifest, archive = read_manifest(results), results / ARCHIVE_FILE
    if manifest is None:
        if archive.is_file():
            return False
        raise InputError(f"{results}: neither {ARCHIVE_FILE} nor {ARCHIVE_MANIFEST} is here")
    if archive.is_file() and describe(archive).sha256 == manifest.sha256:
        return False
    if manifest.url.partition("://")[0] not in SCHEMES:
        raise InputError(f"{results / ARCHIVE_MANIFEST}: url: '{manifest.url}' is no address of {' or '.join(SCHEMES)}")
    if not 0 < manifest.bytes <= MOST_ARCHIVE_BYTES:
        raise InputError(f"{results / ARCHIVE_MANIFEST}: bytes: 1 to {MOST_ARCHIVE_BYTES:,} expected")
    with files.storing(archive, manifest.bytes):
        _download(manifest, archive)
    return True


def _download(manifest: ArchiveManifest, archive: Path) -> None:
    unfinished = files.temporary(archive)
    try:
        with unfinished.open("wb") as file:
            digest = hashlib.sha256()
            for chunk in _chunks(manifest):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != manifest.sha256:
            raise InputError(f"{manifest.url}: its sha256 is not that of {ARCHIVE_MANIFEST}; nothing was kept of it")
        unfinished.replace(archive)
    finally:
        unfinished.unlink(missing_ok=True)


def _chunks(manifest: ArchiveManifest) -> Iterator[bytes]:
    """Yield the bytes at the address, no more of them than the manifest says."""
    left = manifest.bytes
    try:
        with urllib.request.urlopen(manifest.url, timeout=TIMEOUT_SECONDS) as response:
            while chunk := response.read(min(CHUNK_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise InputError(f"{manifest.url}: more than the {manifest.bytes:,} bytes of {ARCHIVE_MANIFEST}")
                yield chunk
    except InputError:
        raise
    except (urllib.error.URLError, HTTPException, ValueError, TimeoutError) as error:
        raise InputError(f"{manifest.url}: {error}") from None
