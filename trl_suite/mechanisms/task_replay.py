"""Task replay: transitions of every earlier task of a sequence in the learner's replay, which are never overwritten.

As many of each task, drawn from what its stage collected, at the reward that was paid there (the perfect memory of
Wolczyk et al. 2021, section 5, cut to a size; the episodic memory of Wolczyk et al. 2024). Off-policy algorithms alone.
"""

from collections.abc import Mapping
from typing import Annotated, Protocol

import msgspec
import torch

from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.mechanisms.mechanism import HandOver, Mechanism, MethodLearner, during
from trl_suite.networks.components import REPLAY
from trl_suite.networks.policy import Policy
from trl_suite.networks.stage_memory import STAGE_REPLAYS

Transitions = Annotated[int, msgspec.Meta(gt=0)]


def earlier_replays(source: Policy, where: str) -> dict[str, dict[str, torch.Tensor]]:
    """Return the transitions of each stage up to the source's own, `stages.replay.K`.

    Raises:
        InputError: the source has kept no replay.
    """
    if REPLAY not in source.memory:
        raise InputError(f"{where}: task_replay: the source has kept no replay; it belongs into a [sequence]")
    stored = {name: dict(tensors) for name, tensors in source.memory.items() if name.startswith(STAGE_REPLAYS)}
    return stored | {f"{STAGE_REPLAYS}{len(source.earlier_tasks)}": dict(source.memory[REPLAY])}


class TaskReplayCallback(HandOver):
    """The hand-over of one run's earlier transitions; the learner's replay was filled before it."""

    def __init__(self, learner: MethodLearner) -> None:
        super().__init__(earlier_replays(learner.source, learner.where) if learner.source else {})


class _TaskReplayKeys(Protocol):
    @property
    def task_replay(self) -> int | None: ...


def _label(method: _TaskReplayKeys) -> str:
    return "replays earlier tasks" if method.task_replay else ""


def _can(method: _TaskReplayKeys, algorithm: str) -> str:
    if find(algorithm).on_policy:
        return f"task_replay: {algorithm} learns from its own rollouts, and has no replay; sac and td3 have one"
    return ""


def _callback(method: _TaskReplayKeys, learner: MethodLearner, thaws: Mapping[str, int | None]) -> TaskReplayCallback:
    return TaskReplayCallback(learner)


TASK_REPLAY = Mechanism(
    name="task replay",
    keys=("task_replay",),
    can={"sb3": _can, "cohort": _can, "transplant": during},
    label=_label,
    callback=_callback,
)
