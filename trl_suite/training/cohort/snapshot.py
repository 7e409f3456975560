"""Taking a member out of its cohort at the start of a rollout, and putting it into another one."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.training.cohort.cohort import Cohort
from trl_suite.training.job import Snapshot

Arrays = dict[str, npt.NDArray[Any]]
WORLDS, EPISODES = "worlds.", "episodes."


def take(cohort: Cohort, index: int, step: int, measured: int) -> Snapshot:
    """Return all that a member needs to go on exactly: noise has no state, and its anchors follow from its source.

    Args:
        cohort: between two rollouts.
        index: the member.
        step: env steps that it has made.
        measured: points of the evaluation grid that were measured.
    """
    member = cohort.members[index]
    arrays = {name: value[:, index].cpu().numpy() for name, value in _by_row(cohort).items()}
    arrays |= {name: value[index] for name, value in _by_member(cohort).items()}
    arrays["seen"] = cohort.collector.seen[index].cpu().numpy()
    arrays["count"], arrays["warming"] = cohort.learner.adam.count[:, index], cohort.learner.adam.warming[:, index]
    arrays |= {EPISODES + name: np.asarray(value) for name, value in cohort.collector.episodes.state(index).items()}
    arrays |= {WORLDS + name: value for name, value in cohort.worlds.batch.state(_worlds(cohort, index)).items()}
    facts = {
        "measured": measured,
        "last": member.last,
        "holding": member.holding.state(),
        "seconds": member.seconds,
    }
    return Snapshot(step=step, arrays={name: value.copy() for name, value in arrays.items()}, facts=facts)


def put(cohort: Cohort, index: int, snapshot: Snapshot) -> None:
    """Put a member where the snapshot found it."""
    arrays = snapshot.arrays
    for name, value in _by_row(cohort).items():
        value[:, index] = torch.as_tensor(arrays[name])
    for name, value in _by_member(cohort).items():
        value[index] = arrays[name]
    cohort.collector.seen[index] = torch.as_tensor(arrays["seen"])
    cohort.learner.adam.count[:, index], cohort.learner.adam.warming[:, index] = arrays["count"], arrays["warming"]
    cohort.learner.adam.resumed()
    cohort.collector.episodes.restore(index, _below(EPISODES, arrays))
    cohort.worlds.batch.restore(_worlds(cohort, index), _below(WORLDS, arrays))
    cohort.members[index].goes_on(snapshot)
    cohort.hold()


def _by_row(cohort: Cohort) -> dict[str, torch.Tensor]:
    adam = cohort.learner.adam
    return {"parameters": cohort.stack.flat, "mean": adam.mean, "square": adam.square}  # (rows, members, ...)


def _by_member(cohort: Cohort) -> Arrays:
    """Return the live arrays that have a row per member (members, ...)."""
    return {"begins": cohort.collector.begins, **cohort.normaliser.arrays()}


def _worlds(cohort: Cohort, index: int) -> range:
    return range(index * cohort.how.n_envs, (index + 1) * cohort.how.n_envs)


def _below(prefix: str, arrays: Any) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
