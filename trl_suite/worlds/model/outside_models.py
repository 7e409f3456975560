"""Models that another installed package holds: `package:NAME/path.xml` and `menagerie:NAME`.

Only `menagerie:` asks a package for a path, MuJoCo Menagerie's own, which downloads a robot when it is first asked for.
"""

import importlib
import importlib.util
from pathlib import Path, PurePosixPath
from typing import Any

from trl_suite.errors import InputError, NotInstalledError, unknown

FILE_PREFIX = "file:"  # opens the path of a user's own model: see `EnvSpec.read`
PACKAGE_PREFIX = "package:"  # opens the name of an installed package and a path in it
MENAGERIE_PREFIX = "menagerie:"  # opens the name of a robot of MuJoCo Menagerie
_MENAGERIE = "mujoco_menagerie"
INSTALL_MENAGERIE = "pip install 'trl-suite[menagerie]'"


def resolved(model: str) -> str:
    """Name of a model, `file:/.../go1.xml` with the path of its file where another package holds it.

    Raises:
        InputError: the package has no such file, there is no such robot, or it cannot be downloaded.
        NotInstalledError: the package is missing.
    """
    if model.startswith(PACKAGE_PREFIX):
        return f"{FILE_PREFIX}{_in_package(model, model.removeprefix(PACKAGE_PREFIX))}"
    if model.startswith(MENAGERIE_PREFIX):
        return f"{FILE_PREFIX}{_in_menagerie(model, model.removeprefix(MENAGERIE_PREFIX))}"
    return model


def _in_package(model: str, place: str) -> Path:
    package, _, inside = place.partition("/")
    path = PurePosixPath(inside)
    if not package.isidentifier() or path.suffix != ".xml" or path.is_absolute() or ".." in path.parts:
        raise InputError(f"model '{model}': write 'package:NAME/path/to/model.xml', NAME as Python imports it")
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise NotInstalledError(f"model '{model}': no package '{package}' is installed: pip install it")
    for folder in spec.submodule_search_locations or ():
        if (file := Path(folder) / path).is_file():
            return file
        models = [str(other.relative_to(folder)) for other in Path(folder).rglob(path.name)]
        if models:
            raise unknown("model", inside, models, f"package '{package}'")
    raise InputError(f"model '{model}': the package '{package}' holds no '{inside}'")


def _in_menagerie(model: str, name: str) -> Path:
    if importlib.util.find_spec(_MENAGERIE) is None:
        raise NotInstalledError(f"model '{model}' needs MuJoCo Menagerie: {INSTALL_MENAGERIE}")
    menagerie: Any = importlib.import_module(_MENAGERIE)
    robot, _, entry = name.partition("/")
    if robot not in menagerie.names():
        raise unknown("robot of MuJoCo Menagerie", robot, menagerie.names())
    described = menagerie.get(robot)
    entry = entry or described.default_scene
    if entry not in described.entry_names:
        raise unknown(f"model of '{robot}'", entry, described.entry_names)
    try:
        return Path(described.xml(entry))
    except (menagerie.MenagerieError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"model '{model}' cannot be downloaded: {reason}: "
            f"run `mujoco-menagerie prefetch {robot}` where there is a network, and set MENAGERIE_CACHE_DIR"
        ) from None
