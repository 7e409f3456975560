"""The packages behind the physics: found, checked, and told what they must do otherwise.

The only file that touches what they keep private; so it names the versions that it was written for.
"""

import functools
import importlib
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any, NamedTuple

import torch

from trl_suite.errors import InputError, NotInstalledError

TESTED = {"mujoco-warp": "4.0.0", "warp-lang": "1.19.0"}  # their private parts change between versions
DRIVER = (13, 0)  # of CUDA, NVIDIA's R580: Warp 1.19.0 is built with its toolkit, and lists no device on an older one
_INSTALL = "pip install 'trl-suite[gpu]'"
_OFFER = "physics = 'mujoco' simulates on the CPU's cores"


class Library(NamedTuple):
    """The two packages, imported."""

    warp: Any
    mujoco_warp: Any


def obstacle() -> str:
    """Return why physics cannot be Warp's at all, or `""` if it can; imports neither package."""
    for package, tested in TESTED.items():
        try:
            installed = version(package)
        except PackageNotFoundError:
            return f"{package} is not installed: {_INSTALL}"
        if installed != tested:
            return f"{package} is {installed}, and the suite was tested with {tested}: {_INSTALL}"
    return ""


@functools.cache
def library() -> Library:
    """Return the packages, set up.

    Raises:
        NotInstalledError: one is missing, or of a version that the suite was not tested with.
    """
    if why := obstacle():
        raise NotInstalledError(f"physics on Warp: {why}; {_OFFER}")
    warp: Any = importlib.import_module("warp")
    warp.config.log_level = warp.LOG_WARNING  # its greeting is not of this program
    warp.init()
    _repair(warp)
    return Library(warp, importlib.import_module("mujoco_warp"))


def refuse_unless_usable(device: torch.device) -> None:
    """Refuse a device that Warp cannot use.

    Raises:
        InputError: there is no such device, or its driver is too old.
        NotInstalledError: Warp is missing.
    """
    warp = library().warp
    if device.type == "cpu":
        return
    if device.type != "cuda":
        raise InputError(f"physics on Warp: {device} is neither a CUDA device nor the CPU; {_OFFER}")
    driver = driver_version()
    if driver is not None and driver < DRIVER:  # asked first: with an older one Warp says that there is no device
        raise InputError(
            f"physics on Warp: the CUDA driver is {_dotted(driver)}, and {_dotted(DRIVER)} (R580) or newer is needed; "
            f"{_OFFER}"
        )
    if not torch.cuda.is_available() or not warp.is_cuda_available():
        raise InputError(f"physics on Warp: there is no CUDA device here; {_OFFER}")


def driver_version() -> tuple[int, int] | None:
    """Return the version of CUDA that the driver has, (13, 0); None where there is no driver, or no Warp to ask."""
    return None if obstacle() else library().warp.get_cuda_driver_version()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def annotations(struct: type[Any]) -> dict[str, Any]:
    """Return the names of a device struct's fields with their kinds."""
    return {name: field.type for name, field in struct.__dataclass_fields__.items()}


def per_world(kind: Any) -> bool:
    """Return whether a field of a model may differ between the worlds of a batch."""
    shape = getattr(kind, "shape", None)
    return bool(shape) and shape[0] == "*"


def own_rows(array: Any) -> Any:
    """Return an array of a row per world as one that the kernels take for it."""
    array._is_batched = True  # as put_model marks what it makes
    return array


def architectures() -> list[int]:
    """Return the kinds of GPU that kernels can be compiled for here, by NVRTC and without a GPU: 90 is H100's."""
    warp = library().warp
    return sorted(warp._src.context.runtime.nvrtc_supported_archs)


def compile_module(module: Any, block_threads: int, architecture: int) -> bool:
    """Compile a module of kernels for a kind of GPU into the cache; return whether it was not there yet.

    Warp's own `load` compiles for the devices that there are.
    """
    module.resolve_options(library().warp.config, block_dim=block_threads)
    module.get_module_hash(block_threads)
    options = module.resolved_options[block_threads]
    return bool(module._compile(device=None, output_arch=architecture, use_ptx=False, options=options))


def _repair(warp: Any) -> None:
    """Let a capsule's contacts with a plane have the friction directions that MuJoCo gives them.

    mujoco-warp 4.0.0 turns them to a world axis where the capsule stands steeper than 60 degrees; MuJoCo aligns them
    with the capsule however steep it is, unless it stands upright. Under pyramidal friction cones that is other
    physics. To be removed when `tests/worlds/warp/test_contact.py` passes without it.
    """
    contact: ModuleType = importlib.import_module("mujoco_warp._src.collision_primitive")
    core: ModuleType = importlib.import_module("mujoco_warp._src.collision_primitive_core")
    contact.plane_capsule = _plane_capsule(warp, core)  # type: ignore[attr-defined]


def _plane_capsule(wp: Any, core: Any) -> Any:
    """Return the function for kernels: distances (2), places (2, 3) and frame of a capsule's contacts with a plane."""
    plane_sphere, places = core.plane_sphere, core.mat23f

    @wp.func
    def plane_capsule(normal: Any, place: Any, centre: Any, axis: Any, radius: float, half: float) -> Any:
        along = axis - wp.dot(normal, axis) * normal
        along = wp.normalize(along) if wp.length(along) > 1.0e-6 else wp.vec3(1.0, 0.0, 0.0)  # or it stands upright
        across = wp.cross(normal, along)
        distance_a, there = plane_sphere(normal, place, centre + half * axis, radius)
        distance_b, here = plane_sphere(normal, place, centre - half * axis, radius)
        frame = wp.mat33(normal[0], normal[1], normal[2], along[0], along[1], along[2], across[0], across[1], across[2])
        return wp.vec2(distance_a, distance_b), places(there[0], there[1], there[2], here[0], here[1], here[2]), frame

    return plane_capsule
