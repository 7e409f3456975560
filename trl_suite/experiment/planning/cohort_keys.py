"""Which runs can train together, and on which engine; the plan's own words for why."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import torch

from trl_suite import machine_memory
from trl_suite.errors import InputError
from trl_suite.experiment.planning.cohort_queue import Group, alone
from trl_suite.experiment.planning.grid import Step, job_of
from trl_suite.experiment.reuse.shipped_sources import is_shipped
from trl_suite.experiment.specification.experiment_file import Experiment
from trl_suite.training import engines, settings
from trl_suite.training.cohort.off_policy import terms_of
from trl_suite.training.cohort.signature import bytes_of, obstacle, signature
from trl_suite.training.cohort.worlds import Physics
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds.address import Address
from trl_suite.worlds.warp.merge import shared

PROCESS = 500 * 2**20  # bytes of a worker before it has any member: interpreter, torch and MuJoCo
SPARE = 0.2  # share of the memory that is left alone
MOST = 64  # runs of a worker on the CPU: of more, what an update touches leaves the cache, and first results come late


class Grouping:
    """Says of each run which group it belongs to.

    Raises:
        InputError: the experiment wants the cohort engine and a run cannot have it, a CUDA device is wanted and there
            is none, or a single run does not fit into the memory.
    """

    def __init__(self, experiment: Experiment, workers: int) -> None:
        self._engine = experiment.engine
        self.device: engines.Device = engines.device(experiment.device)
        # one program fills a GPU, and takes all cores for physics
        self.workers = workers if self.device == "cpu" else 1
        self._wanted = experiment.physics
        self._physics: Physics = engines.physics(experiment.physics, self.device)
        self._known: dict[tuple[str, int, bytes], _Kind] = {}

    def __call__(self, step: Step) -> Group:
        """Return the run's group."""
        if is_shipped(step):
            return Group(step.planned.folder, "sb3", "a shipped policy, which is taken as it is")
        if self._engine == "sb3":
            return alone(step, "the experiment asks for Stable-Baselines3")
        job = job_of(step, None)
        why = obstacle(job)
        for key, wanted in (("engine", self._engine == "cohort"), ("physics", self._wanted == "warp")):
            if why and wanted:
                value = "cohort" if key == "engine" else "warp"
                named = f"{key} = '{value}': {_named(step)}"
                raise InputError(f"{named} cannot train in a cohort: {why}; {key} = 'auto' can")
        if why:
            return alone(step, why)
        kind = self._cohort(step, job)
        env = Address.parse(job.env).env
        algorithm = job.hyperparameters.algorithm.upper()
        reason = f"{algorithm} of {env}, {step.steps:,} steps: same slots, networks and schedule"
        if job.definition.adapter is not None:
            reason += ", low-rank products"
        if kind.physics == "warp":
            reason += ", physics on Warp"
        return Group(
            key=kind.key, engine="cohort", reason=reason, most=kind.most, device=self.device, physics=kind.physics
        )

    def _cohort(self, step: Step, job: TrainingRun) -> "_Kind":
        parts = (
            job.hyperparameters.algorithm,
            job.hyperparameters,
            job.evaluation,
            job.definition.adapter,
            terms_of(job),
        )
        known = (job.env, job.total, msgspec.json.encode(parts))
        if known not in self._known:
            self._known[known] = self._kind(step, job)
        return self._known[known]

    def _kind(self, step: Step, job: TrainingRun) -> "_Kind":
        """Return what the run is trained with, and how many of its kind fit into a worker's share of the memory."""
        physics: Physics = self._physics
        key = signature(job)
        if physics == "warp":
            try:
                key += f" {_one_batch(job)}"
            except InputError:
                if self._wanted == "warp":
                    raise
                physics = "mujoco"
        size, room = bytes_of(job, physics), self._room(physics)
        if size > room:
            raise InputError(
                f"{_named(step)} takes {size / 2**20:,.0f} MB and a worker has {room / 2**20:,.0f}: fewer "
                f"workers (--workers), {_smaller(job, size - room)}"
            )
        most = room // size
        return _Kind(key, min(most, MOST) if self.device == "cpu" else most, physics)

    def _room(self, physics: Physics) -> int:
        """Return how many bytes the members of one worker may take, where their worlds are."""
        if physics == "warp" and self.device == "cuda":
            return int(torch.cuda.mem_get_info()[0] * (1 - SPARE))
        return int(machine_memory.available() * (1 - SPARE)) // self.workers - PROCESS


def _one_batch(job: TrainingRun) -> str:
    """Return what a training's worlds share on Warp; runs of one cohort share it too."""
    found = {shared(address): address for address in (job.env, *job.training_variants)}
    if len(found) > 1:
        raise InputError(f"physics = 'warp': {' and '.join(found.values())} cannot be of one batch; 'mujoco' can")
    return next(iter(found))


class _Kind(NamedTuple):
    """What runs of one env, budget and evaluation have in common."""

    key: str
    most: int  # how many a worker trains at a time
    physics: Physics


def _smaller(job: TrainingRun, excess: int) -> str:
    """Return what could be made smaller by so many bytes."""
    if not isinstance(job.hyperparameters, settings.OffPolicyHyperparameters):
        return "fewer n_envs or n_steps"
    kept = min(job.hyperparameters.buffer_size, job.total)
    row = (
        bytes_of(job)
        - bytes_of(replace(job, hyperparameters=msgspec.structs.replace(job.hyperparameters, buffer_size=1)))
    ) / kept
    fits = int(kept - excess / row)
    return f"or a buffer_size of {fits:,} at most" if fits > 0 else "or smaller networks"


def _named(step: Step) -> str:
    return f"{step.planned.env}, {step.planned.method}, seed {step.planned.seed}"


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Where one run of a plan is trained."""

    run: str  # its folder
    engine: engines.Engine
    device: engines.Device
    group: int  # runs of the same group train together, shared out among the workers
    why: str


def assignments(steps: Sequence[Step], group: Callable[[Step], Group]) -> list[Assignment]:
    """Return which cohort each run is in and why, in the plan's order."""
    places: dict[str, int] = {}
    found: list[Assignment] = []
    for step in steps:
        own = group(step)
        number = places.setdefault(own.key, len(places))
        found.append(
            Assignment(run=step.planned.folder, engine=own.engine, device=own.device, group=number, why=own.reason)
        )
    return found


def summary(found: Sequence[Assignment]) -> list[str]:
    """Return a line for each kind of group: how many runs, on which engine, where, and why."""
    counts = Counter((one.engine, one.device, one.why) for one in found)
    return [
        f"{count:,} run{'s' if count > 1 else ''}: "
        + (f"a cohort on {'the CPU' if device == 'cpu' else device}, {why}" if engine == "cohort" else why)
        for (engine, device, why), count in counts.items()
    ]
