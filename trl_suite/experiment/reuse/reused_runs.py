"""Runs that another experiment has made: what is trained to the same specification is taken, and not trained again."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trl_suite import files, provenance, record
from trl_suite.errors import InputError
from trl_suite.evidence.reading import run_records
from trl_suite.experiment.measuring.retention import FILE as HOME
from trl_suite.experiment.planning.cohort_queue import Group
from trl_suite.experiment.planning.grid import Step
from trl_suite.experiment.policy_library import POLICY
from trl_suite.experiment.running import run_state
from trl_suite.experiment.running.lease import Lease, Observer
from trl_suite.experiment.running.run_state import PLAN, RUN
from trl_suite.record import Readable, Run


def take(
    root: Path,
    steps: Sequence[Step],
    others: Sequence[Path],
    group: Callable[[Step], Group],
    *,
    retention: bool = False,
    mixed: bool = False,
) -> list[str]:
    """Copy the finished runs of other experiments that a plan asks for; return a line for each about what was taken.

    Kept results hold no weights, so that what needs these is taken from run folders only.

    Args:
        root: the experiment's folder.
        steps: of its plan; what is there of them already stays.
        others: run folders, or results that were kept.
        group: tells on which engine and physics a run would be trained: what was trained on others is not taken.
        retention: the experiment measures it; where it has not been, weights are needed.
        mixed: take also runs that were made with other versions.

    Raises:
        InputError: another is no experiment's folder, or its runs were made with other versions.
        StorageError: the folder cannot be written.
    """
    told: list[str] = []
    for other in others:
        if not (other / PLAN).is_file():
            raise InputError(f"{other}: no {PLAN} here; runs are reused from runs/<experiment>, or from kept results")
        found, count = run_records.files(other), 0
        for step in steps:
            mine, policy = found.get(step.planned.folder, {}), _policy(other / step.planned.folder)
            enough = policy or not _needs_weights(step, mine, retention)
            if RUN in mine and enough and run_state.read(root / step.planned.folder).condition == "waiting":
                run = record.decode(mine[RUN], Run)
                if _is(run, step, group(step)):
                    _check_versions(run, other, mixed)
                    count += _copy(mine, policy, root / step.planned.folder)
        told.append(f"{count} of {len(steps)} runs are those of {other}")
    return told


def _needs_weights(step: Step, mine: Mapping[str, Readable], retention: bool) -> bool:
    return step.planned.role == "source" or (retention and bool(step.planned.source) and HOME not in mine)


def _is(run: Run, step: Step, group: Group) -> bool:
    """Return whether a record is that of the run which would be made."""
    trained, would = (run.engine, run.device, run.physics), (group.engine, group.device, group.physics)
    same = run.digest == step.digest == run_state.digest_of(run.specification)
    return same and run.status == "done" and trained == would


def _check_versions(run: Run, other: Path, mixed: bool) -> None:
    if not mixed and (changed := provenance.changed(run.versions)):
        raise InputError(
            f"{other}: its runs were made with other versions ({', '.join(changed)}); allow it with --mix-versions"
        )


def _policy(folder: Path) -> dict[str, Readable]:
    """Return the files of a run's policy; none where only its record was kept."""
    return {path.name: path for path in (folder / POLICY).glob("*") if path.is_file()}


def _copy(mine: Mapping[str, Readable], policy: Mapping[str, Readable], folder: Path) -> bool:
    """Copy a run, its record last, so that a folder with a record is whole; return whether nobody else makes it."""
    with files.storing(folder):
        held = Lease.claim(folder, Observer())
        if held is None:
            return False
        try:
            if policy:
                (folder / POLICY).mkdir(exist_ok=True)
            for place, some in ((folder / POLICY, policy), (folder, mine)):
                for name in sorted(some, key=RUN.__eq__):
                    files.write_atomically(place / name, some[name].read_bytes())
        finally:
            held.release()
    return True
