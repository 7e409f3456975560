"""Facts of the device that a cohort learns on, as they stand in a run's record."""

from importlib import metadata
from typing import TYPE_CHECKING

import torch

from trl_suite.worlds.warp import warp_library

if TYPE_CHECKING:  # both import MuJoCo, which a wrong display keeps from being imported
    from trl_suite.training.cohort.collecting.cohort_envs import Physics
    from trl_suite.training.engines import Device


def accelerator(device: "Device", physics: "Physics") -> dict[str, str]:
    """Return GPU, driver, precision and Warp's versions, as far as they have a part in a run; none on plain CPUs."""
    facts = _gpu() if device == "cuda" else {}
    if physics == "warp":
        facts |= {name: metadata.version(name) for name in warp_library.TESTED}
        facts["physics precision"] = "float32"
    return facts


def _gpu() -> dict[str, str]:
    return {
        "gpu": torch.cuda.get_device_name(),
        "driver": ".".join(map(str, warp_library.driver_version() or ("unknown",))),
        "cuda": torch.version.cuda or "none",
        "precision": "float32, TensorFloat-32 off",
    }
