"""What worlds there are, as rows for a table; reads the tables of the envs and loads no physics."""

from typing import NamedTuple

import msgspec

from trl_suite import content
from trl_suite.worlds.registration import gymnasium_id
from trl_suite.worlds.spec import load
from trl_suite.worlds.variation import Variation


class Row(NamedTuple):
    """One env, or one named variant of it."""

    address: str  # `half-cheetah.gravity-1.5`
    id: str  # `trl_suite/HalfCheetah-v0`
    variant: str  # "" for the env as it stands
    change: str  # `gravity x 1.5`
    about: str


def rows(env: str | None = None) -> list[Row]:
    """Return every env followed by its variants, or one env and its variants.

    Raises:
        InputError: there is no such env, or a table is wrong.
    """
    return [row for name in ([env] if env else content.names("envs")) for row in _rows_of(name)]


def _rows_of(name: str) -> list[Row]:
    spec = load(name)
    registered = gymnasium_id(name, spec)
    variants = [
        Row(f"{name}.{variant}", registered, variant, described(change), change.about)
        for variant, change in spec.variants.items()
    ]
    return [Row(name, registered, "", "", spec.title), *variants]


def described(variation: Variation) -> str:
    """Return a variation in words: `gravity x 1.5, mass of torso x 2`."""
    return ", ".join(_axis(axis, msgspec.to_builtins(value)) for axis, value in variation.axes())


def _axis(axis: str, value: object) -> str:
    if axis == "direction":
        return "paid for running backwards" if value == -1 else "paid for running forwards"
    if isinstance(value, list | tuple):
        return ", ".join(_axis(axis, one) for one in value)
    if not isinstance(value, dict):
        return f"{axis} x {value:g}"
    element = value.get("body") or value.get("actuator")
    named = f"{axis} of {element}" if element else axis
    return f"{named} x {value['scale']:g}" if "scale" in value else f"{named} = {value['value']}"
