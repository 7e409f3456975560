"""Which runs can train together, and on which engine; the plan's own words for why."""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from trl_suite import memory
from trl_suite.errors import InputError
from trl_suite.experiment.cohorts import Group, alone
from trl_suite.experiment.plan import Step, job_of
from trl_suite.experiment.shipped import is_shipped
from trl_suite.experiment.spec import Experiment
from trl_suite.training import engines, settings
from trl_suite.training.cohort.signature import bytes_of, obstacle, signature
from trl_suite.training.job import Job
from trl_suite.worlds.address import Address

PROCESS = 500 * 2**20  # bytes of a worker before it has any member: interpreter, torch and MuJoCo
SPARE = 0.2  # share of the memory that is left alone


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
        self._room = int(memory.available() * (1 - SPARE)) // self.workers - PROCESS
        self._known: dict[tuple[str, int, bytes], tuple[str, int]] = {}

    def __call__(self, step: Step) -> Group:
        """Return the run's group."""
        if is_shipped(step):
            return Group(step.planned.folder, "sb3", "a shipped policy, which is taken as it is")
        if self._engine == "sb3":
            return alone(step, "the experiment asks for Stable-Baselines3")
        job = job_of(step, None)
        why = obstacle(job)
        if why and self._engine == "cohort":
            raise InputError(f"engine = 'cohort': {_named(step)} cannot train in a cohort: {why}; engine = 'auto' can")
        if why or not isinstance(job.how, settings.PPO):
            return alone(step, why)
        key, most = self._cohort(step, job, job.how)
        env = Address.parse(job.env).env
        reason = f"PPO of {env}, {step.steps:,} steps: same slots, networks and schedule"
        return Group(key=key, engine="cohort", reason=reason, most=most, device=self.device)

    def _cohort(self, step: Step, job: Job, how: settings.PPO) -> tuple[str, int]:
        """Return the run's signature, and how many of its kind fit into a worker's share of the memory."""
        known = (job.env, job.total, msgspec.json.encode(job.evaluation))
        if known not in self._known:
            size = bytes_of(job.env, how, job.evaluation)
            if size > self._room:
                raise InputError(
                    f"{_named(step)} takes {size / 2**20:,.0f} MB and a worker has {self._room / 2**20:,.0f}: fewer "
                    "workers (--workers), fewer n_envs or n_steps"
                )
            self._known[known] = (signature(job), self._room // size)
        return self._known[known]


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
