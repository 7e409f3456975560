"""A graph on the CPU: takes down operations as a CUDA graph does, and repeats them in the same memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _storages(values: Any) -> set[int]:
    return {one.untyped_storage().data_ptr() for one in tree_leaves(values) if isinstance(one, torch.Tensor)}


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], None]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "a graph waits for nothing"
        out = func(*args, **(kwargs or {}))
        view = not func._schema.is_mutable and _storages(out) <= _storages((args, kwargs))
        if not view:
            self.calls.append(lambda: self._repeat(func, args, kwargs or {}, out))
        return out

    @staticmethod
    def _repeat(func, args, kwargs, out):
        again = func(*args, **kwargs)
        for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
            if isinstance(old, torch.Tensor) and old is not new and _storages(old) != _storages(new):
                old.copy_(new)


class Tape:
    """Captures as `graph.captured` does, and counts: what is captured is done at the first replay, not before."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        recorder, done = _Recorder(), False
        with recorder:
            work()  # once, which is what the first replay would have done
        self.captures += 1

        def replay() -> None:
            nonlocal done
            self.replays += 1
            if done:
                for call in recorder.calls:
                    call()
            done = True

        return replay
