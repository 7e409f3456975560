"""From a specification to the runs that it asks for, each with a readable name and a digest that decides identity."""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from trl_suite import record
from trl_suite.experiment.spec import Experiment, Source
from trl_suite.networks import methods
from trl_suite.networks.methods import Method
from trl_suite.record import SCRATCH, SOURCE, Planned, Role
from trl_suite.training import settings
from trl_suite.training.seeds import seed_for
from trl_suite.worlds.identity import folder_name, identity


@dataclass(frozen=True, kw_only=True)
class Step:
    """One run of the plan with all that it takes to make it."""

    planned: Planned
    digest: str
    specification: dict[str, Any]
    steps: int
    evaluation: settings.Evaluation
    definition: Method


def steps(experiment: Experiment) -> list[Step]:
    """Return all runs: a run's source stands before it, and seeds come in order, so that pairs are complete early."""
    planned: list[Step] = []
    needed = any(methods.find(name, experiment.method).needs_source for name in experiment.methods)
    for seed in experiment.seeds:
        source = _source(experiment, seed) if needed else None
        planned += [source] if source else []
        planned += [
            _target(experiment, env, name, seed, source)
            for env in experiment.target.envs
            for name in experiment.methods
        ]
    return planned + _references(experiment)


def plan(name: str, experiment: Experiment, command: str) -> record.Plan:
    """Return what the report needs to know of the experiment besides its runs."""
    return record.Plan(
        name=name,
        question=experiment.question,
        command=command,
        runs=tuple(step.planned for step in steps(experiment)),
        every=experiment.evaluation.every,
        episodes=experiment.evaluation.episodes,
        specification=msgspec.to_builtins(experiment),
    )


def _source(experiment: Experiment, seed: int) -> Step:
    source = experiment.source
    evaluation = msgspec.structs.replace(experiment.evaluation, every=source.every or -(-source.steps // 10))
    mix = _mix(source, seed, experiment.how.n_envs)
    return _step(experiment, "source", source.env, SOURCE, seed, source.steps, evaluation, Method(), None, mix)


def _mix(source: Source, seed: int, worlds: int) -> list[str]:
    """Return the addresses of the source's training worlds; empty where all are the env as it is."""
    if source.variants:
        return [f"{source.env}.{variant}" for variant in source.variants]
    if not source.randomise:
        return []
    generator = np.random.default_rng(seed_for(seed, "domain"))
    return [_drawn(source, generator) for _ in range(worlds)]


def _drawn(source: Source, generator: np.random.Generator) -> str:
    scales = {
        axis: round(float(np.exp(generator.uniform(np.log(low), np.log(high)))), 4)
        for axis, (low, high) in source.randomise.items()
    }
    return f"{source.env}?" + "&".join(f"{axis}={scale}" for axis, scale in scales.items())


def _target(experiment: Experiment, env: str, name: str, seed: int, source: Step | None) -> Step:
    definition = methods.find(name, experiment.method)
    origin = source if definition.needs_source else None
    target = experiment.target
    return _step(experiment, "target", env, name, seed, target.steps, experiment.evaluation, definition, origin)


def _references(experiment: Experiment) -> list[Step]:
    """Return the scratch runs of their own seeds; they come last, because no pair waits for them."""
    if (wanted := experiment.reference) is None:
        return []
    steps = wanted.steps or experiment.target.steps
    return [
        _step(experiment, "reference", env, SCRATCH, seed, steps, experiment.evaluation, Method(), None)
        for seed in wanted.seeds
        for env in experiment.target.envs
    ]


def _step(
    experiment: Experiment,
    role: Role,
    env: str,
    method: str,
    seed: int,
    budget: int,
    evaluation: settings.Evaluation,
    definition: Method,
    source: Step | None,
    mix: list[str] | None = None,
) -> Step:
    specification = {
        "schema": record.SCHEMA,
        "role": role,
        "env": env,
        "world": identity(env),
        "algorithm": experiment.algorithm,
        "hyperparameters": msgspec.to_builtins(experiment.how),
        "seed": seed,
        "steps": budget,
        "evaluation": msgspec.to_builtins(evaluation),
        "method": msgspec.to_builtins(msgspec.structs.replace(definition, summary="")),
        "alias": experiment.alias if source else {},
        "source": source.digest if source else "",
        "mix": mix or [],
    }
    digest = hashlib.sha256(msgspec.json.encode(specification, order="deterministic")).hexdigest()
    planned = Planned(
        folder=f"{folder_name(env)}/{role if role == 'reference' else method}/seed-{seed}--{digest[:10]}",
        role=role,
        env=env,
        method=method,
        seed=seed,
        source=source.planned.folder if source else "",
    )
    return Step(
        planned=planned,
        digest=digest,
        specification=specification,
        steps=budget,
        evaluation=evaluation,
        definition=definition,
    )
