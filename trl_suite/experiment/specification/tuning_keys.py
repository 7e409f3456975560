"""`[tune]` of an experiment: which hyperparameters are searched, how often, and on which seeds."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from trl_suite.algorithms.hyperparameters import Count, Hyperparameters
from trl_suite.errors import InputError, unknown

Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
TRIALS_MAX = 10_000  # of one method on one target
# what a policy is made of: a method copies it from a source that has the experiment's own
_SHAPES = ("hidden", "activation", "normalise_observation", "normalise_reward")


class NumberRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers from `low` to `high`, whole ones where the hyperparameter is one."""

    low: float
    high: float
    log: bool = False  # evenly by their logarithm


Values = Annotated[tuple[float | str | bool, ...], msgspec.Meta(min_length=2)]


class TuneOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Search for the hyperparameters of scratch and of each method, the same number of trials for each."""

    trials: Annotated[int, msgspec.Meta(gt=0, le=TRIALS_MAX)]  # of each method on each target
    seeds: Annotated[tuple[Seed, ...], msgspec.Meta(min_length=1)]  # none of the experiment's
    ranges: Annotated[dict[str, NumberRange | Values], msgspec.Meta(min_length=1)]
    steps: Count | None = None  # of each run; the target's budget where not given
    at_once: Count = 8  # trials of a method that are proposed together, and so train together
    maximise: Literal["end", "area"] = "end"  # mean return of the last tenth, or under the whole curve


def check(where: str, tune: TuneOptions, taken: Mapping[int, str], hyperparameters: Hyperparameters) -> None:
    """Refuse a search that would tune on the experiment's own seeds, or over what is no hyperparameter.

    Args:
        where: opens the message of every error.
        tune: the table.
        taken: seed -> key of the experiment that has it already.
        hyperparameters: of the algorithm, with the experiment's values.

    Raises:
        InputError: as said.
    """
    if len(set(tune.seeds)) < len(tune.seeds):
        raise InputError(f"{where}: tune.seeds: {list(tune.seeds)} names one twice")
    if shared := sorted(set(tune.seeds) & set(taken)):
        keys = ", ".join(dict.fromkeys(taken[seed] for seed in shared))
        raise InputError(f"{where}: tune.seeds: {shared} are among the experiment's {keys}; tune on others")
    for name, values in tune.ranges.items():
        _check_range(f"{where}: tune.ranges.{name}", name, values, hyperparameters)


def _check_range(where: str, name: str, values: NumberRange | Values, hyperparameters: Hyperparameters) -> None:
    names = [key for key in hyperparameters.__struct_fields__ if key not in _SHAPES]
    if name in _SHAPES:
        raise InputError(f"{where}: is that of the source's policies, too; set it in [{hyperparameters.algorithm}]")
    if name not in names:
        raise unknown("hyperparameter", name, names, where.rpartition(".")[0])
    if isinstance(values, NumberRange):
        _check_ends(where, values, is_whole(hyperparameters, name))
    elif len(set(values)) < len(values):
        raise InputError(f"{where}: {list(values)} names one twice")
    ends = (values.low, values.high) if isinstance(values, NumberRange) else values
    for value in ends:
        replaced(where, hyperparameters, {name: value})


def _check_ends(where: str, values: NumberRange, whole: bool) -> None:
    if values.low >= values.high:
        raise InputError(f"{where}: low {values.low:g} is not below high {values.high:g}")
    if values.log and values.low <= 0:
        raise InputError(f"{where}: log = true needs low > 0, and it is {values.low:g}")
    if whole and not (values.low.is_integer() and values.high.is_integer()):
        raise InputError(f"{where}: low and high are to be whole numbers")


def is_whole(hyperparameters: Hyperparameters, name: str) -> bool:
    """Whether a hyperparameter is a whole number."""
    value = getattr(hyperparameters, name)
    return isinstance(value, int) and not isinstance(value, bool)


def replaced(where: str, hyperparameters: Hyperparameters, values: Mapping[str, Any]) -> Hyperparameters:
    """Hyperparameters with these values in place of theirs; a whole number may be written as a float.

    Raises:
        InputError: a value is of the wrong type or out of range.
    """
    whole = {key: int(v) if is_whole(hyperparameters, key) and _integral(v) else v for key, v in values.items()}
    try:
        return msgspec.convert({**msgspec.structs.asdict(hyperparameters), **whole}, type(hyperparameters))
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {error}") from None


def _integral(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()
