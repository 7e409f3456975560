"""`experiment.toml` as a frozen specification: one question, and the grid of runs that answers it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from trl_suite import content, tables
from trl_suite.algorithms.hyperparameters import Count, Hyperparameters, OffPolicyHyperparameters, Whole
from trl_suite.algorithms.registry import DESCRIPTORS, Algorithm
from trl_suite.errors import InputError, unknown
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.source_replay import remembered
from trl_suite.networks.components import REPLAY
from trl_suite.record import SCRATCH
from trl_suite.training import settings
from trl_suite.worlds.identity import identity, robot_of

FILE = "experiment.toml"
Bound = Annotated[float, msgspec.Meta(gt=0)]
Scale = tuple[Bound, Bound]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the source policies are trained on, one per seed; or whose shipped ones are taken."""

    env: str | dict[str, str]  # of all targets; or the target's robot -> the env that its source comes from
    steps: Count | None = None  # needed unless the policies are shipped, whose cards say it
    shipped: bool = False  # take policies/ENV-ALGORITHM-seed-SEED instead of training any
    variants: tuple[str, ...] = ()  # trained on these at once, in equal shares, instead of on the env itself
    randomise: dict[str, Scale] = {}  # axis -> lowest and highest scale; each episode is of another draw
    pool: Annotated[int, msgspec.Meta(ge=2, le=1024)] = 32  # compiled models that a randomised source draws from
    heads: bool = False  # a head for each of the variants on a shared trunk; what is kept has the mean of them
    dynamics: settings.Dynamics | None = None  # learn how the world moves from random actions, without any reward
    every: Count | None = None  # env steps between two evaluations; a tenth of the budget where not given


class TargetOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every method is measured on."""

    envs: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    steps: Count


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
    expected: dict[str, Literal["sooner", "not sooner"]] = {}  # of methods, before any run; compared with the claims
    reference: ReferenceOptions | None = None  # without it, the paired scratch runs set the scale
    retention: bool = False  # measure what every source policy can still do at home after each target
    probes: Whole = 0  # source policies that are probed on each target, to compare with how it went
    algorithm: Algorithm = "ppo"
    engine: Literal["auto", "sb3", "cohort"] = "auto"  # auto: runs train together where the cohort engine can do it
    device: Literal["auto", "cpu", "cuda"] = "auto"  # of the cohort engine; auto: CUDA where there is one
    # what simulates cohorts; auto: Warp on a CUDA device where it is installed and can run the robot, else MuJoCo
    physics: Literal["auto", "mujoco", "warp"] = "auto"
    evaluation: settings.Evaluation = settings.Evaluation()
    execution: ExecutionOptions = ExecutionOptions()
    alias: dict[str, str] = {}  # target name -> source name, where slots are named differently
    method: dict[str, Method] = {}  # methods of this experiment's own

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The hyperparameters of the algorithm that is used."""
        return getattr(self, self.algorithm)

    def source_of(self, target: str) -> str:
        """Return the env that a target's source policies come from.

        Raises:
            InputError: the table of sources has no entry for the target's robot.
        """
        envs, robot = self.source.env, robot_of(target)
        if isinstance(envs, str):
            return envs
        if robot not in envs:
            raise InputError(f"source.env: no entry for '{robot}', which is the robot of the target '{target}'")
        return envs[robot]

    @property
    def sources(self) -> tuple[str, ...]:
        """The envs that source policies come from, each once, in the targets' order."""
        return tuple(dict.fromkeys(self.source_of(target) for target in self.target.envs))


if TYPE_CHECKING:
    Experiment = ExperimentKeys
else:
    Experiment = msgspec.defstruct(
        "Experiment",
        [(name, algorithm.hyperparameters, algorithm.hyperparameters()) for name, algorithm in DESCRIPTORS.items()],
        bases=(ExperimentKeys,),
        namespace={"__doc__": "A grid of runs, with a table of hyperparameters for each algorithm."},
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


def locate(where: str) -> Path:
    """Return the experiment's folder: a path, or the name of one in the workspace or in the suite.

    Raises:
        InputError: there is none; the message lists those that exist.
    """
    path = Path(where)
    folder = path.parent if path.name == FILE else path
    return folder if (folder / FILE).is_file() else content.find("experiments", path.name)


def load(folder: Path) -> Experiment:
    """Return the specification in a folder, checked against the envs and methods that exist.

    Raises:
        InputError: a key, env, variant or method does not exist, a name stands twice, scratch is missing, or a
            reference run has a seed that methods are compared on.
    """
    path = folder / FILE
    experiment = tables.read(path, Experiment)
    _check_names(path, experiment)
    if SCRATCH not in experiment.methods:
        raise InputError(f"{path}: methods: '{SCRATCH}' is missing, and every measure compares with it")
    if (experiment.engine, experiment.physics) == ("sb3", "warp"):
        raise InputError(f"{path}: physics = 'warp' simulates cohorts: engine = 'sb3' has none; 'auto' and 'cohort' do")
    for name in experiment.methods:
        methods.find(name, experiment.method)
    for name in experiment.expected.keys() - set(experiment.methods):
        raise unknown("method", name, experiment.methods, f"{path}: expected")
    for env in (*experiment.sources, *experiment.target.envs):
        identity(env)
    _check_source(path, experiment)
    _check_shipped(path, experiment)
    _check_upbringing(path, experiment)
    _check_memory(path, experiment)
    _check_batch(path, experiment.hyperparameters)
    return experiment


def cautions(experiment: Experiment) -> list[str]:
    """Return what is allowed and hardly meant."""
    hyperparameters = experiment.hyperparameters
    if getattr(hyperparameters, "action_noise", 1.0) == 0:
        return [f"{experiment.algorithm}: action_noise = 0 explores nothing once learning starts; 0.1 is usual"]
    return []


def _check_batch(path: Path, hyperparameters: Hyperparameters) -> None:
    if (
        isinstance(hyperparameters, OffPolicyHyperparameters)
        and hyperparameters.batch_size > hyperparameters.learning_starts
    ):
        raise InputError(
            f"{path}: {hyperparameters.algorithm}: batch_size {hyperparameters.batch_size} is larger than "
            f"learning_starts {hyperparameters.learning_starts}: the first updates would see every transition more "
            "than once; raise learning_starts"
        )


def _check_upbringing(path: Path, experiment: Experiment) -> None:
    """Refuse a source that could not be brought up as the table says."""
    source, worlds = experiment.source, experiment.hyperparameters.n_envs
    if len(source.variants) > worlds:
        raise InputError(f"{path}: source: {len(source.variants)} variants need as many worlds, and n_envs is {worlds}")
    if source.heads and len(source.variants) < 2:
        raise InputError(f"{path}: source.heads: give two variants or more, one for each head")
    if source.dynamics and source.heads:
        raise InputError(f"{path}: source: give either heads or dynamics, which trains none")
    if source.dynamics and not source.dynamics.forward + source.dynamics.inverse:
        raise InputError(f"{path}: source.dynamics: forward and inverse are both 0: nothing would be learned")


def _check_memory(path: Path, experiment: Experiment) -> None:
    """Refuse a replay, or moments, that the source could not keep or the target not hold."""
    source, hyperparameters = experiment.source, experiment.hyperparameters
    for name in experiment.methods:
        method = methods.find(name, experiment.method)
        stored_parts = remembered(method)
        if stored_parts and (source.dynamics or source.heads):
            raise InputError(f"{path}: source: {', '.join(stored_parts)} can be copied from a source of one task alone")
        if REPLAY not in stored_parts:
            continue
        if not isinstance(hyperparameters, OffPolicyHyperparameters) or source.variants or source.randomise:
            raise InputError(f"{path}: a replay can be copied from SAC or TD3, trained on source.env alone")
        if (
            method.keep.get(REPLAY, 1.0) * min(source.steps or 0, hyperparameters.buffer_size)
            >= hyperparameters.buffer_size
        ):
            raise InputError(
                f"{path}: method '{name}': the source's transitions would fill a replay of "
                f"{hyperparameters.buffer_size:,}: keep a share of them (keep = {{ replay = 0.1 }}), "
                "or give a larger buffer_size"
            )


def _check_names(path: Path, experiment: Experiment) -> None:
    apart = experiment.reference.seeds if experiment.reference else ()
    for key, values in {"methods": experiment.methods, "seeds": experiment.seeds, "reference.seeds": apart}.items():
        if len(set(values)) < len(values):
            raise InputError(f"{path}: {key}: {list(values)} names one twice")
    if shared := sorted(set(apart) & set(experiment.seeds)):
        raise InputError(f"{path}: reference.seeds: {shared} are seeds that methods are compared on; take others")


def _check_source(path: Path, experiment: Experiment) -> None:
    source = experiment.source
    if source.variants and source.randomise:
        raise InputError(f"{path}: source: give either variants or randomise")
    for axis, (low, high) in source.randomise.items():
        if low > high:
            raise InputError(f"{path}: source.randomise.{axis}: {low} is above {high}")
        for env in experiment.sources:
            identity(f"{env}?{axis}={low}")
    for variant in source.variants:
        for env in experiment.sources:
            identity(f"{env}.{variant}")


def _check_shipped(path: Path, experiment: Experiment) -> None:
    """Refuse a source that is neither trained nor shipped, or said to be both."""
    source = experiment.source
    if source.shipped != (source.steps is None):
        raise InputError(f"{path}: source: give steps to train policies, or shipped = true to take those of policies/")
    if source.shipped and (source.variants or source.randomise or source.heads or source.dynamics or source.every):
        raise InputError(f"{path}: source: shipped policies are trained already: only env can be given with them")
    stored_parts = {
        name for method in experiment.methods for name in remembered(methods.find(method, experiment.method))
    }
    if source.shipped and stored_parts:
        raise InputError(
            f"{path}: source: shipped policies keep no {', '.join(sorted(stored_parts))}; give steps to train some"
        )
