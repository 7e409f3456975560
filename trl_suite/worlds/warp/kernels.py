"""Warp's kernels, compiled before they are needed: a first run would wait for minutes, and compiling needs no GPU."""

import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from trl_suite.errors import InputError, printable
from trl_suite.worlds.warp import warp_library
from trl_suite.worlds.warp.warp_env import WarpVectorEnv
from trl_suite.worlds.warp.warp_library import library

BLOCK_THREADS = 256  # of a launch that names no other number
ARCHITECTURES = (80, 90, 100)  # of A100, H100 and H200, B200
ENVS = 4  # of the batch whose launches are recorded


class KernelModule(NamedTuple):
    """Kernels that are compiled together."""

    module: Any
    block_threads: int


class Compiled(NamedTuple):
    """Outcome of one compilation."""

    name: str
    architecture: int
    new: bool  # it was not in the cache
    error: str = ""


def cache_folder() -> Path:
    """Return where Warp keeps what it has compiled; the variable WARP_CACHE_PATH names another place."""
    return Path(library().warp.config.kernel_cache_dir)


def cache_bytes() -> int:
    """Return the size of everything there."""
    folder = cache_folder()
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def modules_of(robots: Sequence[str]) -> list[KernelModule]:
    """Return the modules that worlds of these robots launch, by stepping a few of them on Warp's CPU device.

    Raises:
        InputError: there is no such robot, or Warp cannot run it.
    """
    modules: dict[KernelModule, None] = {}
    with _recorded(lambda module: modules.setdefault(module)):
        for robot in robots:
            for mode in ("SameStep", "Disabled"):
                batch = WarpVectorEnv(ENVS, robot, device="cpu", autoreset_mode=mode)
                batch.reset(seed=0)
                batch.step(torch.zeros(ENVS, len(batch.interface.action)))
                batch.close()
    return list(modules)


def compile_for(modules: Sequence[KernelModule], architecture: int) -> Generator[Compiled]:
    """Compile modules for a kind of GPU, into the cache; what is there is left."""
    for module, threads in modules:
        try:
            yield Compiled(module.name, architecture, warp_library.compile_module(module, threads, architecture))
        except Exception as error:
            yield Compiled(module.name, architecture, False, printable(str(error).strip()) or type(error).__name__)


def architecture_here() -> int | None:
    """Return the kind of the GPU that is here, as 90; None where there is none."""
    if not torch.cuda.is_available():
        return None
    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor


def refuse_unknown(architecture: int) -> None:
    """Refuse a kind of GPU that kernels cannot be compiled for.

    Raises:
        InputError: they cannot.
    """
    if architecture not in (possible := warp_library.architectures()):
        raise InputError(f"--arch {architecture}: kernels can be compiled for {', '.join(map(str, possible))}")


@contextmanager
def _recorded(take: Callable[[KernelModule], object]) -> Generator[None]:
    """Hand over the module of every kernel that is launched meanwhile."""
    warp = library().warp
    usual = {name: getattr(warp, name) for name in ("launch", "launch_tiled")}

    signature = inspect.signature(usual["launch"])  # launch_tiled hands on what it is given, under the same names

    def recording(launch: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*arguments: Any, **options: Any) -> Any:
            bound = signature.bind_partial(*arguments, **options).arguments
            take(KernelModule(bound["kernel"].module, bound.get("block_dim", BLOCK_THREADS)))
            return launch(*arguments, **options)

        return recorded

    try:
        for name, launch in usual.items():
            setattr(warp, name, recording(launch))
        yield
    finally:
        for name, launch in usual.items():
            setattr(warp, name, launch)
