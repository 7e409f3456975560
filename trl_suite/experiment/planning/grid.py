"""The grid of runs that an experiment asks for: seeds x targets x methods, and a source policy for each seed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from trl_suite import record
from trl_suite.errors import InputError
from trl_suite.experiment import policy_library
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.specification.experiment_keys import (
    Experiment,
    ReferenceOptions,
    SequenceOptions,
    SourceOptions,
)
from trl_suite.experiment.specification.factors import cells
from trl_suite.experiment.specification.task_sequences import stage_method
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.source_replay import remembered
from trl_suite.networks.card import Card
from trl_suite.networks.components import REPLAY
from trl_suite.record import SCRATCH, SOURCE_METHOD, Plan, PlannedRun, Role, SourcePhysics
from trl_suite.training import settings
from trl_suite.training.reproducibility import seed_for
from trl_suite.worlds.address import Address, table_ranges
from trl_suite.worlds.axes.variation import Randomisation
from trl_suite.worlds.identity import folder_name, identity


def run_specs(experiment: Experiment) -> list[RunSpec]:
    """Return all runs: seeds x targets x methods.

    A run's source stands before it, and seeds come in order, so that pairs are complete early. Scratch runs of the
    reference's own seeds come last, because no pair waits for them.
    """
    planned: dict[str, RunSpec] = {}
    for cell, cell_experiment in cells(experiment).items():
        for spec in _cell_specs(cell_experiment):
            if spec.role != "source" and spec.folder in planned:
                raise InputError(f"{planned[spec.folder].cell} and {cell} plan the same runs: leave one of them out")
            planned.setdefault(spec.folder, replace(spec, cell=cell))
    return list(planned.values())


def _cell_specs(experiment: Experiment) -> list[RunSpec]:
    """Return the runs of an experiment with one value of each factor."""
    grid = Grid(experiment)
    if experiment.sequence:
        stages = [spec for seed in experiment.seeds for spec in grid.stages(experiment.sequence, seed)]
        return stages + grid.references()
    specs: list[RunSpec] = []
    for seed in experiment.seeds:
        sources = grid.sources(seed)
        specs += sources.values()
        for env in experiment.target.envs:
            for method in experiment.methods:
                specs += grid.targets(env, method, seed, sources)
    return specs + grid.references()


def plan_record(
    name: str,
    experiment: Experiment,
    command: str,
    specs: Sequence[RunSpec] | None = None,
    references: Mapping[str, Any] | None = None,
) -> Plan:
    """Return the plan: everything that the report needs of the experiment besides its runs' results.

    Args:
        name: of the experiment.
        experiment: its specification.
        command: how to make it again.
        specs: its runs, where they are there already.
        references: scales of the targets whose reference was measured before.
    """
    return Plan(
        name=name,
        question=experiment.question,
        command=command,
        runs=tuple(spec.planned for spec in (run_specs(experiment) if specs is None else specs)),
        every=experiment.evaluation.every,
        episodes=experiment.evaluation.episodes,
        specification=msgspec.to_builtins(experiment) | ({"references": dict(references)} if references else {}),
    )


class Grid:
    """The runs of an experiment's grid, one by one; every env and method is looked up once, however many there are."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._choices = experiment.choices
        self._methods = {name: stage_method(experiment, name) for name in experiment.methods}
        self._tables = {name: _acting(method) for name, method in self._methods.items()}
        self._needs_source = {name: method.needs_source for name, method in self._methods.items()}
        self._hyperparameters = {env: choice.hyperparameters.table() for env, choice in self._choices.items()}
        self._first_stages = {name: method.first_stage for name, method in self._methods.items()}
        self._env_specs = {env: identity(env) for env in (*experiment.sources, *experiment.target.envs)}

    def sources(self, seed: int) -> dict[str, RunSpec]:
        """Return the source runs of a seed by their env and physics; none where no method needs a source."""
        if not any(method.needs_source for method in self._methods.values()):
            return {}
        specs = [self._source(env, seed, kind) for env in self._experiment.sources for kind in self._source_physics]
        return {spec.planned.home: spec for spec in specs}

    @property
    def _source_physics(self) -> tuple[SourcePhysics, ...]:
        return self._experiment.source.physics or ("",)

    def targets(self, env: str, name: str, seed: int, sources: Mapping[str, RunSpec]) -> list[RunSpec]:
        """Return the runs of a method on a target: one for each source that it may have, an env in some physics."""
        if not self._needs_source[name]:
            return [self.target(env, name, seed, None)]
        envs = self._experiment.sources_of(env)
        return [self.target(env, name, seed, source) for source in sources.values() if source.env in envs]

    def stages(self, sequence: SequenceOptions, seed: int) -> list[RunSpec]:
        """Return a seed's runs of a sequence: each task from scratch, then each method's stages after the first.

        The first stage is the first task's scratch run, which all methods share but those that act in it too. A task's
        later visits have a role of their own: scratch has no run beside them.
        """
        scratch = {env: self.target(env, SCRATCH, seed, None) for env in sequence.tasks}
        specs = list(scratch.values())
        first, *later = sequence.stages
        for name in self._experiment.methods:
            if name == SCRATCH:
                continue
            visited, stage = {first}, self._first_stage(first, name, seed, scratch[first])
            specs += [stage] if stage is not scratch[first] else []
            for env in later:
                stage = self.target(env, name, seed, stage, role="revisit" if env in visited else "target")
                visited.add(env)
                specs.append(stage)
        return specs

    def _first_stage(self, env: str, name: str, seed: int, scratch: RunSpec) -> RunSpec:
        """Return the run that a method's second stage starts from."""
        definition = self._first_stages[name]
        if definition == Method():
            return scratch
        planned = PlannedRun(folder="", role="target", env=env, method=name, seed=seed)
        experiment = self._experiment
        return self._spec(planned, experiment.target.steps, experiment.evaluation, definition, {})

    def target(
        self,
        env: str,
        name: str,
        seed: int,
        source: RunSpec | None,
        values: Mapping[str, Any] | None = None,
        role: Role = "target",
    ) -> RunSpec:
        """Return the run of a method on a target.

        Args:
            env: the target.
            name: of the method.
            seed: of the run.
            source: the run of the source policy, where the seed has one.
            values: hyperparameters in place of those that the method was tuned to.
            role: of the run.
        """
        experiment, definition = self._experiment, self._methods[name]
        planned, extra = PlannedRun(folder="", role=role, env=env, method=name, seed=seed), {}
        if definition.head_start:
            extra = {"head_start": self._budget(experiment.source_of(env), seed)}
        if source and self._needs_source[name]:
            planned = msgspec.structs.replace(planned, source=source.folder)
            extra = {"alias": experiment.alias, "source": source.digest}
        if name == SCRATCH or definition.task_replay:
            extra |= self._stored()
        tuned = self._tuned(env, name) if values is None else values
        return self._spec(planned, experiment.target.steps, experiment.evaluation, definition, extra, tuned)

    def _stored(self) -> dict[str, Any]:
        """Return the key of a stage whose replay a method of the sequence takes from; empty without such a method."""
        counts = [method.task_replay for method in self._methods.values() if method.task_replay]
        if not counts:
            return {}
        options = settings.SourceTraining(keep=(REPLAY,), transitions=max(counts))
        return {"source_training": msgspec.to_builtins(options)}

    def _tuned(self, env: str, method: str) -> Mapping[str, Any]:
        """Hyperparameters that a search found for a method on a target; none without a search."""
        tuning = self._experiment.tuning
        return tuning.values(env, method) if tuning else {}

    def references(self) -> list[RunSpec]:
        """Return the scratch runs of the reference's own seeds."""
        experiment, reference = self._experiment, self._experiment.reference
        if not isinstance(reference, ReferenceOptions):
            return []
        steps = reference.steps or experiment.target.steps
        planned = [
            PlannedRun(folder="", role="reference", env=env, method=SCRATCH, seed=seed)
            for seed in reference.seeds
            for env in experiment.target.envs
        ]
        return [
            self._spec(run, steps, experiment.evaluation, Method(), {}, self._tuned(run.env, SCRATCH))
            for run in planned
        ]

    def _source(self, env: str, seed: int, physics: SourcePhysics) -> RunSpec:
        experiment, source = self._experiment, self._experiment.source
        planned = PlannedRun(folder="", role="source", env=env, method=SOURCE_METHOD, seed=seed, physics=physics)
        if source.shipped:
            return self._shipped(planned)
        budget = self._budget(env, seed)
        evaluation = msgspec.structs.replace(experiment.evaluation, every=source.every or -(-budget // 10))
        extra = {"training_variants": _training_variants(source, env, seed)} | self._source_training()
        return self._spec(planned, budget, evaluation, Method(), extra)

    def _shipped(self, planned: PlannedRun) -> RunSpec:
        """Return the run that stands for a policy which is there already."""
        card = self._card(planned.env, planned.seed)
        name = policy_library.name(planned.env, card.algorithm, planned.seed)
        extra = {"hyperparameters": card.training.hyperparameters, "policy": {"name": name, "sha256": card.sha256}}
        return self._spec(planned, card.training.steps, self._experiment.evaluation, Method(), extra)

    def _budget(self, env: str, seed: int) -> int:
        """Return the env steps that a source policy costs."""
        return self._experiment.source.steps or self._card(env, seed).training.steps

    def _card(self, env: str, seed: int) -> Card:
        return policy_library.card(env, self._experiment.algorithm, seed)

    def _source_training(self) -> dict[str, Any]:
        """Return the special options of the source's training; empty where there are none."""
        source, definitions = self._experiment.source, self._methods.values()
        stored = tuple(sorted({name for definition in definitions for name in remembered(definition)}))
        options = settings.SourceTraining(heads=source.heads, dynamics=source.dynamics, keep=stored)
        return {"source_training": msgspec.to_builtins(options)} if options != settings.SourceTraining() else {}

    def _table(self, name: str, definition: Method) -> dict[str, Any]:
        """Return the acting part of a run's method, that of each of the experiment's made once."""
        return self._tables[name] if definition is self._methods.get(name) else _acting(definition)

    def _spec(
        self,
        planned: PlannedRun,
        budget: int,
        evaluation: settings.Evaluation,
        definition: Method,
        extra: dict[str, Any],
        tuned: Mapping[str, Any] | None = None,
    ) -> RunSpec:
        """Return the run with the digest and the folder that its specification gives it."""
        choice = self._choices.get(planned.env)
        hyperparameters = self._hyperparameters[planned.env] if choice else {}
        if choice and tuned:
            choice = choice.tuned(tuned)
            hyperparameters = choice.hyperparameters.table()
        specification = self._specification(planned, budget, evaluation, definition, hyperparameters) | extra
        if planned.physics or self._experiment.physics != "auto":
            specification["physics"] = planned.physics or self._experiment.physics
        digest = record.digest_of(specification)
        kind = planned.role if planned.role == "reference" else planned.method
        return RunSpec(
            folder=f"{folder_name(planned.env)}/{kind}/seed-{planned.seed}--{digest[:10]}",
            role=planned.role,
            env=planned.env,
            method=planned.method,
            seed=planned.seed,
            source=planned.source,
            physics=planned.physics,
            digest=digest,
            specification=specification,
            steps=budget + extra.get("head_start", 0),
            evaluation=evaluation,
            definition=definition,
            preset=choice.preset if choice and "policy" not in extra else "",
        )

    def _specification(
        self,
        planned: PlannedRun,
        budget: int,
        evaluation: settings.Evaluation,
        definition: Method,
        hyperparameters: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the table that decides a run's results, apart from its source and physics."""
        specification: dict[str, Any] = {
            "schema": record.RECORD_SCHEMA,
            "role": planned.role,
            "env": planned.env,
            "env_spec": self._env_specs[planned.env],
            "algorithm": self._experiment.algorithm,
            "hyperparameters": hyperparameters,
            "seed": planned.seed,
            "steps": budget,
            "evaluation": msgspec.to_builtins(evaluation),
            "method": self._table(planned.method, definition),
            "alias": {},
            "source": "",
            "training_variants": [],
        }
        if self._experiment.engine != "auto":  # asked for by name it is part of a run: the engines' noise differs
            specification["engine"] = self._experiment.engine
        return specification


def _acting(method: Method) -> dict[str, Any]:
    """Return the acting part of the method, without what is said of it."""
    return msgspec.to_builtins(msgspec.structs.replace(method, summary="", paper=""))


def _training_variants(source: SourceOptions, env: str, seed: int) -> list[str]:
    """Addresses of the source's training envs: the variants, or a randomised one; none for the env itself.

    The pool of a randomised one lies where the run's seed puts it.

    Raises:
        InputError: the env's table has no ranges, where the source asks for them.
    """
    if source.variants:
        return [f"{env}.{variant}" for variant in source.variants]
    if not source.randomise:
        return []
    address = Address.parse(env)
    ranges = table_ranges(env) if source.randomise is True else source.randomise
    randomise = Randomisation(ranges=ranges, pool=source.pool, seed=seed_for(seed, "domain"), schedule=source.schedule)
    axes = dict(address.axes.axes()) | {"randomise": msgspec.to_builtins(randomise)}
    return [str(Address.of(address.env, address.variant, axes))]
