"""From a specification to the runs that it asks for, each with a readable name and a digest that decides identity."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from trl_suite import record
from trl_suite.experiment import policy_library
from trl_suite.experiment.running.run_state import digest_of
from trl_suite.experiment.specification.experiment_file import Experiment, Source
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.replay import remembered
from trl_suite.networks.card import Card
from trl_suite.networks.policy import Policy
from trl_suite.record import SCRATCH, SOURCE, Planned
from trl_suite.training import settings
from trl_suite.training.seeds import seed_for
from trl_suite.training.training_run import TrainingRun
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
    return _Planner(experiment).steps()


def plan(name: str, experiment: Experiment, command: str, made: Sequence[Step] | None = None) -> record.Plan:
    """Return what the report needs to know of the experiment besides its runs.

    Args:
        name: of the experiment.
        experiment: its specification.
        command: how to make it again.
        made: its steps, where they are known already.
    """
    return record.Plan(
        name=name,
        question=experiment.question,
        command=command,
        runs=tuple(step.planned for step in made or steps(experiment)),
        every=experiment.evaluation.every,
        episodes=experiment.evaluation.episodes,
        specification=msgspec.to_builtins(experiment),
    )


def step_of(run: record.Run, folder: str) -> Step:
    """Return the step that a recorded run was made by.

    Args:
        run: the record.
        folder: of the run, relative to its experiment's.
    """
    planned = Planned(folder=folder, role=run.role, env=run.env, method=run.method, seed=run.seed, source=run.source)
    return Step(
        planned=planned,
        digest=run.digest,
        specification=run.specification,
        steps=run.steps,
        evaluation=msgspec.convert(run.specification["evaluation"], settings.Evaluation),
        definition=msgspec.convert(run.specification["method"], Method),
    )


def job_of(step: Step, source: Policy | None) -> TrainingRun:
    """Return the training that a step asks for.

    Args:
        step: of a plan.
        source: the policy that its source run has left; None where it needs none, or none is there yet.
    """
    specification = step.specification
    return TrainingRun(
        env=step.planned.env,
        hyperparameters=msgspec.convert(
            specification["hyperparameters"], settings.BY_ALGORITHM[specification["algorithm"]]
        ),
        seed=step.planned.seed,
        steps=specification["steps"],
        evaluation=step.evaluation,
        method=step.planned.method,
        definition=step.definition,
        source=source,
        alias=specification["alias"],
        training_variants=tuple(specification["mix"]),
        source_training=msgspec.convert(specification.get("upbringing", {}), settings.SourceTraining),
        head_start=specification.get("head_start", 0),
    )


class _Planner:
    """Looks every env and method up once, however many runs there are."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._hyperparameters = msgspec.to_builtins(experiment.hyperparameters)
        self._methods = {name: methods.find(name, experiment.method) for name in experiment.methods}
        self._tables = {name: _acting(method) for name, method in self._methods.items()}
        self._worlds = {env: identity(env) for env in (*experiment.sources, *experiment.target.envs)}

    def steps(self) -> list[Step]:
        experiment = self._experiment
        planned: list[Step] = []
        needed = any(method.needs_source for method in self._methods.values())
        for seed in experiment.seeds:
            sources = {env: self._source(env, seed) for env in experiment.sources} if needed else {}
            planned += sources.values()
            planned += [
                self._target(env, name, seed, sources.get(experiment.source_of(env)))
                for env in experiment.target.envs
                for name in experiment.methods
            ]
        return planned + self._references()

    def _references(self) -> list[Step]:
        """Return the scratch runs of their own seeds; they come last, because no pair waits for them."""
        target, wanted = self._experiment.target, self._experiment.reference
        if wanted is None:
            return []
        return [
            self._step(
                Planned(folder="", role="reference", env=env, method=SCRATCH, seed=seed),
                wanted.steps or target.steps,
                self._experiment.evaluation,
                Method(),
                {},
            )
            for seed in wanted.seeds
            for env in target.envs
        ]

    def _source(self, env: str, seed: int) -> Step:
        source = self._experiment.source
        planned = Planned(folder="", role="source", env=env, method=SOURCE, seed=seed)
        if source.shipped:
            return self._shipped(planned)
        budget = self._budget(env, seed)
        evaluation = msgspec.structs.replace(self._experiment.evaluation, every=source.every or -(-budget // 10))
        own = {"mix": _mix(source, env, seed, self._experiment.hyperparameters.n_envs)} | self._upbringing()
        return self._step(planned, budget, evaluation, Method(), own)

    def _shipped(self, planned: Planned) -> Step:
        """Return the step that stands for a policy which is there already."""
        card = self._card(planned.env, planned.seed)
        name = policy_library.name(planned.env, card.algorithm, planned.seed)
        own = {"hyperparameters": card.training.hyperparameters, "policy": {"name": name, "sha256": card.sha256}}
        return self._step(planned, card.training.steps, self._experiment.evaluation, Method(), own)

    def _budget(self, env: str, seed: int) -> int:
        """Return the env steps that a source policy costs."""
        return self._experiment.source.steps or self._card(env, seed).training.steps

    def _card(self, env: str, seed: int) -> Card:
        return policy_library.card(env, self._experiment.algorithm, seed)

    def _upbringing(self) -> dict[str, Any]:
        """Return what is special about the source's training; nothing where nothing is, as in runs made before."""
        source, definitions = self._experiment.source, self._methods.values()
        kept = {name for definition in definitions for name in remembered(definition)}
        found = settings.SourceTraining(heads=source.heads, dynamics=source.dynamics, keep=tuple(sorted(kept)))
        return {"upbringing": msgspec.to_builtins(found)} if found != settings.SourceTraining() else {}

    def _target(self, env: str, name: str, seed: int, source: Step | None) -> Step:
        definition = self._methods[name]
        planned, own = Planned(folder="", role="target", env=env, method=name, seed=seed), {}
        if definition.head_start:
            own = {"head_start": self._budget(self._experiment.source_of(env), seed)}
        if source and definition.needs_source:
            planned = msgspec.structs.replace(planned, source=source.planned.folder)
            own = {"alias": self._experiment.alias, "source": source.digest}
        return self._step(planned, self._experiment.target.steps, self._experiment.evaluation, definition, own)

    def _step(
        self,
        planned: Planned,
        budget: int,
        evaluation: settings.Evaluation,
        definition: Method,
        own: dict[str, Any],
    ) -> Step:
        """Return the step with the digest and the folder that its specification gives it."""
        specification: dict[str, Any] = {
            "schema": record.SCHEMA,
            "role": planned.role,
            "env": planned.env,
            "world": self._worlds[planned.env],
            "algorithm": self._experiment.algorithm,
            "hyperparameters": self._hyperparameters,
            "seed": planned.seed,
            "steps": budget,
            "evaluation": msgspec.to_builtins(evaluation),
            "method": self._tables.get(planned.method) or _acting(definition),
            "alias": {},
            "source": "",
            "mix": [],
            **own,
        }
        if self._experiment.engine != "auto":  # asked for by name it is part of a run: the engines' noise differs
            specification["engine"] = self._experiment.engine
        if self._experiment.physics != "auto":
            specification["physics"] = self._experiment.physics
        digest = digest_of(specification)
        kind = planned.role if planned.role == "reference" else planned.method
        folder = f"{folder_name(planned.env)}/{kind}/seed-{planned.seed}--{digest[:10]}"
        return Step(
            planned=msgspec.structs.replace(planned, folder=folder),
            digest=digest,
            specification=specification,
            steps=budget + own.get("head_start", 0),
            evaluation=evaluation,
            definition=definition,
        )


def _acting(method: Method) -> dict[str, Any]:
    """Return what the method does, without what only describes it."""
    return msgspec.to_builtins(msgspec.structs.replace(method, summary=""))


def _mix(source: Source, env: str, seed: int, worlds: int) -> list[str]:
    """Return the addresses of the source's training worlds; empty where all are the env as it is."""
    if source.variants:
        return [f"{env}.{variant}" for variant in source.variants]
    if not source.randomise:
        return []
    generator = np.random.default_rng(seed_for(seed, "domain"))
    return [_drawn(source, env, generator) for _ in range(worlds)]


def _drawn(source: Source, env: str, generator: np.random.Generator) -> str:
    scales = {
        axis: round(float(np.exp(generator.uniform(np.log(low), np.log(high)))), 4)
        for axis, (low, high) in source.randomise.items()
    }
    return f"{env}?" + "&".join(f"{axis}={scale}" for axis, scale in scales.items())
