"""How a world is named: `half-cheetah`, `half-cheetah.gravity-1.5`, `half-cheetah?gravity=1.3&gear=0.9`."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from typing import Any, Self

import msgspec

from trl_suite import content, tables
from trl_suite.errors import InputError, unknown
from trl_suite.files import reason_of
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import EnvSpec, load

FOREIGN = "gymnasium:"  # opens the address of an env that is not the suite's: `gymnasium:FetchReach-v4`

MODULE_MARK = ":"  # in a Gymnasium id, after the module that is imported for it: `module:Env-v0`

_DECODER = json.JSONDecoder()
_GYMNASIUM_ID = re.compile(r"-v\d+$")  # its end
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
NAME_RULE = "small letters, digits and single hyphens"


def is_env_name(name: str) -> bool:
    """Whether an env may be called so, in addresses and as a folder: see `NAME_RULE`."""
    return _NAME.fullmatch(name) is not None


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An env, one of its named variants or none, and changes of single axes on top of it."""

    env: str
    variant: str = ""
    axes: Variation = Variation()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that `str` gave as `text`.

        Raises:
            InputError: the env does not exist, or an axis is not one.
        """
        where, _, query = text.partition("?")
        env, _, variant = where.partition(".")
        return cls.of(env, variant, _axes(query, text))

    @classmethod
    def of(cls, env: str, variant: str, axes: dict[str, Any]) -> Self:
        """Return the address of an env with the given variant and axes.

        Raises:
            InputError: the env does not exist, or an axis is not one or has no such value.
        """
        if not is_env_name(env):
            if env in content.names("envs"):
                raise InputError(f"env '{env}': {NAME_RULE} alone make the folder's name")
            raise _unknown_env(env)
        content.find("envs", env)
        return cls(env=env, variant=variant, axes=tables.convert(axes, Variation, env))

    def __str__(self) -> str:
        return self.env + (f".{self.variant}" if self.variant else "") + _query(self.axes)

    def variation(self, spec: EnvSpec) -> Variation:
        """Return all that differs from the env as it stands.

        Raises:
            InputError: the env has no such variant, an axis is changed by the variant and beside it, or its table has
                no ranges to draw from.
        """
        axes = self._with_ranges(spec)
        if not self.variant:
            return axes
        if self.variant not in spec.variants:
            raise unknown("variant", self.variant, spec.variants, self.env)
        return spec.variants[self.variant].only_axes().joined(axes, str(self))

    def _with_ranges(self, spec: EnvSpec) -> Variation:
        """Axes with the table's ranges where they ask for those."""
        if not isinstance(self.axes.randomise, bool):
            return self.axes
        if self.axes.randomise and spec.randomisation is None:
            raise _no_ranges(self.env)
        return msgspec.structs.replace(self.axes, randomise=spec.randomisation if self.axes.randomise else None)


def _unknown_env(name: str) -> InputError:
    """Return the error for an env that is in no workspace: where it has a Gymnasium id's form, how that is written."""
    if _GYMNASIUM_ID.search(name):
        return InputError(f"unknown env '{name}': an env that is registered with Gymnasium is '{FOREIGN}{name}'")
    return unknown("env", name, content.names("envs"))


def table_ranges(address: str) -> dict[str, Any]:
    """Return the ranges of the [randomisation] of an env's table.

    Raises:
        InputError: there is no such env, or its table has none.
    """
    env = Address.parse(address).env
    if (randomisation := load(env).randomisation) is None:
        raise _no_ranges(env)
    return randomisation.ranges


def _no_ranges(env: str) -> InputError:
    return InputError(f"the table of '{env}' has no [randomisation]: give the ranges themselves")


class OutsideAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An env of another package, `gymnasium:FetchReach-v4`, and changes of single axes of its model."""

    env_id: str  # Gymnasium's, with the module before it where the address has one
    axes: Variation = Variation()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that `str` gave as `text`; whether there is such an env is not asked.

        Raises:
            InputError: an axis is not one, or has no such value.
        """
        env_id, _, query = text.removeprefix(FOREIGN).partition("?")
        return cls(env_id=env_id, axes=tables.convert(_axes(query, text), Variation, f"{FOREIGN}{env_id}"))

    @property
    def nominal(self) -> str:
        """The address without its axes."""
        return f"{FOREIGN}{self.env_id}"

    def __str__(self) -> str:
        return self.nominal + _query(self.axes)


def import_asked(address: str) -> None:
    """Import the module of an address like `gymnasium:module:Env-v0` that a user typed, in a shell or in Python.

    No address that comes from a file is given to it: `env.make` imports nothing.

    Raises:
        InputError: there is no such module, or it cannot be imported.
    """
    module, mark, _ = address.removeprefix(FOREIGN).partition("?")[0].rpartition(MODULE_MARK)
    if address.startswith(FOREIGN) and mark:
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever the user's own module raises
            reason = f"{type(error).__name__}: {reason_of(error)}"
            raise InputError(f"{address}: its module '{module}' cannot be imported: {reason}") from None


def without_module(address: str) -> str:
    """Return the id of a `gymnasium:` address: without axes, and without its module, which has been imported already.

    Raises:
        InputError: it has not: no file may have a module imported, which would run its code.
    """
    module, mark, name = address.removeprefix(FOREIGN).partition("?")[0].rpartition(MODULE_MARK)
    if mark and module not in sys.modules:
        raise InputError(
            f"{address}: would import a module, '{module}', which no file may ask for; import it in Python, and "
            f"write '{FOREIGN}{name}'"
        )
    return name


def _axes(query: str, text: str) -> dict[str, Any]:
    """Return the axes of an address with their values, as they are written."""
    axes: dict[str, Any] = {}
    for axis, value in _assignments(query, text):
        if axis in axes:
            raise InputError(f"{text}: {axis} is set twice")
        axes[axis] = value
    return axes


def _query(axes: Variation) -> str:
    written: dict[str, Any] = msgspec.to_builtins(axes)
    query = "&".join(f"{axis}={msgspec.json.encode(value).decode()}" for axis, value in written.items())
    return f"?{query}" if query else ""


def _assignments(query: str, text: str) -> Iterator[tuple[str, Any]]:
    """Yield each axis with its value; an `&` inside a value's quotes is part of a name, and separates nothing."""
    while query:
        axis, equals, rest = query.partition("=")
        if not equals or "&" in axis:
            raise InputError(f"{text}: {axis.partition('&')[0]}: no value")
        try:
            value, end = _DECODER.raw_decode(rest)
        except (ValueError, RecursionError):
            raise InputError(f"{text}: {axis}: '{rest.partition('&')[0]}' is not a number or a mapping") from None
        if rest[end:] and not rest[end:].startswith("&"):
            raise InputError(f"{text}: {axis}: '{rest.partition('&')[0]}' is not a number or a mapping")
        yield axis, value
        query = rest[end + 1 :]
