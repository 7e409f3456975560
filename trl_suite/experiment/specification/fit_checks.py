"""Checks of an experiment's envs and methods by making them: each env once, each method once on blank networks."""

from collections.abc import Iterator

from trl_suite import content
from trl_suite.errors import InputError, located
from trl_suite.experiment import policy_library
from trl_suite.experiment.specification import task_sequences
from trl_suite.experiment.specification.experiment_keys import Experiment
from trl_suite.experiment.specification.task_sequences import stage_method
from trl_suite.interface import Spaces
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.source_replay import remembered
from trl_suite.networks.policy import Policy
from trl_suite.networks.policy import load as load_policy
from trl_suite.training.policy_import import trainable_spaces
from trl_suite.training.rehearsal import blank_source, packed_source, rehearse
from trl_suite.training.training_run import TrainingRun


def check_fit(where: str, experiment: Experiment) -> None:
    """Refuse an env that cannot be made, and a method that does not fit its source and target.

    Raises:
        InputError: file, key, env or method are named.
    """
    places: dict[str, Spaces] = {}
    for key, envs in (
        ("source.env" if experiment.source.env else "source.envs", experiment.sources),
        ("target.envs", experiment.target.envs),
    ):
        for env in envs:
            if env not in places:
                with located(f"{where}: {key}"):
                    places[env] = trainable_spaces(env)
    if experiment.sequence:
        task_sequences.check_slots(where, experiment)
    sources: dict[str, Policy] = {}
    for source, target in _pairs(experiment, places):
        for name in experiment.methods:
            with located(f"{where}: methods: {name}, from {source} to {target}"):
                _check_method(experiment, name, source, target, sources)


def _pairs(experiment: Experiment, places: dict[str, Spaces]) -> Iterator[tuple[str, str]]:
    """Yield source and target of each pair of interfaces; targets that differ in numbers alone are one."""
    seen: set[tuple[str, str]] = set()
    stages = experiment.sequence.stages if experiment.sequence else ()
    for target in experiment.target.envs:
        for source in experiment.sources_of(target) or stages[:1]:
            pair = (places[source].interface.digest(), places[target].interface.digest())
            if pair not in seen:
                seen.add(pair)
                yield source, target


def _check_method(experiment: Experiment, name: str, source: str, target: str, sources: dict[str, Policy]) -> None:
    method, algorithm = stage_method(experiment, name), experiment.algorithm
    places = ("sb3",) if experiment.engine == "sb3" else ("sb3", "cohort")
    refusals = [methods.refusal(place, method, algorithm) for place in places]
    if all(refusals):
        raise InputError(refusals[0])
    if method.needs_source and source not in sources:
        sources[source] = _source(experiment, source)
    policy = sources[source] if method.needs_source else None
    if experiment.sequence and method.packing and policy:  # the last stage is the one that may find nothing free
        policy = packed_source(policy, method, len(experiment.sequence.stages) - 1)
    rehearse(
        TrainingRun(
            env=target,
            hyperparameters=experiment.hyperparameters_of(target),
            seed=0,
            steps=experiment.target.steps,
            evaluation=experiment.evaluation,
            method=name,
            definition=method,
            source=policy,
            alias=experiment.alias,
        )
    )


def _source(experiment: Experiment, env: str) -> Policy:
    """Policy like those that the experiment's sources will be, or one of the shipped ones."""
    if experiment.source.shipped:
        name = policy_library.name(env, experiment.algorithm, experiment.seeds[0])
        return load_policy(content.find_shipped("policies", name))
    definitions = [methods.find(name, experiment.method) for name in experiment.methods]
    stored = sorted({part for definition in definitions for part in remembered(definition)})
    return blank_source(env, experiment.hyperparameters_of(env), stored)
