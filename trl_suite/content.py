"""Where envs, policies and experiments lie: the workspace first, then what the suite ships."""

import os
import re
from pathlib import Path
from typing import Literal

from trl_suite.errors import InputError, unknown

Kind = Literal["envs", "policies", "experiments"]

MARKER: dict[Kind, str] = {"envs": "env.toml", "policies": "card.toml", "experiments": "experiment.toml"}
WORKSPACE = "TRL_SUITE_WORKSPACE"  # an environment variable, so that worker processes see the same content


PLAIN_RULE = "letters, digits and . _ + ? = , - alone, 200 at most, and neither . nor .."
_PLAIN = re.compile(r"[A-Za-z0-9._+?=,-]{1,200}")


def is_plain(name: str) -> bool:
    """Return whether a name is one component of a path, whatever system it is on: see `PLAIN_RULE`."""
    return _PLAIN.fullmatch(name) is not None and name not in {".", ".."}


def workspace() -> Path:
    """Return the folder whose content is looked at first: `$TRL_SUITE_WORKSPACE`, else the working directory."""
    return Path(os.environ.get(WORKSPACE) or Path.cwd())


def set_workspace(folder: Path) -> None:
    """Look for content in `folder` first, in this process and those that it starts.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"workspace '{folder}' is not a folder")
    os.environ[WORKSPACE] = str(folder.resolve())


def shipped() -> Path:
    """Return the folder that holds the suite's own content, in a wheel or in a checkout."""
    package = Path(__file__).parent
    inside = package / "_content"
    return inside if inside.is_dir() else package.parent


def is_installed(path: Path) -> bool:
    """Return whether a path lies below the installed package, whose files belong to the package manager."""
    package = Path(__file__).parent
    return (package / "_content").is_dir() and path.resolve().is_relative_to(package.resolve())


def refuse_installed(path: Path) -> None:
    """Refuse to write below the installed package.

    Raises:
        InputError: the path lies there.
    """
    if is_installed(path):
        raise InputError(f"{path}: lies in the installed trl_suite, where nothing is written; name a place of yours")


def names(kind: Kind) -> list[str]:
    """Return the names of all content of a kind, sorted."""
    return _names(kind, (workspace(), shipped()))


def _names(kind: Kind, roots: tuple[Path, ...]) -> list[str]:
    return sorted({marker.parent.name for root in roots for marker in (root / kind).glob(f"*/{MARKER[kind]}")})


def find(kind: Kind, name: str) -> Path:
    """Return the folder of one content item.

    Raises:
        InputError: there is none of that name; the message lists those that exist.
    """
    return _first(kind, name, (workspace(), shipped()))


def find_shipped(kind: Kind, name: str) -> Path:
    """Return the folder of one content item: the suite's own, whatever the workspace has by that name.

    The workspace's is taken where the suite ships none of that name.

    Raises:
        InputError: there is none of that name; the message names the nearest of those that exist.
    """
    return _first(kind, name, (shipped(), workspace()))


def _first(kind: Kind, name: str, roots: tuple[Path, ...]) -> Path:
    for root in roots if is_plain(name) else ():
        folder = root / kind / name
        if (folder / MARKER[kind]).is_file():
            return folder
    raise unknown(kind.removesuffix("s") if kind != "policies" else "policy", name, _names(kind, roots))
