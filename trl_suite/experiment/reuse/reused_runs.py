"""Runs that another experiment has made: what is trained to the same specification is taken, and not trained again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from trl_suite import files, provenance, record
from trl_suite.errors import InputError
from trl_suite.evidence.reading import run_records
from trl_suite.experiment.measuring.retention import RETENTION_FILE as HOME
from trl_suite.experiment.planning.cohort_queue import CohortKey
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.policy_library import POLICY
from trl_suite.experiment.running import run_state
from trl_suite.experiment.running.lease import Lease, LeaseObserver
from trl_suite.experiment.running.run_state import PLAN, RUN
from trl_suite.record import Readable, RunRecord


def take(
    root: Path,
    specs: Sequence[RunSpec],
    others: Sequence[Path],
    cohort_key: Callable[[RunSpec], CohortKey],
    *,
    measured: Sequence[str] = (),
    mixed: bool = False,
) -> list[str]:
    """Copy the finished runs of other experiments that a plan asks for; return a line for each about what was taken.

    Kept results hold no weights, so that what needs these is taken from run folders only.

    Args:
        root: the experiment's folder.
        specs: of its plan; what is there of them already stays.
        others: run folders, or results that were kept.
        cohort_key: tells on which engine and physics a run would be trained: what was trained on others is not taken.
        measured: files that the experiment measures on policies; of a run without one, weights are needed.
        mixed: take also runs that were made with other versions.

    Raises:
        InputError: another is no experiment's folder, or its runs were made with other versions.
        StorageError: the folder cannot be written.
    """
    lines: list[str] = []
    for other in others:
        suitable = _suitable(root, specs, other, cohort_key, measured)
        count = 0
        for spec, recorded in suitable:
            _check_versions(recorded.record, other, mixed)
            run = msgspec.structs.replace(recorded.record, source=spec.source)
            count += _copy(run, recorded.files, _policy(other / recorded.folder), root / spec.folder)
        lines.append(_line(count, specs, other))
    return lines


def preview(
    root: Path,
    specs: Sequence[RunSpec],
    others: Sequence[Path],
    cohort_key: Callable[[RunSpec], CohortKey],
    *,
    measured: Sequence[str] = (),
    mixed: bool = False,
) -> tuple[list[str], dict[str, str]]:
    """Return the lines that `take` would return, and each run that it would take with where from; nothing is copied.

    Raises:
        InputError: as `take` does.
    """
    lines: list[str] = []
    origins: dict[str, str] = {}
    for other in others:
        suitable = [
            pair for pair in _suitable(root, specs, other, cohort_key, measured) if pair[0].folder not in origins
        ]
        for _, recorded in suitable:
            _check_versions(recorded.record, other, mixed)
        origins |= {spec.folder: str(other) for spec, _ in suitable}
        lines.append(_line(len(suitable), specs, other))
    return lines, origins


def _line(count: int, specs: Sequence[RunSpec], other: Path) -> str:
    return f"{count} of {len(specs)} runs are those of {other}"


def _suitable(
    root: Path,
    specs: Sequence[RunSpec],
    other: Path,
    cohort_key: Callable[[RunSpec], CohortKey],
    measured: Sequence[str],
) -> "list[tuple[RunSpec, _FinishedRun]]":
    """Return the runs that are waited for and another experiment has finished, each with what it has of it."""
    if not (other / PLAN).is_file():
        raise InputError(f"{other}: no {PLAN} here; runs are reused from runs/<experiment>, or from kept results")
    available = _finished(other)
    suitable: list[tuple[RunSpec, _FinishedRun]] = []
    sources = {spec.source for spec in specs}
    for spec in specs:
        if spec.digest not in available or run_state.read(root / spec.folder).condition != "waiting":
            continue
        recorded = available[spec.digest]
        needs_weights = spec.folder in sources or _needs_weights(spec, recorded.files, measured)
        enough = _policy(other / recorded.folder) or not needs_weights
        if enough and _same_place(recorded.record, cohort_key(spec)):
            suitable.append((spec, recorded))
    return suitable


def _needs_weights(spec: RunSpec, run_files: Mapping[str, Readable], measured: Sequence[str]) -> bool:
    if spec.role == "source":
        return True
    missing = [name for name in measured if name not in run_files]
    return spec.role in ("target", "revisit") and any(spec.source or name != HOME for name in missing)


class _FinishedRun(NamedTuple):
    folder: str
    record: RunRecord
    files: Mapping[str, Readable]


def _finished(other: Path) -> dict[str, _FinishedRun]:
    """Return the finished runs of an experiment by their present digests; those that were edited are left out."""
    available = {folder: run_files for folder, run_files in run_records.files(other).items() if RUN in run_files}
    runs = record.relinked(record.decode(run_files[RUN], RunRecord) for run_files in available.values())
    pairs = zip(available.items(), runs, strict=True)
    return {
        run.digest: _FinishedRun(folder, run, run_files)
        for (folder, run_files), run in pairs
        if run.status == "done" and run.digest == record.digest_of(run.specification)
    }


def _same_place(run: RunRecord, cohort_key: CohortKey) -> bool:
    """Return whether a run was trained on the engine, device and physics that it would be trained on now."""
    return (run.engine, run.device, run.physics) == (cohort_key.engine, cohort_key.device, cohort_key.physics)


def _check_versions(run: RunRecord, other: Path, mixed: bool) -> None:
    if not mixed and (changed := provenance.changed(run.versions)):
        raise InputError(
            f"{other}: its runs were made with other versions ({', '.join(changed)}); allow it with --mix-versions"
        )


def _policy(folder: Path) -> dict[str, Readable]:
    """Return the files of a run's policy; none where only its record was kept."""
    return {path.name: path for path in (folder / POLICY).glob("*") if path.is_file()}


def _copy(run: RunRecord, run_files: Mapping[str, Readable], policy: Mapping[str, Readable], folder: Path) -> bool:
    """Copy a run, its record last, so that a folder with a record is whole; return whether nobody else makes it."""
    with files.storing(folder):
        lease = Lease.claim(folder, LeaseObserver())
        if lease is None:
            return False
        try:
            if policy:
                (folder / POLICY).mkdir(exist_ok=True)
            for name, file in policy.items():
                files.write_atomically(folder / POLICY / name, file.read_bytes())
            for name in run_files.keys() - {RUN}:
                files.write_atomically(folder / name, run_files[name].read_bytes())
            files.write_atomically(folder / RUN, record.encode(run))
        finally:
            lease.release()
    return True
