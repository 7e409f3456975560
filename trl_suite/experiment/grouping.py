"""Which runs can train together, and on which engine; the plan's own words for why."""

import msgspec

from trl_suite import memory
from trl_suite.errors import InputError
from trl_suite.experiment.cohorts import Group, alone
from trl_suite.experiment.plan import Step
from trl_suite.experiment.spec import Experiment
from trl_suite.training import engines, settings
from trl_suite.training.cohort.signature import bytes_of, obstacle, signature

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
        self._how: settings.Settings = experiment.how
        self.device: engines.Device = engines.device(experiment.device)
        self.workers = (
            workers if self.device == "cpu" else 1
        )  # one program fills a GPU, and takes all cores for physics
        self._room = int(memory.available() * (1 - SPARE)) // self.workers - PROCESS
        self._known: dict[tuple[str, int, bytes], tuple[str, int]] = {}

    def __call__(self, step: Step) -> Group:
        """Return the run's group."""
        if self._engine == "sb3":
            return alone(step, "the experiment asks for Stable-Baselines3")
        upbringing = msgspec.convert(step.specification.get("upbringing", {}), settings.Upbringing)
        why = obstacle(step.planned.env, self._how, step.definition, upbringing)
        if why and self._engine == "cohort":
            raise InputError(f"engine = 'cohort': {_named(step)} cannot train in a cohort: {why}; engine = 'auto' can")
        if why or not isinstance(self._how, settings.PPO):
            return alone(step, why)
        key, most = self._cohort(step, self._how)
        env = step.planned.env.partition(".")[0].partition("?")[0]
        reason = f"PPO of {env}, {step.steps:,} steps: same slots, networks and schedule"
        return Group(key=key, engine="cohort", reason=reason, most=most, device=self.device)

    def _cohort(self, step: Step, how: settings.PPO) -> tuple[str, int]:
        """Return the run's signature, and how many of its kind fit into a worker's share of the memory."""
        known = (step.planned.env, step.steps, msgspec.json.encode(step.evaluation))
        if known not in self._known:
            size = bytes_of(step.planned.env, how, step.evaluation)
            if size > self._room:
                raise InputError(
                    f"{_named(step)} takes {size / 2**20:,.0f} MB and a worker has {self._room / 2**20:,.0f}: fewer "
                    "workers (--workers), fewer n_envs or n_steps"
                )
            key = signature(step.planned.env, how, step.steps, step.evaluation)
            self._known[known] = (key, self._room // size)
        return self._known[known]


def _named(step: Step) -> str:
    return f"{step.planned.env}, {step.planned.method}, seed {step.planned.seed}"
