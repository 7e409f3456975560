"""Task heads: layers that every task of a sequence has of its own, beside a trunk that all share.

A task's heads begin fresh, and are taken up where they were when the task comes again (the multi-head setting of
Wolczyk et al. 2021, section 4). Both engines leave them fresh at the transplant, and call this callback after it.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from trl_suite.errors import InputError
from trl_suite.mechanisms.mechanism import HandOver, Mechanism, MethodLearner, during, everywhere
from trl_suite.networks.components import TARGET, select
from trl_suite.networks.stage_memory import STAGE_HEADS


class TaskHeadsCallback(HandOver):
    """The heads of one run of a stage; they are in place when it is made.

    Raises:
        InputError: a component does not exist, is no layer, or is frozen.
    """

    def __init__(self, heads: Sequence[str], learner: MethodLearner, thaws: Mapping[str, int | None]) -> None:
        components = learner.components()
        self._names = select(heads, components, f"{learner.where}: heads")
        for name in self._names:
            if name in thaws:
                raise InputError(f"{learner.where}: heads: {name} is frozen: no task could learn it")
        super().__init__(self._earlier(learner))
        tasks = learner.source.earlier_tasks if learner.source else ()
        if learner.env in tasks:
            stage = max(index for index, task in enumerate(tasks) if task == learner.env)
            self._take_up(learner, self._stored.get(f"{STAGE_HEADS}{stage}", {}))

    def _earlier(self, learner: MethodLearner) -> dict[str, Mapping[str, torch.Tensor]]:
        """Return the heads that the source hands on, and its own."""
        if learner.source is None:
            return {}
        source = learner.source
        stored = {name: tensors for name, tensors in source.memory.items() if name.startswith(STAGE_HEADS)}
        return stored | {f"{STAGE_HEADS}{len(source.earlier_tasks)}": self._of(source.components)}

    def _of(self, components: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {
            f"{name}.{tensor}": value.detach().clone()
            for name in self._names
            for tensor, value in components.get(name, {}).items()
        }

    def _take_up(self, learner: MethodLearner, heads: Mapping[str, torch.Tensor]) -> None:
        components = learner.components()
        with torch.no_grad():
            for name in (*self._names, *(TARGET + name for name in self._names if TARGET + name in components)):
                for tensor, value in components[name].items():
                    stored = heads.get(f"{name.removeprefix(TARGET)}.{tensor}")
                    if stored is not None:
                        value.copy_(stored.reshape(value.shape))


class _HeadsKeys(Protocol):
    @property
    def heads(self) -> Sequence[str]: ...

    @property
    def copy(self) -> Sequence[str]: ...

    @property
    def adapter(self) -> object: ...

    @property
    def packing(self) -> object: ...


def _label(method: _HeadsKeys) -> str:
    return "has heads per task" if method.heads else ""


def _check(method: _HeadsKeys) -> str:
    if method.heads and method.adapter is not None:
        return "heads are plain layers, and an adapter changes them: give one of them"
    if method.heads and not (method.copy or method.packing):
        return "heads stand on a trunk that is copied, and nothing is: give copy too"
    return ""


def _callback(method: _HeadsKeys, learner: MethodLearner, thaws: Mapping[str, int | None]) -> TaskHeadsCallback:
    return TaskHeadsCallback(method.heads, learner, thaws)


TASK_HEADS = Mechanism(
    name="task heads",
    keys=("heads",),
    can={"sb3": everywhere, "cohort": everywhere, "transplant": during},
    label=_label,
    check=_check,
    callback=_callback,
)
