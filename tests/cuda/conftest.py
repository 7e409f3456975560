"""The simulated CUDA device, and trainings that run on it beside the CPU."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from tests.cuda.device import SimulatedDevice
from tests.cuda.runtime import simulated


@pytest.fixture(scope="session", autouse=True)
def _guard(tmp_path_factory) -> None:
    """Build and load what lets C++ say `cuda:0`; a real device is never put behind the simulated one."""
    if torch.cuda.is_available():
        pytest.skip("there is a real CUDA device: make test-gpu")
    if (compiler := shutil.which("g++")) is None:
        pytest.skip("g++ is not installed")
    from torch.utils.cpp_extension import include_paths, library_paths

    library = tmp_path_factory.mktemp("guard") / "guard.so"
    source = Path(__file__).parent / "guard.cpp"
    paths = [f"-I{path}" for path in include_paths()] + [f"-L{path}" for path in library_paths()]
    command = [compiler, "-shared", "-fPIC", "-std=c++20", "-o", library, source, *paths, "-lc10"]
    subprocess.run(command, check=True)
    ctypes.CDLL(str(library))


@pytest.fixture
def cuda() -> Callable[..., AbstractContextManager[SimulatedDevice]]:
    """Enters the device; whoever leaves it must have left no race behind."""
    return simulated


@pytest.fixture
def device() -> Iterator[SimulatedDevice]:
    with simulated() as entered:
        yield entered
