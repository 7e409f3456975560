"""Whether two addresses are the same world: everything that acts decides it, and nothing that only describes."""

import re
from pathlib import Path
from typing import Any

import msgspec

from trl_suite import content, tables
from trl_suite.worlds.address import FOREIGN, Address, OutsideAddress
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.model import mjcf
from trl_suite.worlds.model.outside_models import FILE_PREFIX, resolved

_DESCRIBES = ("title", "about", "camera", "equals", "notes", "variants", "randomisation")  # acts where it is asked for


def folder_name(address: str) -> str:
    """Return the address as the name of a folder: `half-cheetah?gravity=1.3` becomes `half-cheetah-gravity-1.3`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", address).strip("-")


def robot_of(address: str) -> str:
    """Return the env of an address without its variant: `half-cheetah.gravity-1.5` gives `half-cheetah`."""
    without_axes = address.partition("?")[0]
    return without_axes if address.startswith(FOREIGN) else without_axes.partition(".")[0]


def identity(address: str) -> dict[str, Any]:
    """Return a table that two addresses share exactly when their worlds act alike, under one MuJoCo.

    Raises:
        InputError: the env, the variant or an axis does not exist.
    """
    if address.startswith(FOREIGN):
        outside = OutsideAddress.parse(address)
        variation = msgspec.to_builtins(outside.axes)
        return {"gymnasium": outside.env_id} | ({"variation": variation} if variation else {})
    place = Address.parse(address)
    # as it is written, so that a key which the suite learns later makes no env a new one
    table = tables.load(content.find("envs", place.env) / content.MARKER["envs"])
    acting = {key: value for key, value in table.items() if key not in _DESCRIBES}
    spec = load(place.env)
    if (model := resolved(spec.model)).startswith(FILE_PREFIX):
        acting["model"] = mjcf.digest(Path(model.removeprefix(FILE_PREFIX)))
    return {"env": acting, "variation": msgspec.to_builtins(place.variation(spec))}
