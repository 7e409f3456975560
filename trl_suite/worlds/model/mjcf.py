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
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np

from trl_suite import machine_resources
from trl_suite.errors import InputError

MAX_BYTES = 4 * 1024 * 1024
MEMORY = 4 * 1024**3  # bytes of address space of the child
SECONDS = 30
MODEL_SIZES_MAX = {  # sizes of the compiled model
    "nq": 2_000,
    "nbody": 5_000,
    "ngeom": 20_000,
    "nuserdata": 1_000_000,
    "ntexdata": 256 * 1024 * 1024,
    "nhfielddata": 16 * 1024 * 1024,
    "nmeshvert": 10_000_000,
    "nflexvert": 100_000,
}
_PATHS = ("file", "fileup", "filedown", "fileleft", "fileright", "filefront", "fileback")
_FOLDERS = ("assetdir", "meshdir", "texturedir")
MAX_MODELS = 64  # files of MJCF that one model may be made of
MAX_ASSETS = 1024  # meshes, textures and other files that one model may need


def digest(path: Path) -> str:
    """Return 16 hex digits of a model's own file and of every file that it needs, however deep.

    Raises:
        InputError: a file is refused.
    """
    needed, total = sources(path), hashlib.sha256()
    for file in needed.models:
        total.update(file.read_bytes())
    for file in needed.assets:
        total.update(f"{file.relative_to(path.parent.resolve())}\0".encode())
        total.update(_content_of(file, *_stamp(file)))
    return total.hexdigest()[:16]


def _stamp(path: Path) -> tuple[int, int]:
    """Return when a file was changed and its size: while both stay, its content is not read again."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=1024)
def _content_of(path: Path, changed: int, size: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


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
    """Return in words the fault of a compiled model, "" where it has none."""
    if not 0 < model.opt.timestep <= 0.1:
        return f"a timestep is above 0 and 0.1 s at most, not {model.opt.timestep}"
    for name, most in MODEL_SIZES_MAX.items():
        if (size := getattr(model, name, 0)) > most:
            return f"{name} is {size}, more than {most}"
    for holder, prefix in ((model, ""), (model.opt, "opt.")):
        for name in dir(holder):
            value = None if name.startswith("_") else getattr(holder, name)
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
                return f"{prefix}{name} is not finite"
    return ""


class Sources(NamedTuple):
    """The files that a model needs."""

    models: tuple[Path, ...]  # its own, and those of MJCF that it includes or attaches, each looked through
    assets: tuple[Path, ...]  # meshes, textures, height fields and skins that are there, links followed


def sources(path: Path) -> Sources:
    """Return a model's own file and those that it names, however deep.

    MuJoCo reads a name against the folder of the main file or of the file that holds it, below a `meshdir` or
    `texturedir` of any of the files, or without its folders (`strippath`). All of these are looked at.

    Raises:
        InputError: a file is binary, too large, declares a DOCTYPE, uses a plugin, or leaves the model's folder.
    """
    root = path.parent.resolve()
    models: list[Path] = []
    mentions: list[_Mention] = []
    folders = {""}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in models:
            continue
        models.append(file)
        if len(models) > MAX_MODELS:
            raise InputError(f"{path}: more than {MAX_MODELS} files")
        for mention in _mentions(file):
            mentions.append(mention)
            if mention.attribute in _FOLDERS:
                folders.add(mention.value)
        waiting += _models_named(file, root)
    assets = {place for mention in mentions for place in _places(mention, folders, root) if place.is_file()}
    assets -= {file.resolve() for file in models}
    if len(assets) > MAX_ASSETS:
        raise InputError(f"{path}: more than {MAX_ASSETS} meshes, textures and other files")
    return Sources(tuple(models), tuple(sorted(assets)))


class _Mention(NamedTuple):
    """A file or folder that a model's file names."""

    file: Path  # of the model
    tag: str
    attribute: str
    value: str


def _mentions(path: Path) -> list[_Mention]:
    """Return the files and folders that one file of a model names."""
    mentions: list[_Mention] = []
    for element in _parsed(path).iter():
        tag = str(element.tag).lower()
        if tag in ("plugin", "extension"):
            raise InputError(f"{path}: plugins are refused: they run code")
        mentions += [
            _Mention(path, tag, name, value)
            for name, value in element.attrib.items()
            if name in _FOLDERS or name in _PATHS
        ]
    return mentions


def _models_named(path: Path, root: Path) -> list[Path]:
    """Return the MJCF files that one file includes or attaches, as MuJoCo may find them."""
    named: list[Path] = []
    for mention in _mentions(path):
        if mention.tag in ("include", "model") and mention.attribute == "file":
            places = [place for place in _places(mention, {""}, root) if place.is_file()]
            if not places:
                raise InputError(f"{path}: {mention.tag} file='{mention.value}': no such file")
            named += places
    return named


def _places(mention: _Mention, folders: Iterable[str], root: Path) -> list[Path]:
    """Return where MuJoCo may look for what is mentioned; every place lies in the model's folder, links followed."""
    if mention.attribute in _FOLDERS:
        names = [mention.value]
    else:
        names = [str(Path(folder) / mention.value) for folder in folders]
        names += [str(Path(folder) / Path(mention.value).name) for folder in folders]
        if mention.tag not in ("include", "model"):
            names += [str(Path(first) / second / mention.value) for first in folders for second in folders]
    return [
        _inside(mention, mention.value, base / name, root)
        for base in dict.fromkeys((root, mention.file.parent.resolve()))
        for name in dict.fromkeys(names)
    ]


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


def _inside(mention: _Mention, value: str, place: Path, root: Path) -> Path:
    """Return a place that an attribute may mean, which must lie in the model's folder, links followed."""
    named = f"{mention.file}: {mention.attribute}='{value}'"
    if Path(value).is_absolute() or "\\" in value or ":" in value or "\0" in value:
        raise InputError(f"{named} is not a path inside the model's folder")
    try:
        meant = place.resolve()
    except (OSError, RuntimeError) as error:
        raise InputError(f"{named}: {error}") from None
    if not meant.is_relative_to(root):
        raise InputError(f"{named} leaves the model's folder")
    return meant
