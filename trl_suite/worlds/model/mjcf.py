"""A user's MJCF: looked through before MuJoCo opens it, compiled in a child process with limits, looked at again after.

MuJoCo itself opens any path that an attribute names, and compiles without a limit of time or memory.
"""

import functools
import hashlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import mujoco
import numpy as np

from trl_suite import machine_resources
from trl_suite.errors import InputError

MAX_BYTES = 4 * 1024 * 1024
MEMORY = 4 * 1024**3  # bytes of address space of the child
SECONDS = 30
LARGEST = {  # sizes of the compiled model
    "nq": 2_000,
    "nbody": 5_000,
    "ngeom": 20_000,
    "nuserdata": 1_000_000,
    "ntexdata": 256 * 1024 * 1024,
    "nhfielddata": 16 * 1024 * 1024,
    "nmeshvert": 10_000_000,
    "nflexvert": 100_000,
}
_PATHS = ("file", "fileup", "filedown", "fileleft", "fileright", "filefront", "fileback", "content_type")
_FOLDERS = ("assetdir", "meshdir", "texturedir")
_MAX_FILES = 64  # of a model, included ones among them


def digest(path: Path) -> str:
    """Return 16 hex digits of a model's own file and of those that it includes.

    Raises:
        InputError: a file is refused.
    """
    found = hashlib.sha256()
    for one in sources(path):
        found.update(one.read_bytes())
    return found.hexdigest()[:16]


def vet(path: Path) -> None:
    """Refuse a model that is unsafe to compile, or that is no model once it is compiled; again is the same as once.

    Raises:
        InputError: what is wrong, with the file and what MuJoCo says.
    """
    _vetted(path, digest(path))


@functools.lru_cache(maxsize=64)
def _vetted(path: Path, content: str) -> None:
    code = "import sys; from trl_suite.worlds.model import mjcf; mjcf.child(sys.argv[1])"
    environment = {
        key: os.environ[key] for key in ("PATH", "PYTHONPATH", "HOME", "VIRTUAL_ENV", "SYSTEMROOT") if key in os.environ
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: it compiles for more than {SECONDS} s") from None
    try:
        problem = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        limit = MEMORY // 1024**3
        raise InputError(f"{path}: MuJoCo gave up on it, within {limit} GiB (exit {done.returncode})") from None
    if problem:
        raise InputError(f"{path}: {problem}")


def child(path: str) -> None:
    """Compile a model under limits and print what is wrong with it as JSON: the child process's whole work."""
    machine_resources.limit_process(MEMORY, SECONDS)
    config = mujoco.MjLogConfig.get()
    config.logto_file = config.logto_console = False
    mujoco.MjLogConfig.set(config)
    try:
        problem = wrong(mujoco.MjSpec.from_file(path).compile())
    except (ValueError, MemoryError, RuntimeError) as error:
        problem = str(error) or type(error).__name__
    sys.stdout.write("\n" + json.dumps(problem) + "\n")


def wrong(model: mujoco.MjModel) -> str:
    """Return what is wrong with a compiled model, "" where nothing is."""
    if not 0 < model.opt.timestep <= 0.1:
        return f"a timestep is above 0 and 0.1 s at most, not {model.opt.timestep}"
    for name, most in LARGEST.items():
        if (size := getattr(model, name, 0)) > most:
            return f"{name} is {size}, more than {most}"
    for holder, prefix in ((model, ""), (model.opt, "opt.")):
        for name in dir(holder):
            value = None if name.startswith("_") else getattr(holder, name)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
                return f"{prefix}{name} is not finite"
    return ""


def sources(path: Path) -> list[Path]:
    """Return a model's own file and those that it includes, each looked through.

    Raises:
        InputError: a file is binary, too large, declares a DOCTYPE, uses a plugin, or leaves the model's folder.
    """
    root = path.parent.resolve()
    found: list[Path] = []
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.append(one)
        if len(found) > _MAX_FILES:
            raise InputError(f"{path}: more than {_MAX_FILES} files")
        waiting += _looked_through(one, root)
    return found


def _looked_through(path: Path, root: Path) -> list[Path]:
    """Return the files that one file includes."""
    included: list[Path] = []
    folders: list[str] = [""]
    for element in _parsed(path).iter():
        tag = element.tag.lower()
        if tag in ("plugin", "extension"):
            raise InputError(f"{path}: plugins are refused: they run code")
        for name, value in element.attrib.items():
            if name in _FOLDERS:
                _inside(path, name, value, root)
                folders.append(value)
            elif name in _PATHS and name != "content_type":
                included += [_inside(path, name, value, root)] if tag == "include" else []
                for folder in folders:
                    _inside(path, name, str(Path(folder) / value), root)
    return included


def _parsed(path: Path) -> ElementTree.Element:
    if path.suffix.lower() == ".mjb":
        raise InputError(f"{path}: a binary model is refused: MuJoCo does not check it; give its XML")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: {len(data)} bytes; a model may have {MAX_BYTES} at most")
    if b"<!DOCTYPE" in data.upper() or b"<!ENTITY" in data.upper():
        raise InputError(f"{path}: a DOCTYPE is refused")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not XML: {error}") from None
    if root.tag not in ("mujoco", "mujocoinclude"):
        raise InputError(f"{path}: <{root.tag}> is no MJCF")
    return root


def _inside(path: Path, name: str, value: str, root: Path) -> Path:
    """Return the file that an attribute names, which must lie in the model's folder, links followed."""
    if Path(value).is_absolute() or "\\" in value or ":" in value:
        raise InputError(f"{path}: {name}='{value}' is not a path inside the model's folder")
    meant = (path.parent / value).resolve()
    if not meant.is_relative_to(root):
        raise InputError(f"{path}: {name}='{value}' leaves the model's folder")
    return meant
