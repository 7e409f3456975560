"""Factors: `engine = ["cohort", "sb3"]` makes the whole grid once for each value, and compares the two.

A key that takes several values is read as its first one; all values are kept beside it. A cell is an experiment with
one value of each. Its runs carry the cell's name, and a method of one cell is never compared with scratch of another.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any, cast

import msgspec

from trl_suite import tables
from trl_suite.errors import InputError
from trl_suite.experiment.specification.experiment_keys import Experiment
from trl_suite.experiment.specification.task_sequences import in_full

FACTORS = ("algorithm", "preset", "engine", "physics")


def convert(table: Mapping[str, Any], label: str) -> Experiment:
    """Return the experiment that a table asks for, with the values of its factors.

    Args:
        table: as `experiment.toml` holds it.
        label: opens the message of an error.

    Raises:
        InputError: a factor has no value, has one twice, or has `auto` among several; or as `tables.convert` does.
    """
    if "factors" in table:
        raise InputError(f"{label}: unknown key 'factors': give {', '.join(FACTORS)} a list of values")
    values = {name: _values(table[name], f"{label}: {name}") for name in FACTORS if isinstance(table.get(name), list)}
    single = in_full(table, label) | {name: several[0] for name, several in values.items()}
    experiment = tables.convert(single, Experiment, label)
    factors = {name: several for name, several in values.items() if len(several) > 1}
    for name, several in factors.items():
        for value in several[1:]:
            tables.convert(single | {name: value}, Experiment, label)
    if factors and experiment.tune is not None:
        raise InputError(f"{label}: tune: a search takes one value of {', '.join(factors)}, not several")
    if factors and experiment.sequence is not None:
        raise InputError(f"{label}: sequence: takes one value of {', '.join(factors)}, not several")
    return msgspec.structs.replace(experiment, factors=factors)


def cells(experiment: Experiment) -> dict[str, Experiment]:
    """Return the experiment of each cell by the cell's name; the experiment itself, named "", without factors."""
    cell_experiments: dict[str, Experiment] = {}
    for values in product(*experiment.factors.values()):
        choice: dict[str, Any] = dict(zip(experiment.factors, values, strict=True))
        name = ", ".join(f"{factor}={value}" for factor, value in choice.items())
        cell_experiments[name] = msgspec.structs.replace(experiment, factors={}, **choice)
    return cell_experiments


def _values(given_values: list[Any], where: str) -> tuple[str, ...]:
    values = cast(list[str], given_values)
    if not values or not all(isinstance(value, str) for value in given_values):
        raise InputError(f"{where}: a value, or a list of values, as in engine = ['cohort', 'sb3']")
    if len(set(values)) < len(values):
        raise InputError(f"{where}: {values} names one twice")
    if "auto" in values and len(values) > 1:
        raise InputError(f"{where}: 'auto' is no value to compare with others: name what it stands for")
    return tuple(values)
