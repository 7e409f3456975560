"""Taking a member out of its cohort at the start of a rollout, and putting it into another one."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.errors import InputError
from trl_suite.training.cohort.cohort import Cohort
from trl_suite.training.training_run import Snapshot

Arrays = dict[str, npt.NDArray[Any]]
WORLDS, EPISODES = "worlds.", "episodes."


class CohortReader:
    """Snapshots of members at one step: what all members have in one tensor is read from the device once.

    Args:
        cohort: between two rollouts; it must not go on before all snapshots have been taken.
    """

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self._by_row = _by_row(cohort)
        self._by_member = _by_member(cohort)
        self._by_member |= {name: value.cpu().numpy() for name, value in cohort.algorithm.tensors().items()}

    def take(self, index: int, step: int, measured: int) -> Snapshot:
        """Return all that a member needs to go on exactly: noise has no state, and its anchors follow from its source.

        Args:
            index: the member.
            step: env steps that it has made.
            measured: points of the evaluation grid that were measured.
        """
        cohort, member, algorithm = self._cohort, self._cohort.members[index], self._cohort.algorithm
        arrays = {name: value[:, index] for name, value in self._by_row.items()}
        arrays |= {name: value[index] for name, value in self._by_member.items()}
        arrays |= {EPISODES + name: np.asarray(value) for name, value in algorithm.episodes.state(index).items()}
        arrays |= {WORLDS + name: value for name, value in cohort.worlds.batch.state(_worlds(cohort, index)).items()}
        remembered, segments = algorithm.memory(index)
        arrays |= remembered
        facts = {
            "measured": measured,
            "last": member.last,
            "freeze": member.freeze_schedule.state(),
            "callbacks": [callback.state() for callback in cohort.callbacks[index]],
            "seconds": member.seconds,
        }
        copies = {name: value.copy() for name, value in arrays.items()}
        return Snapshot(step=step, arrays=copies, facts=facts, segments=segments)


def put(cohort: Cohort, index: int, snapshot: Snapshot) -> None:
    """Put a member where the snapshot found it.

    Raises:
        InputError: the snapshot lacks what this version of the program keeps in one.
    """
    try:
        _put(cohort, index, snapshot)
    except KeyError as error:
        raise InputError(
            f"the checkpoint holds no {error}: another version of trl-suite made it; begin anew by removing it"
        ) from None


def _put(cohort: Cohort, index: int, snapshot: Snapshot) -> None:
    arrays, algorithm = snapshot.arrays, cohort.algorithm
    for name, adam in algorithm.optimisers.items():
        adam.count[:, index], adam.warming[:, index] = arrays[f"count.{name}"], arrays[f"warming.{name}"]
        adam.resumed()
    for name, value in _tensors(cohort).items():
        value[:, index] = torch.as_tensor(arrays[name])
    for name, value in _by_member(cohort).items():
        value[index] = arrays[name]
    for name, value in algorithm.tensors().items():
        value[index] = torch.as_tensor(arrays[name])
    algorithm.remember(index, arrays, snapshot.segments)
    algorithm.episodes.restore(index, _below(EPISODES, arrays))
    cohort.worlds.batch.restore(_worlds(cohort, index), _below(WORLDS, arrays))
    cohort.members[index].resume(snapshot)
    for callback, state in zip(cohort.callbacks[index], snapshot.facts["callbacks"], strict=True):
        callback.restore(state)
    cohort.hold()


def _tensors(cohort: Cohort) -> dict[str, torch.Tensor]:
    """Return parameters and moments, in place (rows, members, ...)."""
    tensors = {f"parameters.{name}": stack.flat for name, stack in cohort.algorithm.stacks.items()}
    for name, adam in cohort.algorithm.optimisers.items():
        tensors |= {f"mean.{name}": adam.mean, f"square.{name}": adam.square}
    return tensors


def _by_row(cohort: Cohort) -> Arrays:
    """Return the arrays with axes (rows, members, ...)."""
    arrays: Arrays = {name: value.cpu().numpy() for name, value in _tensors(cohort).items()}
    for name, adam in cohort.algorithm.optimisers.items():
        arrays |= {f"count.{name}": adam.count, f"warming.{name}": adam.warming}
    return arrays


def _by_member(cohort: Cohort) -> Arrays:
    """Return the live arrays that have a row per member (members, ...)."""
    return {**cohort.algorithm.arrays(), **cohort.normaliser.arrays()}


def _worlds(cohort: Cohort, index: int) -> range:
    return range(index * cohort.hyperparameters.n_envs, (index + 1) * cohort.hyperparameters.n_envs)


def _below(prefix: str, arrays: Any) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
