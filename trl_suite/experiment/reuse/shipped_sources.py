"""Source runs that are taken from `policies/` instead of being trained; all that reads runs finds them as any other."""

from collections.abc import Sequence
from pathlib import Path

from trl_suite import content, files, record
from trl_suite.errors import InputError
from trl_suite.experiment import policy_library
from trl_suite.experiment.planning.grid import Step
from trl_suite.experiment.running import run_state
from trl_suite.experiment.running.run_state import EVALUATIONS, RUN
from trl_suite.networks import store
from trl_suite.networks.card import Card
from trl_suite.record import Run

ENGINE = "shipped"  # stands in the record for the engine that made the run


def is_shipped(step: Step) -> bool:
    """Return whether a step stands for a policy that is there already."""
    return "policy" in step.specification


def take(root: Path, experiment: str, steps: Sequence[Step]) -> None:
    """Make the run folders of all shipped policies that a plan asks for; those that are there stay.

    Args:
        root: the experiment's folder.
        experiment: its name.
        steps: of the plan.

    Raises:
        InputError: a policy is gone or is no longer the one that was planned.
    """
    for step in filter(is_shipped, steps):
        if run_state.read(root / step.planned.folder, step.digest).condition == "waiting":
            _take(root / step.planned.folder, experiment, step)


def _take(folder: Path, experiment: str, step: Step) -> None:
    """Copy one policy; the record comes last, so that a folder with a record is whole."""
    wanted = step.specification["policy"]
    policy = content.find("policies", wanted["name"])
    card = store.read_card(policy)
    if card.sha256 != wanted["sha256"]:
        raise InputError(f"{policy}: is not the policy that the run was made with ({wanted['sha256'][:10]})")
    with files.storing(folder):
        policy_library.copy(policy, folder / policy_library.POLICY)
        files.write_atomically(folder / EVALUATIONS, (policy / policy_library.CURVE).read_bytes())
        files.write_atomically(folder / RUN, record.encode(_record(experiment, step, card)))


def _record(experiment: str, step: Step, card: Card) -> Run:
    """Return the record of the training as the policy's card tells it."""
    planned, training = step.planned, card.training
    return Run(
        experiment=experiment,
        role=planned.role,
        env=planned.env,
        method=planned.method,
        algorithm=card.algorithm,
        seed=planned.seed,
        steps=training.steps,
        digest=step.digest,
        specification=step.specification,
        status="done",
        seconds=training.seconds,
        engine=ENGINE,
        versions=training.versions,
        commit=training.commit,
        dirty=training.dirty,
    )
