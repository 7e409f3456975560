"""Which runs can train together, and on which engine; the plan's own words for why."""

import functools
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import msgspec
import torch

from trl_suite import machine_resources
from trl_suite.algorithms.hyperparameters import OffPolicyHyperparameters
from trl_suite.errors import InputError
from trl_suite.experiment.planning.cohort_queue import CohortKey, trained_alone
from trl_suite.experiment.planning.placement import Placement
from trl_suite.experiment.planning.run_spec import RunSpec, training_of
from trl_suite.experiment.reuse.shipped_sources import is_shipped
from trl_suite.experiment.specification.experiment_keys import Experiment
from trl_suite.experiment.specification.factors import cells
from trl_suite.training import engines
from trl_suite.training.cohort.cohort_key import bytes_of, cohort_key, memory_of, obstacle
from trl_suite.training.cohort.collecting.cohort_envs import Physics
from trl_suite.training.cohort.learning.off_policy import terms_of
from trl_suite.training.policy_import import trainable_spaces
from trl_suite.training.training_run import TrainingRun
from trl_suite.worlds.identity import robot_of
from trl_suite.worlds.warp import warp_library
from trl_suite.worlds.warp.merge import shared

WORKER_BYTES = 500 * 2**20  # bytes of a worker before it has any member: interpreter, torch and MuJoCo
SPARE_MEMORY_SHARE = 0.2  # share of the memory that is left alone
# of a worker on the CPU: of more runs, what an update touches leaves the cache, and first results come late
CPU_COHORT_RUNS_MAX = 64
_SIZES = ("n_envs", "n_steps", "batch_size", "n_epochs", "buffer_size")  # keys that decide how large arrays are
AskedPhysics = Literal["auto"] | Physics


class CohortPlanner:
    """Says of each run with which others it trains.

    Raises:
        InputError: the experiment wants the cohort engine and a run cannot have it, no algorithm can be trained on an
            env, a CUDA device is wanted and there is none, or a single run does not fit into the memory.
    """

    def __init__(self, experiment: Experiment, placement: Placement, specs: Sequence[RunSpec]) -> None:
        self._engine = experiment.engine
        self._placement = placement
        self.device: engines.Device = placement.device
        self._asked_physics: AskedPhysics = experiment.physics
        asked: set[AskedPhysics] = {experiment.physics, *experiment.source.physics}
        self._physics: dict[str, Physics] = {kind: self._available_physics(kind) for kind in asked}
        self._cache: dict[tuple[str, int, bytes, str], CohortKey] = {}
        self._fits: set[tuple[str, int, bytes]] = set()  # runs that train alone and have the memory for it
        self._cells = {
            name: CohortPlanner(cell, placement, [spec for spec in specs if spec.cell == name])
            for name, cell in cells(experiment).items()
            if experiment.factors
        }
        self._robots: dict[str, str] = {}  # of the envs that can be trained on
        self._specs = specs

    def _available_physics(self, asked: AskedPhysics) -> Physics:
        """Return the physics that cohorts can have; on a cluster its worker looks at the device."""
        if self._engine == "sb3":
            return "mujoco"
        if self._placement.local:
            return engines.physics(asked, self.device)
        warp = asked == "warp" or (asked == "auto" and self.device == "cuda")
        return "warp" if warp and not warp_library.obstacle() else "mujoco"

    @functools.cached_property
    def _sizes(self) -> Counter[str]:
        """How many runs of the whole plan share a key, whatever of it is done: a cohort's physics stays what it is."""
        jobs = [training_of(spec, None) for spec in self._specs if not is_shipped(spec)]
        return Counter(cohort_key(job) for job in jobs if not obstacle(job))

    def __call__(self, spec: RunSpec) -> CohortKey:
        """Return the key that the run shares with those that it trains with."""
        if self._cells:
            return self._cells[spec.cell](spec)
        if is_shipped(spec):
            return CohortKey(spec.folder, "sb3", "a shipped policy, which is taken as it is")
        self._refuse_untrainable(spec.env)
        job = training_of(spec, None)
        if self._engine == "sb3":
            return self._alone(spec, job, "the experiment asks for Stable-Baselines3")
        why = obstacle(job)
        asked = self._asked(spec)
        for key, required in (("engine", self._engine == "cohort"), ("physics", asked == "warp")):
            if why and required:
                value = "cohort" if key == "engine" else "warp"
                named = f"{key} = '{value}': {_named(spec)}"
                raise InputError(f"{named} cannot train in a cohort: {why}; {key} = 'auto' can")
        if why:
            return self._alone(spec, job, why)
        shared_key = self._shared_key(spec, job)
        env = self._robots[job.env]
        reason = (
            f"{job.hyperparameters.algorithm.upper()} of {env}, {spec.steps:,} steps: same slots, networks and schedule"
        )
        if job.definition.adapter is not None:
            reason += ", low-rank products"
        if shared_key.physics == "warp":
            reason += ", physics on Warp"
        return shared_key._replace(reason=reason)

    def _asked(self, spec: RunSpec) -> AskedPhysics:
        """Return the physics that the experiment asks for a run."""
        return spec.physics or self._asked_physics

    def _refuse_untrainable(self, env: str) -> None:
        if env not in self._robots:
            trainable_spaces(env)
            self._robots[env] = robot_of(env)

    def _alone(self, spec: RunSpec, job: TrainingRun, why: str) -> CohortKey:
        """Return the key of a run that trains alone on SB3, whose arrays are as large as a cohort's of one."""
        parts = (job.hyperparameters, job.evaluation)
        cache_key = (job.env, job.total, msgspec.json.encode(parts))
        if cache_key not in self._fits:
            self._fits.add(cache_key)
            self._limit(spec, job, "mujoco", "cpu")
        return trained_alone(spec, why)

    def _shared_key(self, spec: RunSpec, job: TrainingRun) -> CohortKey:
        parts = (
            job.hyperparameters.algorithm,
            job.hyperparameters,
            job.evaluation,
            job.definition.adapter,
            terms_of(job),
        )
        cache_key = (job.env, job.total, msgspec.json.encode(parts), self._asked(spec))
        if cache_key not in self._cache:
            self._cache[cache_key] = self._limited_key(spec, job)
        return self._cache[cache_key]

    def _limited_key(self, spec: RunSpec, job: TrainingRun) -> CohortKey:
        """Return the key of the run's cohort, with how many of its kind fit into a worker's share of the memory."""
        asked = self._asked(spec)
        key = cohort_key(job)
        physics: Physics = self._physics[asked]
        if asked == "auto" and physics == "warp" and not engines.warp_is_faster(job, self._sizes[key]):
            physics = "mujoco"
        if physics == "warp":
            try:
                key += f" {_one_batch(job)}"
            except InputError:
                if asked == "warp":
                    raise
                physics = "mujoco"
        limit = self._limit(spec, job, physics, self.device)
        firm = asked != "auto"
        return CohortKey(key, "cohort", "", limit, self.device, physics, firm)

    def _limit(self, spec: RunSpec, job: TrainingRun, physics: Physics, device: engines.Device) -> int:
        """Return how many runs like this fit into a worker's share of the memory, on both sides.

        Raises:
            InputError: not even one does.
        """
        need = memory_of(job, physics, device)
        limits = [CPU_COHORT_RUNS_MAX] if device == "cpu" else []
        for where, size, room in (
            ("", need.host, self._host_room()),
            (" on the GPU", need.device, self._device_room()),
        ):
            if size > room:
                raise InputError(
                    f"{_key_to_lower(job, size - room)}: {_named(spec)} takes {size / 2**20:,.0f} MB{where} and a "
                    f"worker has {room / 2**20:,.0f}: fewer workers (--workers), {_smaller(job, size - room)}"
                )
            if size:
                limits.append(room // size)
        return min(limits)

    def _host_room(self) -> int:
        """Return how many bytes the members of one worker may take in the machine's memory."""
        workers = max(self._placement.slots(self.device), 1)
        return int(machine_resources.available_bytes() * (1 - SPARE_MEMORY_SHARE)) // workers - WORKER_BYTES

    def _device_room(self) -> int:
        """Return how many bytes they may take on a GPU: of the smallest here; where it is elsewhere, any number."""
        if self.device == "cpu" or not self._placement.local:
            return sys.maxsize
        free = min(torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count()))
        return int(free * (1 - SPARE_MEMORY_SHARE))


def _one_batch(job: TrainingRun) -> str:
    """Return the key that a training's worlds share on Warp; runs of one cohort share it too."""
    addresses = {shared(address): address for address in (job.env, *job.training_variants)}
    if len(addresses) > 1:
        raise InputError(f"physics = 'warp': {' and '.join(addresses.values())} cannot be of one batch; 'mujoco' can")
    return next(iter(addresses))


def _hungriest(job: TrainingRun) -> str:
    """Return the key that takes the most memory: `ppo.n_envs`, `evaluation.episodes`."""
    hyperparameters = job.hyperparameters
    least: dict[str, Any] = {key: 1 for key in _SIZES if hasattr(hyperparameters, key)} | {"hidden": (1,)}
    smaller = {
        f"{hyperparameters.algorithm}.{key}": replace(
            job, hyperparameters=msgspec.structs.replace(hyperparameters, **{key: value})
        )
        for key, value in least.items()
    }
    smaller["evaluation.episodes"] = replace(job, evaluation=msgspec.structs.replace(job.evaluation, episodes=1))
    return min(smaller, key=lambda key: bytes_of(smaller[key]))


def _key_to_lower(job: TrainingRun, excess: int) -> str:
    """Return the key to make smaller by so many bytes: `sac.buffer_size`, `ppo.n_envs`."""
    replay = f"{job.hyperparameters.algorithm}.buffer_size"
    return replay if _fitting_transitions(job, excess) > 0 else _hungriest(job)


def _smaller(job: TrainingRun, excess: int) -> str:
    """Return the option that could be made smaller by so many bytes: the replay, where that alone is enough."""
    fits = _fitting_transitions(job, excess)
    return f"or a buffer_size of {fits:,} at most" if fits > 0 else f"or a smaller {_hungriest(job)}"


def _fitting_transitions(job: TrainingRun, excess: int) -> int:
    """Return how many transitions a replay may hold that takes so many bytes less; 0 where it isn't the replay."""
    hyperparameters = job.hyperparameters
    if not isinstance(hyperparameters, OffPolicyHyperparameters):
        return 0
    transitions = min(hyperparameters.buffer_size, job.total)
    without = replace(job, hyperparameters=msgspec.structs.replace(hyperparameters, buffer_size=1))
    return int(transitions - excess / ((bytes_of(job) - bytes_of(without)) / transitions))


def _named(spec: RunSpec) -> str:
    return f"{spec.env}, {spec.method}, seed {spec.seed}"


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Where one run of a plan is trained."""

    run: str  # its folder
    engine: engines.Engine
    device: engines.Device
    cohort: int  # runs of the same group train together, shared out among the workers
    why: str
    steps: int = 0  # env steps; 0 of a shipped policy
    done: bool = False  # whether it is there already
    reused: str = ""  # experiment of which it would be taken, trained already; "" where it would be trained


def assignments(specs: Sequence[RunSpec], cohort_key: Callable[[RunSpec], CohortKey]) -> list[Assignment]:
    """Return which cohort each run is in and why, in the plan's order."""
    numbers: dict[str, int] = {}
    assigned: list[Assignment] = []
    for spec in specs:
        key = cohort_key(spec)
        number = numbers.setdefault(key.name, len(numbers))
        steps = 0 if "policy" in spec.specification else spec.steps
        assigned.append(
            Assignment(
                run=spec.folder, engine=key.engine, device=key.device, cohort=number, why=key.reason, steps=steps
            )
        )
    return assigned


def summary(assigned: Sequence[Assignment]) -> list[str]:
    """Return a line for each kind of group: how many runs, on which engine, where, and why."""
    counts = Counter((assignment.engine, assignment.device, assignment.why) for assignment in assigned)
    return [
        f"{count:,} run{'s' if count > 1 else ''}: "
        + (f"a cohort on {'the CPU' if device == 'cpu' else device}, {why}" if engine == "cohort" else why)
        for (engine, device, why), count in counts.items()
    ]
