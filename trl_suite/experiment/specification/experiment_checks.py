"""Checks, before anything is trained, of meanings that an experiment cannot have or probably does not intend."""

from collections.abc import Sequence

from trl_suite import content
from trl_suite.algorithms.hyperparameters import Hyperparameters, OffPolicyHyperparameters
from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError, located
from trl_suite.experiment.specification import reading_keys, task_sequences, tuning_keys
from trl_suite.experiment.specification.experiment_keys import Experiment, ReferenceOptions
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.source_replay import remembered
from trl_suite.networks.components import REPLAY
from trl_suite.record import SCRATCH
from trl_suite.worlds.address import FOREIGN, Address, table_ranges, without_module
from trl_suite.worlds.axes.randomisation import draws
from trl_suite.worlds.axes.variation import Randomisation
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.identity import identity

EVALUATIONS_MAX = 100_000  # of one run: each takes a line of its file for every episode
STEPS_MAX = 10**12  # env steps of one run: at a million a second, twelve days


def check(where: str, experiment: Experiment) -> None:
    """Refuse an experiment that names what does not exist, or that could not be trained as it is written.

    Raises:
        InputError: a key, env, variant or method does not exist, a name stands twice or cannot be that of a folder,
            scratch is missing, or a reference run has a seed that methods are compared on.
    """
    _check_names(where, experiment)
    if SCRATCH not in experiment.methods:
        raise InputError(f"{where}: methods: '{SCRATCH}' is missing, and every measure compares with it")
    for key, asked in (("physics", (experiment.physics,)), ("source.physics", experiment.source.physics)):
        if experiment.engine == "sb3" and "warp" in asked:
            raise InputError(
                f"{where}: {key} = 'warp' simulates cohorts: engine = 'sb3' has none; 'auto' and 'cohort' do"
            )
    with located(f"{where}: methods"):
        for name in experiment.methods:
            methods.find(name, experiment.method)
    _check_reading(where, experiment)
    if experiment.sequence:
        task_sequences.check(where, experiment)
    else:
        _check_sources(where, experiment)
    _check_envs(where, "source.envs" if experiment.source.envs else "source.env", experiment.sources)
    _check_envs(where, f"{_task_key(experiment)}.envs", experiment.target.envs)
    _check_budgets(where, experiment)
    _check_source_training(where, experiment)
    _check_memory(where, experiment)
    _check_tune(where, experiment)
    for choice in experiment.choices.values():
        _check_batch(where, choice.hyperparameters)


def _check_reading(where: str, experiment: Experiment) -> None:
    asked, target = experiment.methods, experiment.target
    reading_keys.check_expected(where, experiment.expected, asked, target.envs)
    tuned = experiment.tune is not None
    reading_keys.check_contrasts(where, experiment.contrast, asked, experiment.method, tuned)
    reading_keys.check_read_at(where, experiment.read_at, experiment.evaluation.every, target.steps)


def _check_sources(where: str, experiment: Experiment) -> None:
    for name in experiment.methods:
        if key := methods.sequence_key(methods.find(name, experiment.method)):
            raise InputError(f"{where}: methods: '{name}': {key} takes from stage to stage, in a [sequence]")
    _check_matrix(where, experiment)
    _check_source(where, experiment)
    _check_shipped(where, experiment)


def cautions(experiment: Experiment) -> list[str]:
    """Return warnings for settings that are valid but probably a mistake."""
    kinds = list(dict.fromkeys(choice.hyperparameters for choice in experiment.choices.values()))
    every = experiment.evaluation.every
    lines = [line for hyperparameters in kinds for line in _off_policy_cautions(hyperparameters)]
    lines += [_label_caution(every, kind.rollout) for kind in kinds if every % kind.rollout]
    return list(dict.fromkeys(lines))


def _label_caution(every: int, rollout: int) -> str:
    return (
        f"evaluation.every {every:,} is no multiple of a rollout of {rollout:,} steps: each evaluation measures the "
        "policy of the last whole rollout before its step"
    )


def _off_policy_cautions(hyperparameters: Hyperparameters) -> list[str]:
    if not isinstance(hyperparameters, OffPolicyHyperparameters):
        return []
    name, lines = hyperparameters.algorithm, list[str]()
    if getattr(hyperparameters, "action_noise", 1.0) == 0:
        lines.append(f"{name}: action_noise = 0 explores nothing once learning starts; 0.1 is usual")
    if not getattr(hyperparameters, "tau", 1.0):
        lines.append(f"{name}: tau = 0 never moves the target networks; 0.005 is usual")
    if hyperparameters.buffer_size < hyperparameters.batch_size:
        lines.append(
            f"{name}: buffer_size {hyperparameters.buffer_size} is below batch_size {hyperparameters.batch_size}: "
            "every update sees the same few transitions more than once"
        )
    if hyperparameters.gradient_steps == 0:
        lines.append(f"{name}: gradient_steps = 0 learns nothing")
    return lines


def _task_key(experiment: Experiment) -> str:
    """Return the table in which the file names the envs that methods are measured on."""
    return "sequence" if experiment.sequence else "target"


def _check_envs(where: str, key: str, envs: Sequence[str]) -> None:
    for env in envs:
        with located(f"{where}: {key}"):
            if env.startswith(FOREIGN):
                without_module(env)
            identity(env)
            _refuse_moving_ranges(env)


def _refuse_moving_ranges(env: str) -> None:
    """Refuse an env whose ranges move while it is measured: no two evaluations would be of one task."""
    if env.startswith(FOREIGN):
        return
    address = Address.parse(env)
    randomise = address.variation(load(address.env)).randomise
    if isinstance(randomise, Randomisation):
        draws(randomise, env)
        if randomise.schedule:
            raise InputError(f"{env}: a schedule is for training: give source.schedule, which widens source.randomise")


def _check_budgets(where: str, experiment: Experiment) -> None:
    """Refuse numbers of steps and evaluations that no machine could make or keep."""
    reference, every = _own_reference(experiment), experiment.evaluation.every
    for key, steps in (
        ("source.steps", experiment.source.steps),
        (f"{_task_key(experiment)}.steps", experiment.target.steps),
        ("reference.steps", reference.steps if reference else None),
    ):
        if steps is not None and steps > STEPS_MAX:
            raise InputError(f"{where}: {key}: {steps:,} env steps; {STEPS_MAX:,} at most")
        if steps is not None and key != "source.steps" and steps // every > EVALUATIONS_MAX:
            raise InputError(
                f"{where}: {key}: {steps:,} steps with an evaluation every {every:,} are more than "
                f"{EVALUATIONS_MAX:,} evaluations: raise evaluation.every"
            )


def _check_batch(where: str, hyperparameters: Hyperparameters) -> None:
    if (
        isinstance(hyperparameters, OffPolicyHyperparameters)
        and hyperparameters.batch_size > hyperparameters.learning_starts
    ):
        raise InputError(
            f"{where}: {hyperparameters.algorithm}: batch_size {hyperparameters.batch_size} is larger than "
            f"learning_starts {hyperparameters.learning_starts}: the first updates would see every transition more "
            "than once; raise learning_starts"
        )


def _check_source_training(where: str, experiment: Experiment) -> None:
    """Refuse a source that could not be trained as the table says."""
    source = experiment.source
    for env in experiment.sources:
        worlds = experiment.hyperparameters_of(env).n_envs
        if len(source.variants) > worlds:
            raise InputError(
                f"{where}: source: {len(source.variants)} variants need as many worlds, and n_envs is {worlds}"
            )
    if (source.dynamics or source.heads) and find(experiment.algorithm).normalises_inputs:
        key, name = "dynamics" if source.dynamics else "heads", experiment.algorithm
        raise InputError(f"{where}: source.{key}: not for {name}, whose layers normalise their inputs")
    if source.heads and any(experiment.hyperparameters_of(env).layer_norm for env in experiment.sources):
        raise InputError(f"{where}: source.heads: not with layer_norm, which would normalise the marks of the head")
    if source.heads and len(source.variants) < 2:
        raise InputError(f"{where}: source.heads: give two variants or more, one for each head")
    if source.dynamics and source.heads:
        raise InputError(f"{where}: source: give either heads or dynamics, which trains none")
    if source.dynamics and not source.dynamics.forward + source.dynamics.inverse:
        raise InputError(f"{where}: source.dynamics: forward and inverse are both 0: nothing would be learned")


def _check_memory(where: str, experiment: Experiment) -> None:
    """Refuse a replay, or moments, that the source could not keep or the target not hold."""
    for env in experiment.sources:
        _check_replay(where, experiment, experiment.hyperparameters_of(env))


def _check_replay(where: str, experiment: Experiment, hyperparameters: Hyperparameters) -> None:
    source = experiment.source
    for name in experiment.methods:
        method = methods.find(name, experiment.method)
        stored_parts = remembered(method)
        if stored_parts and (source.dynamics or source.heads):
            raise InputError(
                f"{where}: source: {', '.join(stored_parts)} can be copied from a source of one task alone"
            )
        if REPLAY not in stored_parts:
            continue
        if not isinstance(hyperparameters, OffPolicyHyperparameters) or source.variants or source.randomise:
            raise InputError(f"{where}: a replay can be copied from SAC or TD3, trained on source.env alone")
        if (
            method.keep.get(REPLAY, 1.0) * min(source.steps or 0, hyperparameters.buffer_size)
            >= hyperparameters.buffer_size
        ):
            raise InputError(
                f"{where}: method '{name}': the source's transitions would fill a replay of "
                f"{hyperparameters.buffer_size:,}: keep a share of them (keep = {{ replay = 0.1 }}), "
                "or give a larger buffer_size"
            )


def _own_reference(experiment: Experiment) -> ReferenceOptions | None:
    return experiment.reference if isinstance(experiment.reference, ReferenceOptions) else None


def _check_tune(where: str, experiment: Experiment) -> None:
    if experiment.tune is None:
        return
    taken = dict.fromkeys(experiment.seeds, "seeds")
    if reference := _own_reference(experiment):
        taken |= dict.fromkeys(reference.seeds, "reference.seeds")
    for env in experiment.target.envs:
        tuning_keys.check(where, experiment.tune, taken, experiment.hyperparameters_of(env))


def _check_names(where: str, experiment: Experiment) -> None:
    """Refuse names that stand twice, or that would be other folders than one of the experiment's own."""
    if not experiment.question.replace("\n", " ").isprintable():
        raise InputError(f"{where}: question: holds a control character")
    for key, names in {"methods": experiment.methods, "method": experiment.method}.items():
        for name in names:
            if not content.is_plain(name):
                raise InputError(f"{where}: {key}: {name!r} is no name of a folder: {content.PLAIN_RULE}")
    reference = _own_reference(experiment)
    apart = reference.seeds if reference else ()
    for key, values in {"methods": experiment.methods, "seeds": experiment.seeds, "reference.seeds": apart}.items():
        if len(set(values)) < len(values):
            raise InputError(f"{where}: {key}: {list(values)} names one twice")
    if shared := sorted(set(apart) & set(experiment.seeds)):
        raise InputError(f"{where}: reference.seeds: {shared} are seeds that methods are compared on; take others")


def _check_matrix(where: str, experiment: Experiment) -> None:
    """Refuse sources of a matrix that stand twice, or whose price differs where a method is charged one."""
    source = experiment.source
    if bool(source.env) == bool(source.envs):
        raise InputError(f"{where}: source: give either env, or envs for a matrix from each source to each target")
    if len(set(source.envs)) < len(source.envs):
        raise InputError(f"{where}: source.envs: {list(source.envs)} names one twice")
    if len(set(source.physics)) < len(source.physics):
        raise InputError(f"{where}: source.physics: {list(source.physics)} names one twice")
    if source.physics and source.shipped:
        raise InputError(f"{where}: source.physics: shipped policies are trained already, whatever in")
    if source.physics and experiment.tune:
        raise InputError(f"{where}: source.physics: a search takes sources of the targets' physics")
    if source.envs and experiment.tune:
        raise InputError(f"{where}: source.envs: a search takes one source; tune with source.env")
    charged = [name for name in experiment.methods if methods.find(name, experiment.method).head_start]
    if source.envs and source.shipped and charged:
        raise InputError(f"{where}: methods: '{charged[0]}' is charged one source's steps, and source.envs has several")


def _check_source(where: str, experiment: Experiment) -> None:
    source = experiment.source
    for env in experiment.sources:
        if env.startswith(FOREIGN) and (source.variants or source.randomise):
            key = "variants" if source.variants else "randomise"
            raise InputError(f"{where}: source.{key}: '{env}' is of another package: its source is trained on it alone")
    if source.variants and source.randomise:
        raise InputError(f"{where}: source: give either variants or randomise")
    for env in experiment.sources if source.randomise else ():
        with located(f"{where}: source.randomise"):
            ranges = table_ranges(env) if source.randomise is True else source.randomise
        draws(Randomisation(ranges=ranges, schedule=source.schedule), f"{where}: source.randomise")
    if source.schedule and not source.randomise:
        raise InputError(f"{where}: source.schedule: widens ranges, and source.randomise has none")
    for variant in source.variants:
        _check_envs(where, "source.variants", [f"{env}.{variant}" for env in experiment.sources])


def _check_shipped(where: str, experiment: Experiment) -> None:
    """Refuse a source that is neither trained nor shipped, or said to be both."""
    source = experiment.source
    if source.shipped != (source.steps is None):
        raise InputError(f"{where}: source: give steps to train policies, or shipped = true to take those of policies/")
    if source.shipped and (source.variants or source.randomise or source.heads or source.dynamics or source.every):
        raise InputError(f"{where}: source: shipped policies are trained already: only env can be given with them")
    stored_parts = {
        name for method in experiment.methods for name in remembered(methods.find(method, experiment.method))
    }
    if source.shipped and stored_parts:
        raise InputError(
            f"{where}: source: shipped policies keep no {', '.join(sorted(stored_parts))}; give steps to train some"
        )
