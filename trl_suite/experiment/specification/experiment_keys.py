"""The keys of `experiment.toml`: one question, and the grid of runs that answers it."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from trl_suite.algorithms.hyperparameters import Count, Hyperparameters, Whole
from trl_suite.algorithms.registry import Algorithm
from trl_suite.errors import InputError
from trl_suite.experiment.specification.reading_keys import ContrastOptions, Expectation, MethodPair
from trl_suite.experiment.specification.tuning_keys import TuneOptions
from trl_suite.experiment.tuning.tuning_file import Tuning
from trl_suite.mechanisms.methods import Method
from trl_suite.training import settings
from trl_suite.training.overrides import OVERRIDES, present
from trl_suite.training.presets import Choice, Preset, choose
from trl_suite.worlds.axes.variation import MAX_POOL, RangeSchedule
from trl_suite.worlds.identity import robot_of

Bound = Annotated[float, msgspec.Meta(gt=0)]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Training of the source policies, one per seed; or the env whose shipped ones are taken."""

    env: str | dict[str, str] = ""  # of all targets; or the target's robot -> the env that its source comes from
    envs: tuple[str, ...] = ()  # in place of env: from each of these to each target, a matrix
    physics: tuple[Literal["mujoco", "warp"], ...] = ()  # trained in each of these; in the targets' where not given
    steps: Count | None = None  # needed unless the policies are shipped, whose cards say it
    shipped: bool = False  # take policies/ENV-ALGORITHM-seed-SEED instead of training any
    variants: tuple[str, ...] = ()  # trained on these at once, in equal shares, instead of on the env itself
    # axis -> [low, high], or its table with [low, high] for its number; true: the ranges of the env's table
    randomise: dict[str, Any] | Literal[True] = {}  # each training episode is of another draw
    pool: Annotated[int, msgspec.Meta(ge=2, le=MAX_POOL)] = 32  # compiled models that a randomised source draws from
    schedule: RangeSchedule | None = None  # how the ranges widen with what is learned; whole at once where not given
    heads: bool = False  # a head for each of the variants on a shared trunk; what is kept has the mean of them
    dynamics: settings.Dynamics | None = None  # learn how the world moves from random actions, without any reward
    every: Count | None = None  # env steps between two evaluations; a tenth of the budget where not given


class TargetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Envs and steps on which every method is measured."""

    envs: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    steps: Count


class SequenceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks that are learned one after another: each stage begins with the policy of the one before."""

    envs: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    steps: Count  # env steps of each stage
    repeat: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1  # how often the whole sequence is gone through
    heads: tuple[str, ...] = ()  # components that every task has of its own, in all methods: ["actor.head"]

    @property
    def stages(self) -> tuple[str, ...]:
        """The env of each stage, in order."""
        return self.envs * self.repeat

    @property
    def tasks(self) -> tuple[str, ...]:
        """The envs, each once, in order."""
        return tuple(dict.fromkeys(self.envs))


class ReferenceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scratch runs that no method is compared with; they say what scores 0 and what scores 1 on each target."""

    seeds: Annotated[tuple[Seed, ...], msgspec.Meta(min_length=1)]  # none of the experiment's
    steps: Count | None = None  # the target's budget where not given


class SlurmOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How runs are submitted with `--on slurm`; what is not given is left to the cluster."""

    partition: str | None = None
    minutes: Count = 24 * 60  # time limit of a job; a run that needs longer is queued again and goes on
    memory: str | None = None  # of a job: "4GB"
    jobs: Count = 100  # at a time
    extra: dict[str, str] = {}  # more of sbatch's options, by their long names: account = "robots"


class ExecutionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How runs are made, which changes no result and no run's identity."""

    retries: Annotated[int, msgspec.Meta(ge=0)] = 1  # of a run that failed, from its newest checkpoint
    # seconds between two, a hundredth of the time at most; 0 is at every rollout, whatever it costs
    checkpoint: Annotated[float, msgspec.Meta(ge=0)] = 60.0
    silence: Bound = 480.0  # seconds without a sign of life after which a worker counts as hung
    threads: Count = 1  # of torch in each worker
    cores: Count = 1  # per cohort, where a cluster hands them out
    gpus: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # per cohort, likewise
    slurm: SlurmOptions = SlurmOptions()


class ExperimentKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys of `experiment.toml` besides the tables of the algorithms: a grid of methods x targets x seeds."""

    question: str
    methods: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], msgspec.Meta(min_length=1)]
    source: SourceOptions
    target: TargetOptions
    sequence: SequenceOptions | None = None  # in place of source and target: one task after another
    # of methods, on all targets or by target, before any run; compared with the claims
    expected: dict[str, Expectation | dict[str, Expectation]] = {}
    contrast: dict[str, MethodPair | ContrastOptions] = {}  # of two methods, the first minus the second
    read_at: tuple[Count, ...] = ()  # evaluation steps at which results are read off as if the budget ended there
    # scratch runs of its own, or "measured": those kept in references/, one for every target; without it, the kept
    # ones where they fit, else the paired scratch runs
    reference: ReferenceOptions | Literal["measured"] | None = None
    tune: TuneOptions | None = None  # `trl-suite tune` searches hyperparameters before anything is run
    tuning: Tuning | None = None  # what it found; not written in this file
    retention: bool = False  # measure what every source policy can still do at home after each target
    plasticity: bool = False  # measure dormant units, rank, weights and the distance from the source after each target
    probes: Whole = 0  # source policies that are probed on each target, to compare with how it went
    algorithm: Algorithm = "ppo"
    preset: Preset = "tuned"  # of each robot, under the keys of the algorithm's table; sb3: SB3's defaults
    engine: Literal["auto", "sb3", "cohort"] = "auto"  # auto: runs train together where the cohort engine can do it
    device: Literal["auto", "cpu", "cuda"] = "auto"  # of the cohort engine; auto: CUDA where there is one
    # what simulates cohorts; auto: Warp on a CUDA device where it is the faster and can run the robot, else MuJoCo
    physics: Literal["auto", "mujoco", "warp"] = "auto"
    evaluation: settings.Evaluation = settings.Evaluation()
    execution: ExecutionOptions = ExecutionOptions()
    alias: dict[str, str] = {}  # target name -> source name, where slots are named differently
    method: dict[str, Method] = {}  # methods of this experiment's own
    factors: dict[str, tuple[str, ...]] = {}  # keys with several values; not written in this file: see `factors`

    @property
    def overrides(self) -> dict[str, Any]:
        """The hyperparameters that the file asks for by name."""
        return present(getattr(self, self.algorithm))

    def choice(self, env: str) -> Choice:
        """Hyperparameters of the runs on an env, and where they come from."""
        return choose(env, self.algorithm, self.preset, self.overrides)

    def hyperparameters_of(self, env: str) -> Hyperparameters:
        """Hyperparameters of the runs on an env."""
        return self.choice(env).hyperparameters

    @property
    def choices(self) -> dict[str, Choice]:
        """Hyperparameters by env, of those that are trained on."""
        trained = () if self.source.shipped else self.sources
        return {env: self.choice(env) for env in dict.fromkeys((*trained, *self.target.envs))}

    def sources_of(self, target: str) -> tuple[str, ...]:
        """Return the envs that a target's source policies come from: all of a matrix, else one; none in a sequence."""
        if self.sequence:
            return ()
        return self.source.envs or (self.source_of(target),)

    def source_of(self, target: str) -> str:
        """Return the env that a target's source policies come from; the first one of a matrix.

        Raises:
            InputError: the table of sources has no entry for the target's robot.
        """
        if self.source.envs:
            return self.source.envs[0]
        envs, robot = self.source.env, robot_of(target)
        if isinstance(envs, str):
            return envs
        if robot not in envs:
            raise InputError(f"source.env: no entry for '{robot}', which is the robot of the target '{target}'")
        return envs[robot]

    @property
    def sources(self) -> tuple[str, ...]:
        """The envs that source policies come from, each once, in the targets' order."""
        return tuple(dict.fromkeys(env for target in self.target.envs for env in self.sources_of(target)))


if TYPE_CHECKING:
    Experiment = ExperimentKeys
else:
    Experiment = msgspec.defstruct(
        "Experiment",
        [(name, overrides, overrides()) for name, overrides in OVERRIDES.items()],
        bases=(ExperimentKeys,),
        namespace={"__doc__": "A grid of runs, with a table of hyperparameters for each algorithm."},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
