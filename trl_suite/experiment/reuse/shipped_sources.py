"""Source runs that stand for policies which are there already; all that reads runs finds them as any other."""

from collections.abc import Sequence
from pathlib import Path

from trl_suite import content, files, record
from trl_suite.errors import InputError
from trl_suite.experiment import policy_library
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.running import run_state
from trl_suite.experiment.running.run_state import EVALUATIONS, RUN
from trl_suite.networks import store
from trl_suite.networks.card import Card
from trl_suite.record import RunRecord

ENGINE = "shipped"  # stands in the record for the engine that made the run


def is_shipped(spec: RunSpec) -> bool:
    """Return whether a step stands for a policy that is there already."""
    return "policy" in spec.specification


def take(root: Path, experiment: str, specs: Sequence[RunSpec]) -> None:
    """Make the run folders of all shipped policies that a plan asks for; those that are there stay.

    Args:
        root: the experiment's folder.
        experiment: its name.
        specs: of the plan.

    Raises:
        InputError: a policy is gone or is no longer the one that was planned.
    """
    for spec in filter(is_shipped, specs):
        if run_state.read(root / spec.folder, spec.digest).condition == "waiting":
            _take(root / spec.folder, experiment, spec)


def _take(folder: Path, experiment: str, spec: RunSpec) -> None:
    """Copy one policy; the record comes last, so that a folder with a record is whole."""
    policy_identity = spec.specification["policy"]
    policy = content.find_shipped("policies", policy_identity["name"])
    card = store.read_card(policy)
    if card.sha256 != policy_identity["sha256"]:
        raise InputError(f"{policy}: is not the policy that the run was made with ({policy_identity['sha256'][:10]})")
    with files.storing(folder):
        policy_library.copy(policy, folder / policy_library.POLICY)
        files.write_atomically(folder / EVALUATIONS, (policy / policy_library.CURVE).read_bytes())
        files.write_atomically(folder / RUN, record.encode(_record(experiment, spec, card)))


def _record(experiment: str, spec: RunSpec, card: Card) -> RunRecord:
    """Return the record of the training as the policy's card tells it."""
    planned, training = spec.planned, card.training
    return RunRecord(
        experiment=experiment,
        role=planned.role,
        env=planned.env,
        method=planned.method,
        algorithm=card.algorithm,
        seed=planned.seed,
        steps=training.steps,
        digest=spec.digest,
        specification=spec.specification,
        status="done",
        seconds=training.seconds,
        engine=ENGINE,
        versions=training.versions,
        commit=training.commit,
        dirty=training.dirty,
    )
