"""Folders that other projects keep policies in: RL Zoo's and the Hugging Face hub's. Nothing in them is executed."""

import re
from pathlib import Path
from typing import NamedTuple

from trl_suite.algorithms.registry import DESCRIPTORS, Algorithm
from trl_suite.errors import InputError
from trl_suite.files import read_limited
from trl_suite.interface import neutral
from trl_suite.networks.formats.zip_export import STATISTICS_SUFFIX

CONFIG_MAX_BYTES = 256 * 1024  # of a config.yml

_HUB = re.compile(r"(?P<algorithm>[a-z0-9_]+?)-(?P<env>[A-Z].*)")  # ppo-HalfCheetah-v5.zip
_ZOO = re.compile(r"(?P<env>.+)_\d+")  # ppo/HalfCheetah-v5_1/
_CHECKPOINT = re.compile(r"rl_model_(?P<steps>\d+)_steps")
_NORMALISES = re.compile(r"^\s*(?:- )*normalize(?::\s+|\s*\n\s*- )['\"]?(?:true|True|\{)", re.MULTILINE)
_NOT_A_POLICY = ("train_eval_metrics.zip",)


class PolicyFiles(NamedTuple):
    """Where a folder keeps what an import needs, and what its names tell."""

    zip: Path
    statistics: Path | None
    env: str  # Gymnasium id, "" where no name tells it
    algorithm: Algorithm | None


def of_folder(folder: Path, statistics: Path | None = None) -> PolicyFiles:
    """Return the layout of a folder: `logs/ppo/Env-v5_1/`, or a hub's with `ppo-Env-v5.zip` and `vec_normalize.pkl`.

    Of RL Zoo's zips the last is taken, not the best: the statistics beside it are the last ones too.

    Args:
        folder: the folder.
        statistics: those that the caller names; looked for in the folder where None.

    Raises:
        InputError: there is no zip that could be the policy, several that could, statistics are missing that the
            folder's own configuration speaks of, or it names a wrapper that changes observations or actions.
    """
    zips = sorted(path for path in folder.glob("*.zip") if path.name not in _NOT_A_POLICY)
    last = [path for path in zips if path.stem == _zoo_env(folder)]
    rest = [path for path in zips if not _CHECKPOINT.fullmatch(path.stem)]
    best = [path for path in rest if path.name == "best_model.zip"]
    candidates = last or best or rest or zips
    if not candidates:
        raise InputError(f"{folder}: neither a policy folder (card.toml) nor one with an SB3 zip")
    if len(candidates) > 1:
        raise InputError(f"{folder}: several zips ({', '.join(path.name for path in candidates)}); name one of them")
    return of_zip(candidates[0], statistics)


def of_zip(path: Path, statistics: Path | None = None) -> PolicyFiles:
    """Return statistics, env and algorithm of a zip, as the names around it tell them.

    Raises:
        InputError: statistics are missing that a configuration beside the zip speaks of, or it names a wrapper that
            changes observations or actions.
    """
    folder, named = path.parent, _HUB.fullmatch(path.stem)
    env = _zoo_env(folder) or (named["env"] if named else "")
    algorithm = named["algorithm"] if named else folder.parent.name
    configuration = "\n".join(_text(place / "config.yml") for place in dict.fromkeys((folder, folder / env)))
    _refuse_wrappers(path, configuration)
    statistics = statistics or next((candidate for candidate in _statistics(path, env) if candidate.is_file()), None)
    if statistics is None and _NORMALISES.search(configuration):
        raise InputError(
            f"{path}: was trained with VecNormalize, by its config.yml; give its statistics (vecnormalize.pkl)"
        )
    supported = algorithm in DESCRIPTORS
    return PolicyFiles(path, statistics, env, algorithm if supported else None)


def _zoo_env(folder: Path) -> str:
    """Return the env's id of a folder as RL Zoo makes it, or an empty text."""
    match = _ZOO.fullmatch(folder.name)
    return match["env"] if match and (folder / match["env"]).is_dir() else ""


def _statistics(path: Path, env: str) -> list[Path]:
    """Return the files that may hold the zip's statistics, the most particular first."""
    folder = path.parent
    candidates = [path.with_suffix(STATISTICS_SUFFIX)]
    if step := _CHECKPOINT.fullmatch(path.stem):
        candidates.append(folder / f"rl_model_vecnormalize_{step['steps']}_steps.pkl")
    return [*candidates, folder / env / "vecnormalize.pkl", folder / "vec_normalize.pkl", folder / "vecnormalize.pkl"]


def _text(config: Path) -> str:
    """Return the text of a config.yml, or "": it is searched, not parsed, since its tags would run code."""
    return read_limited(config, CONFIG_MAX_BYTES).decode("utf-8", errors="replace") if config.is_file() else ""


def _refuse_wrappers(path: Path, configuration: str) -> None:
    """Refuse a policy that a configuration puts behind wrappers by which it saw or commanded other numbers."""
    for key in ("env_wrapper", "vec_env_wrapper"):
        for name in re.findall(r"[A-Za-z_]\w*(?:\.\w+)+", _value(configuration, key)):
            if not neutral(name):
                raise InputError(
                    f"{path}: was trained behind {name[:120]}, by its config.yml: what the policy saw or commanded is "
                    "not what its env gives"
                )
    stacked = re.search(r"\d+", _value(configuration, "frame_stack"))
    if stacked and int(stacked[0][:9]) > 1:
        raise InputError(f"{path}: saw a stack of {stacked[0][:9]} frames, by its config.yml, which cannot be imported")


def _value(configuration: str, key: str) -> str:
    """Return the text of a key's value, written as `key: value`, as a block below it, or as a pair of a list."""
    start = re.search(rf"^(?P<indent> *)(?P<pair>(?:- )*)['\"]?{key}['\"]?(?::|[ \t]*$)", configuration, re.MULTILINE)
    if not start:
        return ""
    rest = configuration[start.end() :]
    column = len(start["indent"]) + max(0, len(start["pair"]) - len("- - "))
    stop = re.search(rf"\n {{0,{column}}}(?:- - |[^\s-])", rest)
    return rest[: stop.start()] if stop else rest
