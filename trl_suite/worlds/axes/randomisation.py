"""The worlds that a randomised env draws from: ranges of axes as a pool of variations; knows nothing of MuJoCo.

A pool is compiled before the first episode, so that a draw costs nothing and each model keeps its axes' promises.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trl_suite import tables
from trl_suite.errors import InputError, unknown
from trl_suite.worlds.axes.variation import Randomisation, Variation

Floats = NDArray[np.float64]
Path = tuple[str | int, ...]  # of a number in a table of axes: ("mass", "scale")

SCALED = (
    "gravity", "mass", "friction", "size", "length", "damping", "stiffness", "armature", "frictionloss", "gear",
    "contact_softness", "action_scale",
)  # fmt: skip
ADDED = ("observation_noise", "action_noise")  # 0 where nothing is changed
COUNTED = ("observation_delay", "action_delay")  # whole numbers of control steps
PLAY = "backlash"  # above 0 in all worlds of a pool: without play a robot has other joints
RANGED_AXES = (*SCALED, *ADDED, *COUNTED, PLAY, "fluid", "target_speed")
_NEVER_PER_EPISODE = {
    "terrain": "its height field is compiled: set one ground beside the ranges, or list several in source.variants"
}
_ZERO_BASED = ("tilt", "std", "density", "viscosity")  # keys whose nominal number is 0
_ELEMENTS = ("body", "geom", "joint", "tendon", "actuator")  # keys that say what a change is of
_RESOLUTION = 4  # digits after the point of a drawn number, more in a range that is narrower than a hundredth


class DrawnRange(NamedTuple):
    """Range of one number of an axis, and where in it the env as it stands is."""

    path: Path
    element: str  # body, joint or actuator that it is of; "" where it is of all
    low: float
    high: float
    nominal: float | None  # None where only the model says it
    whole: bool  # whether only whole numbers are values
    form: Callable[[float], float]  # in which the draws are uniform
    inverse: Callable[[float], float]

    @property
    def name(self) -> str:
        """Name of the number: `mass of payload`, `gravity tilt`."""
        key = "" if self.path[-1] in ("scale", "value", "std", self.path[0]) else f" {self.path[-1]}"
        return f"{self.path[0]}{key}" + (f" of {self.element}" if self.element else "")

    def between(self, share: float) -> float:
        """Value at a share from -1, the low end, to 1, the high end; evenly spread where the shares are."""
        if self.whole:
            count = int(self.high - self.low) + 1
            return int(self.low) + min(int((share + 1) / 2 * count), count - 1)
        low, high = self.form(self.low), self.form(self.high)
        return self._rounded(low + (share + 1) / 2 * (high - low))

    def around(self, share: float) -> float:
        """Value at a share of the way from the nominal value to the low end (-1) or to the high one (1)."""
        begin = self._begin
        way = self.form(self.high) - begin if share > 0 else begin - self.form(self.low)
        return self._rounded(begin + share * way)

    @property
    def sides(self) -> tuple[bool, bool]:
        """Whether the range goes on below and above the nominal value."""
        return self.form(self.low) < self._begin, self._begin < self.form(self.high)

    @property
    def _begin(self) -> float:
        """Nominal value, or the end of the range nearest to it."""
        nominal = self.low if self.nominal is None else min(max(self.nominal, self.low), self.high)
        return self.form(nominal)

    def _rounded(self, value: float) -> float:
        exact = self.inverse(value)
        if self.whole:
            return round(exact)
        width = self.high - self.low
        finest = min(width, exact) if self.form is math.log else width  # a scale has three digits at least
        digits = max(_RESOLUTION, 2 - math.floor(math.log10(finest))) if finest > 0 else _RESOLUTION
        return min(max(round(exact, digits), self.low), self.high)  # ends that have more digits are the ends


class Leaf(NamedTuple):
    """Two numbers in a table of axes, and where they stand."""

    path: Path
    element: str
    ends: list[float]


class PoolDraws(NamedTuple):
    """Variations of a pool, and where each lies in the ranges."""

    variations: list[Variation]
    shares: Floats  # (variations, ranges) from -1, the low ends, to 1, the high ones
    ranges: tuple[DrawnRange, ...]


def ranges_of(randomisation: Randomisation, where: str) -> tuple[DrawnRange, ...]:
    """Ranges of all numbers that are drawn.

    Raises:
        InputError: an axis is none that can be drawn, a range is no [low, high], or an axis has no such values.
    """
    table = randomisation.ranges
    for axis in table:
        if axis not in Variation.__struct_fields__:
            raise unknown("axis", axis, RANGED_AXES, where)
        if axis not in RANGED_AXES:
            why = _NEVER_PER_EPISODE.get(axis) or f"these are: {', '.join(RANGED_AXES)}"
            raise InputError(f"{where}: {axis}: not drawn for each episode; {why}")
    ranges = tuple(_range(leaf, where) for leaf in _leaves(table, (), ""))
    for axis, value in table.items():
        if not any(entry.path[0] == axis for entry in ranges):
            raise InputError(f"{where}: {axis}: {value}: a range is two numbers, [low, high]")
    for end in (-1.0, 1.0):
        _variation(table, {entry.path: entry.between(end) for entry in ranges}, where)
    return ranges


def draws(randomisation: Randomisation, where: str) -> PoolDraws:
    """Variations of the pool: a Latin hypercube over the ranges (McKay et al. 1979), the same for the same seed.

    Under a schedule the first is the env as it stands, or the end of a range that is nearest to it. The others lie in
    boxes around it whose sizes grow evenly from none to the whole ranges, so that narrow ranges hold as many as wide
    ones.

    Raises:
        InputError: as `ranges_of`, or a schedule would begin at a value that only the model knows.
    """
    ranges = ranges_of(randomisation, where)
    rng, count = np.random.default_rng(randomisation.seed), randomisation.pool
    strata = np.stack([rng.permutation(count) for _ in ranges], axis=1)  # (pool, ranges)
    shares = 2 * (strata + rng.uniform(size=strata.shape)) / count - 1
    if randomisation.schedule is not None:
        shares = _around_nominal(ranges, shares, where)
    value = DrawnRange.between if randomisation.schedule is None else DrawnRange.around
    values = [
        {entry.path: value(entry, float(share)) for entry, share in zip(ranges, row, strict=True)} for row in shares
    ]
    return PoolDraws([_variation(randomisation.ranges, drawn, where) for drawn in values], shares, ranges)


def _around_nominal(ranges: tuple[DrawnRange, ...], shares: Floats, where: str) -> Floats:
    """Shares in boxes that grow evenly, of ranges that may go on at one side of the nominal value alone."""
    boxes = shares * (np.arange(len(shares)) / (len(shares) - 1))[:, None]
    for column, entry in enumerate(ranges):
        if entry.nominal is None:
            raise InputError(f"{where}: {entry.name}: a schedule begins at the nominal value: give a scale instead")
        below, above = entry.sides
        if not (below and above):
            boxes[:, column] = np.abs(boxes[:, column]) * (1 if above else -1)
    return boxes


def _leaves(value: Any, path: Path, element: str) -> Iterator[Leaf]:
    """Yield every pair of numbers in a table of axes."""
    if isinstance(value, Mapping):
        element = next((str(value[key]) for key in _ELEMENTS if key in value), element)
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)), element)
    elif isinstance(value, list | tuple):
        if len(value) == 2 and all(isinstance(end, int | float) and not isinstance(end, bool) for end in value):
            yield Leaf(path, element, [float(end) for end in value])
        else:
            for index, inner in enumerate(value):
                yield from _leaves(inner, (*path, index), element)


def _range(leaf: Leaf, where: str) -> DrawnRange:
    (low, high), axis, key = leaf.ends, str(leaf.path[0]), str(leaf.path[-1]) if len(leaf.path) > 1 else ""
    where = f"{where}: {'.'.join(map(str, leaf.path))}"
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{where}: must be finite")
    if low > high:
        raise InputError(f"{where}: {low:g} is above {high:g}")
    whole = axis in COUNTED
    if whole and not (low.is_integer() and high.is_integer()):
        raise InputError(f"{where}: control steps are whole numbers, not {low:g} to {high:g}")
    if key == "scale" or (not key and axis in SCALED):
        if low <= 0:
            raise InputError(f"{where}: a scale must be above 0, not {low:g}")
        return DrawnRange(leaf.path, leaf.element, low, high, 1.0, whole, math.log, math.exp)
    if axis == PLAY and low <= 0:
        raise InputError(f"{where}: play is above 0 in every world, not {low:g}: begin at 0.001, or train on variants")
    nominal = 0.0 if key in _ZERO_BASED or axis in (*ADDED, *COUNTED, PLAY) else None
    return DrawnRange(leaf.path, leaf.element, low, high, nominal, whole, float, float)


def _variation(table: Mapping[str, Any], values: Mapping[Path, float], where: str) -> Variation:
    """Variation with these numbers in place of the ranges; an axis that would change nothing is left out."""
    axes = {axis: _filled(value, (axis,), values) for axis, value in table.items()}
    moved = {path[0] for path, value in values.items() if value}
    changed = {axis: value for axis, value in axes.items() if axis in moved or axis not in (*ADDED, *COUNTED)}
    return tables.convert(changed, Variation, where)


def _filled(value: Any, path: Path, values: Mapping[Path, float]) -> Any:
    if path in values:
        return values[path]
    if isinstance(value, Mapping):
        return {key: _filled(inner, (*path, str(key)), values) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, (*path, index), values) for index, inner in enumerate(value)]
    return value
