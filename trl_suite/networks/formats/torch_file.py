"""A file of torch's, read by its weights-only reader alone, after the zip around it has been checked."""

import io
import pickle
import struct
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from trl_suite.errors import InputError
from trl_suite.files import reason_of
from trl_suite.networks.formats.zip_reader import Archive

NAME_MAX_CHARACTERS_OF_TENSOR = 200
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the number with which torch's files began before 1.6
_TORCH_FILE_ERRORS = (  # by which torch's weights-only reader refuses a file
    pickle.UnpicklingError, RuntimeError, ValueError, EOFError, LookupError, TypeError, AttributeError, OverflowError,
    AssertionError, ImportError, ArithmeticError, MemoryError, struct.error, OSError,
)  # fmt: skip


def read(content: bytes, where: str) -> Mapping[Any, Any]:
    """The table in a file that `torch.save` wrote; its tensors may share memory.

    Args:
        content: of the file.
        where: opens the message of every error.

    Raises:
        InputError: it is a program (TorchScript), in torch's format before 1.6, a bomb, damaged, or asks for more than
            tensors and plain values; nothing of it was executed.
    """
    if content.startswith(_LEGACY):
        raise InputError(
            f"{where} is in the format that torch wrote before 1.6: load it there and save it with a newer torch"
        )
    with Archive(content, where) as archive:  # a bomb may hide in the zip
        if any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.names):
            raise InputError(f"{where} is TorchScript, a program, which is not executed: export the policy as ONNX")
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd protocols, which are refused below or do no harm
            loaded = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except _TORCH_FILE_ERRORS as error:
        reason = reason_of(error)
        raise InputError(f"{where} is not a plain table of tensors, and was not executed: {reason}") from None
    if not isinstance(loaded, dict):
        raise InputError(f"{where} is not a table of tensors")
    return loaded


def copied_tensors(loaded: Mapping[Any, Any], size: int, where: str) -> dict[str, torch.Tensor]:
    """Copies of a table's tensors.

    Raises:
        InputError: one is not a dense tensor with a short name, or they are views that would grow when they are copied.
    """
    claimed = 0
    for name, tensor in loaded.items():
        plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
        short = isinstance(name, str) and len(name) < NAME_MAX_CHARACTERS_OF_TENSOR
        if not (short and plain and tensor.device.type == "cpu"):
            raise InputError(f"{where}: '{str(name)[:80]}' is not a plain tensor")
        claimed += tensor.numel() * tensor.element_size()
    if claimed > size:
        raise InputError(f"{where}: its tensors claim {claimed} bytes and the file has {size}")
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in loaded.items()}
