"""References that are measured once per target and kept in `references/`: what scores 0 and 1 there, with its seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trl_suite import content, files, record
from trl_suite.algorithms.registry import Algorithm
from trl_suite.errors import InputError, unknown
from trl_suite.evidence.reading.curve import Curves
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.return_scale import ReturnScale
from trl_suite.evidence.statistics import estimates, measures
from trl_suite.record import SCRATCH, RunRecord
from trl_suite.worlds.identity import folder_name, identity

REFERENCES_FOLDER = "references"
SEEDS_MIN = 10  # of a reference
BUDGET_RATIO = 10  # budget of a reference over that of the experiments that use it, unless its curve is flat
FLAT_SHARE = 0.02  # of the way from random to reference that a flat curve may still gain in its last fifth


class MeasuredReference(msgspec.Struct, frozen=True, kw_only=True):
    """Scratch runs of one target, measured once, that say what scores 0 and 1 in every experiment of it."""

    env: str  # address
    algorithm: str
    env_digest: str  # of the env's identity: task, model and variant
    physics: str  # mujoco or warp
    episodes: int  # of each evaluation
    hyperparameters: dict[str, Any]
    preset: str  # where these come from
    steps: int  # budget of each run
    flat: bool  # whether the curve has stopped to rise
    seeds: tuple[int, ...]
    random_runs: tuple[float, ...]  # return before any update, by seed
    reference_runs: tuple[float, ...]  # return of the last tenth, by seed
    experiment: str  # whose runs these are
    runs: tuple[str, ...]  # their digests
    command: tuple[str, ...] = ()
    commit: str = ""
    dirty: bool = False
    versions: dict[str, str] = {}
    machine: dict[str, str] = {}
    schema: int = record.RECORD_SCHEMA

    @property
    def scale(self) -> ReturnScale:
        """The returns that score 0 and 1, with the runs that they were measured on."""
        whose = f"{len(self.seeds)} scratch runs of {self.steps:,} steps"
        return ReturnScale(
            random=float(np.mean(self.random_runs)),
            reference=float(np.mean(self.reference_runs)),
            origin=f"{whose}, kept in {REFERENCES_FOLDER}/{_name(self.env, self.algorithm)}",
            env=self.env,
            random_runs=self.random_runs,
            reference_runs=self.reference_runs,
            seeds=self.seeds,
        )


def _name(env: str, algorithm: str) -> str:
    return f"{folder_name(env)}-{algorithm}.json"


def names() -> list[str]:
    """Names of all references that are kept, sorted."""
    roots = (content.workspace(), content.shipped())
    return sorted({path.stem for root in roots for path in (root / REFERENCES_FOLDER).glob("*.json")})


def find(env: str, algorithm: Algorithm) -> MeasuredReference | None:
    """Reference of a target, the workspace's first; None where none was measured.

    Raises:
        InputError: its file cannot be read.
    """
    for root in (content.workspace(), content.shipped()):
        path = root / REFERENCES_FOLDER / _name(env, algorithm)
        if path.is_file():
            return record.decode(path, MeasuredReference)
    return None


def usable(env: str, algorithm: Algorithm, *, steps: int, episodes: int, physics: str, seeds: tuple[int, ...]) -> str:
    """Why the reference of a target cannot be used, by name; empty where it can, or where there is none."""
    reference = find(env, algorithm)
    if reference is None:
        return ""
    shared = sorted(set(seeds) & set(reference.seeds))
    differences = {
        f"measured with other physics: {reference.physics}, and here {physics}": reference.physics != physics,
        "measured on another version of the task or the model": reference.env_digest != _digest(env),
        f"measured with another evaluation: {reference.episodes} episodes, and here {episodes}": (
            reference.episodes != episodes
        ),
        f"measured on seeds that methods are compared on: {shared}": bool(shared),
        f"measured for {reference.steps:,} steps, fewer than {BUDGET_RATIO} times {steps:,}, and not until flat": (
            reference.steps < BUDGET_RATIO * steps and not reference.flat
        ),
    }
    why = [text for text, holds in differences.items() if holds]
    return f"{REFERENCES_FOLDER}/{_name(env, algorithm)}: {'; '.join(why)}" if why else ""


def scales(envs: Mapping[str, str], algorithm: Algorithm) -> dict[str, Any]:
    """Scales of those targets whose reference can be used, as a plan holds them.

    Args:
        envs: target -> why its reference cannot be used, or nothing.
        algorithm: name of the algorithm.
    """
    references = {env: find(env, algorithm) for env, why in envs.items() if not why}
    return {env: msgspec.to_builtins(reference.scale) for env, reference in references.items() if reference}


def _digest(env: str) -> str:
    return record.digest_of(identity(env))


def measured(results: Results) -> list[MeasuredReference]:
    """References that an experiment's scratch runs are: one for each target.

    Raises:
        InputError: a target has fewer than ten complete runs, or runs that were not made alike; or there is no target.
    """
    apart = {env for env, role in _scratch(results) if role == "reference"}
    targets = [env for env in results.envs if (env, SCRATCH) in results.curves]
    if apart or not targets:
        raise InputError(
            f"{results.folder}: a reference is measured by an experiment of its own, with methods = ['{SCRATCH}']"
        )
    return [_measured(results, results.curves[env, SCRATCH]) for env in targets]


def _scratch(results: Results) -> dict[tuple[str, str], list[RunRecord]]:
    runs: dict[tuple[str, str], list[RunRecord]] = {}
    for member in results.recorded:
        if member.run is not None and member.run.method == SCRATCH:
            runs.setdefault((member.run.env, member.run.role), []).append(member.run)
    return runs


def _measured(results: Results, curves: Curves) -> MeasuredReference:
    whole = curves.returns[curves.complete]
    if len(whole) < SEEDS_MIN:
        raise InputError(
            f"{results.folder}: {curves.env}: {len(whole)} complete scratch runs; a reference has {SEEDS_MIN} or more"
        )
    runs = [run for run in _scratch(results)[curves.env, "target"] if run.status == "done"]
    first = _alike(results.folder, runs)
    starts, ends = measures.zero_shot(whole), measures.asymptote(curves.steps, whole)
    return MeasuredReference(
        env=curves.env,
        algorithm=first.algorithm,
        env_digest=record.digest_of(first.specification["env_spec"]),
        physics=first.physics,
        episodes=first.specification["evaluation"]["episodes"],
        hyperparameters=first.specification["hyperparameters"],
        preset=first.preset,
        steps=int(curves.steps[-1]),
        flat=_is_flat(curves, whole),
        seeds=tuple(curves.seeds[curves.complete].tolist()),
        random_runs=tuple(starts.tolist()),
        reference_runs=tuple(ends.tolist()),
        experiment=results.plan.name,
        runs=tuple(run.digest[:10] for run in runs),
        command=first.command,
        commit=first.commit,
        dirty=first.dirty,
        versions=first.versions,
        machine=first.machine,
    )


def _alike(folder: Path, runs: list[RunRecord]) -> RunRecord:
    """First of some runs, which are to be made alike.

    Raises:
        InputError: they differ in more than their seeds.
    """
    kinds = {(run.physics, run.engine, record.digest_of(run.specification | {"seed": 0})) for run in runs}
    if len(kinds) > 1:
        raise InputError(f"{folder}: {runs[0].env}: the scratch runs differ in more than their seeds")
    return runs[0]


def _is_flat(curves: Curves, whole: np.ndarray) -> bool:
    """Whether the last fifth of the budget gains next to nothing over the fifth before it: by its upper bound."""
    share = curves.steps / curves.steps[-1]
    last, fourth = share > 0.8, (share > 0.6) & (share <= 0.8)
    if not last.any() or not fourth.any():
        return False  # too few evaluations to tell
    late, before = whole[:, last].mean(axis=1), whole[:, fourth].mean(axis=1)
    gain = estimates.mean(late - before)
    width = float(measures.asymptote(curves.steps, whole).mean() - measures.zero_shot(whole).mean())
    return bool(gain.high <= FLAT_SHARE * width)


def write(references: list[MeasuredReference], folder: Path) -> list[Path]:
    """Write references into a folder; one that is there already stays, for experiments have used it.

    Raises:
        InputError: another one of the same target is there.
        StorageError: the folder cannot be written.
    """
    paths = [folder / _name(reference.env, reference.algorithm) for reference in references]
    for path, reference in zip(paths, references, strict=True):
        if path.is_file() and record.decode(path, MeasuredReference).runs != reference.runs:
            raise InputError(f"{path}: another reference is there, which experiments may have used; remove it first")
    with files.storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path, reference in zip(paths, references, strict=True):
            files.write_atomically(path, record.encode(reference))
    return paths


def require(env: str, algorithm: Algorithm) -> None:
    """Refuse a target that has no reference.

    Raises:
        InputError: as said; the nearest one that exists is named.
    """
    if find(env, algorithm) is None:
        raise unknown("reference", _name(env, algorithm).removesuffix(".json"), names())
