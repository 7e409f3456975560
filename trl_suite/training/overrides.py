"""Tables of hyperparameters in which every key may be missing: what somebody asks for, over what there is else."""

from collections.abc import Mapping
from typing import Any

import msgspec

from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.algorithms.registry import DESCRIPTORS, Algorithm, find
from trl_suite.errors import InputError


def _overrides(hyperparameters: type[Hyperparameters]) -> type[msgspec.Struct]:
    """Table with the keys, types and ranges of some hyperparameters, none of them required."""
    fields = [(field.name, field.type | msgspec.UnsetType, msgspec.UNSET) for field in _fields(hyperparameters)]
    name = hyperparameters.__name__.replace("Hyperparameters", "Overrides")
    return msgspec.defstruct(name, fields, frozen=True, kw_only=True, forbid_unknown_fields=True)


def _fields(hyperparameters: type[Hyperparameters]) -> tuple[Any, ...]:
    return msgspec.structs.fields(hyperparameters)


OVERRIDES: dict[Algorithm, type[msgspec.Struct]] = {
    name: _overrides(descriptor.hyperparameters) for name, descriptor in DESCRIPTORS.items()
}
"""Algorithm -> the table of its hyperparameters in which every key may be missing."""


def present(table: msgspec.Struct) -> dict[str, Any]:
    """Keys and values that stand in such a table."""
    return {key: value for key, value in msgspec.structs.asdict(table).items() if value is not msgspec.UNSET}


def merged(algorithm: Algorithm, *tables: Mapping[str, Any]) -> Hyperparameters:
    """Hyperparameters of an algorithm: its defaults under these tables, of which a later one wins.

    Raises:
        InputError: the algorithm does not take them together.
    """
    values = {key: value for table in tables for key, value in table.items()}
    try:
        return msgspec.convert(values, find(algorithm).hyperparameters)
    except msgspec.ValidationError as error:
        raise InputError(f"{algorithm}: {error}") from None
