"""A folder for a robot of the user's: its files, a first table written from its model, and the schema for editors."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.files import storing, whole_folder, write_atomically
from trl_suite.worlds.address import NAME_RULE, is_env_name
from trl_suite.worlds.certificate import moves
from trl_suite.worlds.env_schema import SCHEMA_FILE, env_schema
from trl_suite.worlds.first_table import VARIANTS, compiled_model, first_table
from trl_suite.worlds.model import mjcf

MJCF_SUFFIX = ".xml"
MODEL_FILE = "model.xml"  # where the user's own file has a name that no table may have


class NewEnv(msgspec.Struct, frozen=True, kw_only=True):
    """An env that was written, and what its author should know of it."""

    env: str
    table: Path
    files: tuple[str, ...]  # of the model, beside the table
    variants: tuple[str, ...]
    notes: tuple[str, ...]


def new_env(name: str, model: Path) -> NewEnv:
    """Write envs/NAME in the workspace: the model's files and a first table.

    Raises:
        InputError: the name is taken or none, or the model cannot be used.
        StorageError: the workspace cannot be written.
    """
    folder = content.workspace() / "envs" / name
    _refuse_name(name, folder)
    if not model.is_file():
        raise InputError(f"{model}: no such file; --from names an MJCF file")
    main = model.name if model.suffix == MJCF_SUFFIX and content.is_plain(model.name) else MODEL_FILE
    files = _files(model, main)
    compiled_model(str(model.absolute()))  # what is wrong with it is said of the user's own file
    with whole_folder(folder) as is_new, storing(folder):
        if not is_new:
            raise InputError(f"{folder} exists already; choose another name, or remove it")
        _copy(files, folder)
        _write_schema(folder.parent)
        return _written(name, folder, main, sorted(files))


def _refuse_name(name: str, folder: Path) -> None:
    if not is_env_name(name):
        raise InputError(f"'{name}' is no name for an env: {NAME_RULE} alone")
    if (content.shipped() / "envs" / name).is_dir():
        raise InputError(f"'{name}' is the name of a shipped env, which this one would hide: choose another")
    content.refuse_installed(folder)


def _files(model: Path, main: str) -> dict[str, Path]:
    """The files that a model needs, by their place below its folder; its own is called `main`.

    Raises:
        InputError: the model is unsafe, or another of its files has that name.
    """
    needed, root = mjcf.sources(model), model.parent.resolve()
    others = [path for path in (*needed.models, *needed.assets) if path.resolve() != model.resolve()]
    files = {path.resolve().relative_to(root).as_posix(): path for path in others}
    if main in files:
        raise InputError(f"{model}: rename it to NAME{MJCF_SUFFIX}: letters, digits, '-' and '_' alone in NAME")
    return {main: model} | files


def _copy(files: dict[str, Path], folder: Path) -> None:
    for place, path in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / place, path.read_bytes())


def _write_schema(envs: Path) -> None:
    """Write the schema that a table's first line names; an older one is replaced."""
    write_atomically(envs / SCHEMA_FILE, msgspec.json.format(msgspec.json.encode(env_schema()), indent=1) + b"\n")


def _written(name: str, folder: Path, main: str, files: Sequence[str]) -> NewEnv:
    """Write the table, with the variants that apply to the model."""
    path = folder / content.MARKER["envs"]
    table = first_table(compiled_model(str(folder.absolute() / main)), name, main)
    variants: list[str] = []
    for variant in VARIANTS:
        write_atomically(path, table.with_variants([variant]).encode())
        variants += [variant] if _applies(name, variant) else []
    write_atomically(path, table.with_variants(variants).encode())
    return NewEnv(env=name, table=path, files=tuple(files), variants=tuple(variants), notes=table.notes)


def _applies(env: str, variant: str) -> bool:
    try:
        return moves(env, variant)
    except InputError:  # an axis that the model has nothing for
        return False
