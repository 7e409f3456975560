"""One planned run: its readable name, the specification that it is trained to, and the digest that decides identity."""

from dataclasses import dataclass
from typing import Any

import msgspec

from trl_suite.algorithms.registry import find
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.policy import Policy
from trl_suite.record import PlannedRun, Role, RunRecord, SourcePhysics
from trl_suite.training import settings
from trl_suite.training.training_run import TrainingRun


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """A run that an experiment asks for, with all that it takes to train it."""

    folder: str  # relative to the experiment's: `half-cheetah.gravity-1.5/finetune/seed-0--3fa9c1d2e0`
    role: Role
    env: str  # address
    method: str
    seed: int
    source: str = ""  # folder of the source run
    digest: str  # of the specification
    specification: dict[str, Any]
    steps: int  # budget in env steps, with those of a head start
    evaluation: settings.Evaluation
    definition: Method
    cell: str = ""  # values of the factors that have several
    physics: SourcePhysics = ""  # of a source, where the experiment says it
    preset: str = ""  # where the hyperparameters come from

    @property
    def planned(self) -> PlannedRun:
        """The run's line in `plan.json`."""
        return PlannedRun(
            folder=self.folder,
            role=self.role,
            env=self.env,
            method=self.method,
            seed=self.seed,
            source=self.source,
            cell=self.cell,
            physics=self.physics,
        )

    @property
    def title(self) -> str:
        """The run's name as a terminal shows it."""
        return f"{self.planned.target}  {self.method}  seed {self.seed}"


def spec_of_record(run: RunRecord, folder: str) -> RunSpec:
    """Return the specification that a recorded run was made by; its folder's name ends with its present digest.

    Args:
        run: the record.
        folder: of the run, relative to its experiment's.
    """
    return RunSpec(
        folder=f"{folder.rpartition('--')[0]}--{run.digest[:10]}",
        role=run.role,
        env=run.env,
        method=run.method,
        seed=run.seed,
        source=run.source,
        digest=run.digest,
        specification=run.specification,
        steps=run.steps,
        evaluation=msgspec.convert(run.specification["evaluation"], settings.Evaluation),
        definition=msgspec.convert(run.specification["method"], Method),
        preset=run.preset,
    )


def training_of(spec: RunSpec, source: Policy | None) -> TrainingRun:
    """Return the training that a run asks for.

    Args:
        spec: of the run.
        source: the policy that its source run has left; None where it needs none, or none is there yet.
    """
    table = spec.specification
    return TrainingRun(
        env=spec.env,
        hyperparameters=msgspec.convert(table["hyperparameters"], find(table["algorithm"]).hyperparameters),
        seed=spec.seed,
        steps=table["steps"],
        evaluation=spec.evaluation,
        method=spec.method,
        definition=spec.definition,
        source=source,
        alias=table["alias"],
        training_variants=tuple(table["training_variants"]),
        source_training=msgspec.convert(table.get("source_training", {}), settings.SourceTraining),
        head_start=table.get("head_start", 0),
        preset=spec.preset,
    )
