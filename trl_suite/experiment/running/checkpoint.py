"""Snapshots of a training on disk: whole or not there, the last two kept, a damaged one passed over.

`checkpoint/step-000012288/` holds `arrays.safetensors`, `facts.json`, a file per segment (what no longer changes is
written once and linked from then on), and `manifest.json` with everybody's sha256, written last.
"""

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from trl_suite import files
from trl_suite.errors import InputError
from trl_suite.training.training_run import Snapshot

CHECKPOINT_FOLDER = "checkpoint"  # in a run's folder
CHECKPOINTS_MAX = 2
CHECKPOINT_SCHEMA = 1
_ARRAYS, _FACTS, _MANIFEST = "arrays.safetensors", "facts.json", "manifest.json"

Arrays = Mapping[str, npt.NDArray[np.generic]]


class CheckpointFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of a checkpoint besides its numbers."""

    digest: str  # of the run's specification
    step: int
    evaluation_bytes: int  # bytes of evaluations.csv when the snapshot was taken
    evaluations_sha256: str
    seconds: float  # wall time that the training had taken
    versions: dict[str, str]
    facts: dict[str, Any]  # the snapshot's
    schema: int = CHECKPOINT_SCHEMA


class CheckpointFile(msgspec.Struct, frozen=True):
    """One file of a checkpoint."""

    sha256: str
    bytes: int


class _DamagedError(Exception):
    """A checkpoint is not what it was when it was written."""


def save(folder: Path, facts: CheckpointFacts, snapshot: Snapshot) -> int:
    """Add a checkpoint to a run's folder of checkpoints, remove the oldest, and return how many bytes were written.

    Raises:
        StorageError: the disk is full or cannot be written; the earlier checkpoints are as they were.
    """
    contents = {_ARRAYS: _encoded(snapshot.arrays), _FACTS: msgspec.json.encode(facts)}
    size = sum(map(len, contents.values()))
    with files.storing(folder, needed=size):
        folder.mkdir(exist_ok=True)
        new = folder / _name(facts.step)
        unfinished = files.temporary(new)
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir()
            size += _fill(unfinished, contents, snapshot.segments, _listed(folder)[-1:])
            if new.exists():  # a training that went on from an earlier one comes by here again
                shutil.rmtree(new)
            unfinished.replace(new)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        files.sync(folder)
        for old in _listed(folder)[:-CHECKPOINTS_MAX]:
            shutil.rmtree(old)
    return size


def load(folder: Path, digest: str) -> tuple[CheckpointFacts, Snapshot] | None:
    """Return the newest checkpoint that is whole, or None; one that is damaged is said to be and put aside."""
    for path in reversed(_listed(folder)):
        try:
            return _read(path, digest)
        except _DamagedError as error:
            warnings.warn(f"{path}: {error}; the checkpoint before it is used", stacklevel=2)
            shutil.rmtree(path)
    return None


def discard_newest(folder: Path) -> None:
    """Remove the newest checkpoint, which fits nothing that is there."""
    shutil.rmtree(_listed(folder)[-1])


def discard(folder: Path) -> None:
    """Remove all checkpoints of a run that needs them no longer."""
    shutil.rmtree(folder, ignore_errors=True)


class _Segments(Mapping[str, Arrays]):
    """The segments of a checkpoint, each read when it is asked for: together they may be as large as the memory."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths

    def __getitem__(self, name: str) -> Arrays:
        return safetensors.numpy.load_file(self._paths[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _name(step: int) -> str:
    return f"step-{step:012d}"


def _listed(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit())


def _fill(folder: Path, contents: dict[str, bytes], segments: Mapping[str, Arrays], before: list[Path]) -> int:
    """Write all files of a checkpoint; return how many bytes its segments took."""
    manifest = {name: _put(folder / name, content) for name, content in contents.items()}
    earlier = _manifest(before[0]) if before and segments else {}
    written = 0
    for segment, arrays in segments.items():
        name = f"{segment}.safetensors"
        if name in earlier and _linked(before[0] / name, folder / name):
            manifest[name] = earlier[name]
        else:
            manifest[name] = _put(folder / name, _encoded(arrays))
            written += manifest[name].bytes
    files.write(folder / _MANIFEST, msgspec.json.encode(manifest))
    files.sync(folder)
    return written


def _put(path: Path, content: bytes) -> CheckpointFile:
    files.write(path, content)
    return CheckpointFile(hashlib.sha256(content).hexdigest(), len(content))


def _linked(old: Path, new: Path) -> bool:
    """Let a file stand in two folders; where the file system cannot, it is written again."""
    try:
        os.link(old, new)
    except OSError:
        return False
    return True


def _encoded(arrays: Arrays) -> bytes:
    return safetensors.numpy.save({name: np.require(values, requirements="C") for name, values in arrays.items()})


def _read(path: Path, digest: str) -> tuple[CheckpointFacts, Snapshot]:
    contents: dict[str, Path] = {}
    for name, entry in _manifest(path).items():
        if _sha256(path / name) != entry.sha256:
            raise _DamagedError(f"{name} is not as it was written")
        contents[name] = path / name
    try:
        facts = msgspec.json.decode(contents[_FACTS].read_bytes(), type=CheckpointFacts)
        arrays = safetensors.numpy.load_file(contents[_ARRAYS])
    except (KeyError, msgspec.DecodeError, msgspec.ValidationError, safetensors.SafetensorError, OSError) as error:
        raise _DamagedError(str(error)) from None
    if facts.schema > CHECKPOINT_SCHEMA:
        raise InputError(
            f"{path}: schema {facts.schema} is newer than this version reads ({CHECKPOINT_SCHEMA}); update trl-suite"
        )
    if facts.digest != digest:
        raise InputError(f"{path}: is the checkpoint of another run; remove it to start this one anew")
    segments = {name.removesuffix(".safetensors"): path for name, path in contents.items() if name not in _OWN}
    return facts, Snapshot(step=facts.step, arrays=arrays, facts=facts.facts, segments=_Segments(segments))


_OWN = (_ARRAYS, _FACTS)


def _manifest(path: Path) -> dict[str, CheckpointFile]:
    try:
        return msgspec.json.decode((path / _MANIFEST).read_bytes(), type=dict[str, CheckpointFile])
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _DamagedError(f"{_MANIFEST}: {error}") from None


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _DamagedError(f"{path.name}: {error.strerror}") from None
