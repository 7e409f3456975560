"""Captures of CUDA graphs, torch's and Warp's: when they are made, and what happens where one fails."""

import gc
import os
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch

from trl_suite.errors import UncapturedWarning

GRAPHS_VARIABLE = "TRL_SUITE_GRAPHS"  # 0: everything is done as Python calls it, kernel by kernel


def graphs_wanted() -> bool:
    """Return whether work on a device is to be captured as graphs."""
    return os.environ.get(GRAPHS_VARIABLE, "1") != "0"


def captured(work: Callable[[], None], stream: Any = None) -> Callable[[], None]:
    """Return the replay of a CUDA graph of work.

    Args:
        work: asks nothing of the host.
        stream: where it is captured; one of torch's own where not given.

    Raises:
        RuntimeError: something in the work cannot be captured.
    """
    graph, caller = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    options = {} if stream is None else {"stream": stream}
    try:
        with without_collection(), torch.cuda.graph(graph, **options):
            work()
    except BaseException:
        torch.cuda.set_stream(caller)  # torch leaves it at the capture's where the capture fails
        raise
    return graph.replay


def refuse_out_of_memory(error: Exception) -> None:
    """Raise an error of a capture again that is no fault of the work: there is too little memory."""
    if isinstance(error, torch.OutOfMemoryError):
        raise error


def warn_uncaptured(what: str, error: BaseException) -> None:
    """Warn that work goes on without a graph, and why."""
    warnings.warn(
        f"{what} could not be captured as a CUDA graph and runs kernel by kernel, more slowly: {first_cause(error)}",
        UncapturedWarning,
        stacklevel=2,
    )


def first_cause(error: BaseException) -> str:
    """Return in one line the error from which others followed: torch's own is hidden behind that of the capture."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextmanager
def without_collection() -> Generator[None]:
    """Keep the garbage collector away: a graph that it finalises would be recorded into the one that is captured."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
