"""Threads among which the large networks of a single run are shared out; of many runs each core has its own.

Like torch's number of threads it is the process's. Results are the same to the bit for every number.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


class NetThreads:
    """The calling thread and others beside it.

    Args:
        count: of threads altogether.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count - 1, "networks", _begin_thread) if count > 1 else None

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Do the tasks side by side, and come back when all are done."""
        if self._pool is None or len(tasks) < 2:
            for task in tasks:
                task()
            return
        shares = [tasks[start :: self.count] for start in range(self.count)]
        others = [self._pool.submit(_do_all, share) for share in shares[1:] if share]
        _do_all(shares[0])
        for other in others:
            other.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


_threads = NetThreads(1)


def current() -> NetThreads:
    """Threads that networks made from now on use."""
    return _threads


@contextmanager
def net_threads(count: int) -> Generator[None]:
    """Let networks that are made meanwhile be computed by so many threads."""
    global _threads
    before, _threads = _threads, NetThreads(count)
    try:
        yield
    finally:
        _threads.close()
        _threads = before


def _begin_thread() -> None:
    """Compute as the calling thread does: alone, and without denormals."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def _do_all(tasks: Sequence[Callable[[], None]]) -> None:
    for task in tasks:
        task()
