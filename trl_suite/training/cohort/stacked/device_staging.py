"""Arrays of the host that go to a device together, in one copy from pinned memory, which nobody waits for."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

ALIGNMENT_BYTES = 64  # of each array within the buffer


class StagedArray(NamedTuple):
    """Shape and kind of an array."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


class DeviceStaging:
    """Named arrays in one buffer on the host and, under the same names, in one on the device.

    Where the device is the CPU both are one, and nothing is copied.

    Args:
        arrays: what there is.
        device: where it goes.
    """

    def __init__(self, arrays: Mapping[str, StagedArray], device: torch.device) -> None:
        starts, size = {}, 0
        for name, array in arrays.items():
            starts[name] = size
            size += -(-math.prod(array.shape) * array.dtype.itemsize // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        self._on_cuda = device.type == "cuda"
        self._host = torch.zeros(size, dtype=torch.uint8, pin_memory=self._on_cuda)
        self._device = torch.zeros(size, dtype=torch.uint8, device=device) if device.type != "cpu" else self._host
        self.host: dict[str, npt.NDArray[Any]] = {
            name: _view(self._host, starts[name], array).numpy() for name, array in arrays.items()
        }
        self.device = {name: _view(self._device, starts[name], array) for name, array in arrays.items()}
        self._sent: Any = torch.cuda.Event() if self._on_cuda else None

    def write(self, values: Mapping[str, Any]) -> None:
        """Write arrays on the host; the device has them once they are sent."""
        if self._sent is not None and not self._sent.query():
            self._sent.synchronize()
        for name, value in values.items():
            np.copyto(self.host[name], value, casting="same_kind")

    def send(self, values: Mapping[str, Any] | None = None) -> dict[str, torch.Tensor]:
        """Write arrays, send all, and return the device's; a later call overwrites them."""
        if values:
            self.write(values)
        if self._device is not self._host:
            self._device.copy_(self._host, non_blocking=True)
        if self._sent is not None:
            self._sent.record()
        return self.device

    def fetch(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the device's arrays on the host: a wait."""
        if self._device is not self._host:
            self._host.copy_(self._device)
        return self.host


def _view(buffer: torch.Tensor, start: int, array: StagedArray) -> torch.Tensor:
    size = math.prod(array.shape) * array.dtype.itemsize
    return buffer[start : start + size].view(array.dtype).view(array.shape)
