"""The folder `policies/`: what a policy is called there, and how one comes from an experiment's runs."""

from pathlib import Path

from trl_suite import content, files, record
from trl_suite.errors import InputError
from trl_suite.experiment.running import run_state
from trl_suite.experiment.running.run_state import PLAN, RUN
from trl_suite.networks import store
from trl_suite.networks.card import Card
from trl_suite.record import SCRATCH, Plan, PlannedRun, RunRecord
from trl_suite.worlds.identity import folder_name

POLICY, CURVE = "policy", "curve.csv"
ALONG = "along"  # of a run whose networks are measured: the policy of each evaluation, by step, until they were
FILES = (store.CARD, store.WEIGHTS, CURVE)


def name(env: str, algorithm: str, seed: int) -> str:
    """Return the name of a policy: `half-cheetah-ppo-seed-0`."""
    return f"{folder_name(env)}-{algorithm}-seed-{seed}"


def card(env: str, algorithm: str, seed: int) -> Card:
    """Return the card of a policy of the library; one that the suite ships goes before the workspace's of that name.

    Raises:
        InputError: there is none, or it is of another env, algorithm or seed than its name says.
    """
    folder = content.find_shipped("policies", name(env, algorithm, seed))
    card_ = store.read_card(folder)
    said, is_ = (env, algorithm, seed), (card_.training.env, card_.algorithm, card_.training.seed)
    if said != is_:
        raise InputError(f"{folder}: its card says {' '.join(map(str, is_))}, which is not what its name says")
    return card_


def add(runs: Path, library: Path) -> list[Path]:
    """Copy an experiment's source policies into a library, or those from scratch where it has no source.

    Returns those that were not there.

    Args:
        runs: the experiment's folder.
        library: usually the workspace's `policies/`.

    Raises:
        InputError: there is no plan, or another policy has the place of one already.
    """
    plan = record.decode(runs / PLAN, Plan)
    sources = [planned for planned in plan.runs if planned.role == "source"]
    chosen_runs = sources or [planned for planned in plan.runs if planned.method == SCRATCH]
    done = [planned for planned in chosen_runs if run_state.read(runs / planned.folder).condition == "done"]
    return [placed for planned in done if (placed := _placed(runs / planned.folder, planned, library))]


def copy(policy: Path, into: Path) -> None:
    """Copy a policy's files; the card comes last, so that a folder with a card is whole."""
    into.mkdir(parents=True, exist_ok=True)
    for file in reversed(FILES):
        files.write_atomically(into / file, (policy / file).read_bytes())


def _placed(run: Path, planned: PlannedRun, library: Path) -> Path | None:
    """Return where a run's policy was put; None where it is there already, or is none of a single env."""
    record_ = record.decode(run / RUN, RunRecord)
    if record_.specification.get("training_variants") or planned.role == "reference":
        return None
    place, card_ = library / name(planned.env, record_.algorithm, planned.seed), store.read_card(run / POLICY)
    if not (place / store.CARD).is_file():
        copy(run / POLICY, place)
        return place
    if store.read_card(place).sha256 != card_.sha256:
        raise InputError(f"{place}: another policy is there already; remove it, or choose another workspace")
    return None
