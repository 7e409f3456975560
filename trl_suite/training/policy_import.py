"""`trl_suite.load_policy`: a policy from wherever it lies. Here, because a zip names no slot and its env does."""

import math
import re
import stat
import warnings
from collections.abc import Callable
from pathlib import Path

import gymnasium
import msgspec
from gymnasium.spaces import Box

from trl_suite import content
from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import Algorithm
from trl_suite.errors import InputError
from trl_suite.files import reason_of, regular_size
from trl_suite.interface import Spaces
from trl_suite.networks import policy, store
from trl_suite.networks.align import Alias
from trl_suite.networks.exchange import checkpoint_import, onnx_import
from trl_suite.networks.exchange.onnx_export import ONNX_SUFFIX
from trl_suite.networks.exchange.onnx_import import ImportedPolicy
from trl_suite.networks.formats import hub, policy_files, zip_import
from trl_suite.networks.formats.policy_files import PolicyFiles
from trl_suite.networks.policy import Policy
from trl_suite.worlds.address import FOREIGN, import_asked
from trl_suite.worlds.deployment import deployment_of
from trl_suite.worlds.stepping.env import interface_of, make

_CARD_SAYS = "a policy folder's card says all"
_PICKLES = (".pkl", ".pickle", ".joblib")
EXCHANGE_SUFFIXES = (ONNX_SUFFIX, *checkpoint_import.CHECKPOINT_SUFFIXES)  # of actors alone


def load_policy(
    where: str | Path,
    statistics: str | Path | None = None,
    env: str | None = None,
    algorithm: Algorithm | None = None,
    activation: Activation | None = None,
    alias: Alias | None = None,
) -> Policy:
    """Return a policy; nothing that comes with it is executed.

    Args:
        where: the name of a policy in the workspace or the suite, a policy folder, an SB3 zip, a folder of RL Zoo or
            of the Hugging Face hub, or `hf://user/name[@revision]`.
        statistics: the VecNormalize file of an SB3 zip; looked for beside the zip where not given.
        env: address of the env that a zip was trained in; taken from the names of folders and files where they tell it.
        algorithm: of a zip whose own fields do not tell it.
        activation: likewise.
        alias: names in the env -> names in an ONNX file, where they differ.

    Raises:
        InputError: there is no policy, it is damaged or unsafe, it does not fit the env, or an argument is missing.
        NotInstalledError: `hf://` without `huggingface_hub`.
    """
    import_asked(env or "")
    pickle = Path(statistics) if statistics is not None else None
    arguments = FileArguments(statistics=pickle, env=env, algorithm=algorithm, activation=activation, alias=alias or {})
    if str(where).startswith(hub.SCHEME):
        with hub.fetched(str(where)) as download:
            return _from_folder(download.folder, arguments, download.origin)
    path = Path(where)
    if path.suffix in EXCHANGE_SUFFIXES and not _exists(path, stat.S_ISDIR):
        return load_foreign(path, arguments).policy
    if _exists(path, stat.S_ISDIR):
        return _from_folder(path, arguments, "")
    if path.suffix == ".zip" or _exists(path):
        return _from_file(path, arguments)
    if str(where) not in content.names("policies") and _exists(path.with_name(f"{path.name}.zip")):
        raise InputError(f"{where}: no policy of that name; there is {path}.zip beside it: give that")
    arguments.refuse_idle(str(where), _CARD_SAYS)
    return policy.load(where)


def _exists(path: Path, kind: Callable[[int], bool] = lambda mode: not stat.S_ISDIR(mode)) -> bool:
    """Whether there is such a file, or a folder if that is asked for.

    Raises:
        InputError: no file can have that name.
    """
    try:
        return kind(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {reason_of(error)}") from None


class FileArguments(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's arguments for a file of somebody else's."""

    statistics: Path | None = None
    env: str | None = None
    algorithm: Algorithm | None = None
    activation: Activation | None = None
    alias: Alias = {}

    def refuse_idle(self, where: str, reason: str, *used: str) -> None:
        """Refuse arguments that would be ignored.

        Raises:
            InputError: one besides `used` is given.
        """
        idle = [name for name, value in msgspec.structs.asdict(self).items() if value and name not in used]
        if idle:
            raise InputError(f"{where}: {reason}: {', '.join(idle)} cannot be given with it")


def load_foreign(path: Path, arguments: FileArguments) -> ImportedPolicy:
    """Return the actor in an ONNX file or a checkpoint of rsl_rl or skrl, and how its numbers fit the env's.

    Nothing of it is executed.

    Raises:
        InputError: `env` is missing, or `onnx_import.load` or `checkpoint_import.load` refuses the file.
        NotInstalledError: the package onnx is missing.
    """
    onnx = path.suffix == ONNX_SUFFIX
    arguments.refuse_idle(str(path), "the file says all", "env", "algorithm", "alias" if onnx else "activation")
    regular_size(path)
    if not arguments.env:
        raise InputError(f"{path}: give env= (--env), the address of the env whose slots its numbers are")
    spaces, deployment = spaces_of(arguments.env), deployment_of(arguments.env)
    if onnx:
        return onnx_import.load(path, spaces, deployment, alias=arguments.alias, algorithm=arguments.algorithm)
    return checkpoint_import.load(
        path, spaces, deployment, activation=arguments.activation, algorithm=arguments.algorithm
    )


def _from_folder(folder: Path, arguments: FileArguments, origin: str) -> Policy:
    if not (folder / store.CARD).exists():
        return _imported(policy_files.of_folder(folder, arguments.statistics), arguments, origin)
    arguments.refuse_idle(str(folder), _CARD_SAYS)
    loaded = policy.load(folder)
    if not origin:
        return loaded
    training = msgspec.structs.replace(loaded.card.training, origin=origin)
    return Policy(card=msgspec.structs.replace(loaded.card, training=training), components=loaded.components)


def _from_file(path: Path, arguments: FileArguments) -> Policy:
    if path.suffix in _PICKLES:
        raise InputError(
            f"{path}: is a pickle, which could run code; give the SB3 zip, and with it such a file as statistics="
        )
    regular_size(path)
    return _imported(policy_files.of_zip(path, arguments.statistics), arguments, "")


def _imported(files: PolicyFiles, arguments: FileArguments, origin: str) -> Policy:
    address = arguments.env or (f"{FOREIGN}{files.env}" if files.env else "")
    if not address:
        raise InputError(
            f"{files.zip}: an SB3 zip does not say what its numbers mean: give env= (--env on the command line), the "
            "address of the env that it was trained in"
        )
    if arguments.env:
        _refuse_other_env(files, arguments.env)
    return zip_import.load(
        files.zip,
        spaces_of(address) if arguments.env else _spaces_by_name(files, address),
        statistics=files.statistics,
        algorithm=arguments.algorithm or files.algorithm,
        activation=arguments.activation,
        source=origin,
    )


def _refuse_other_env(files: PolicyFiles, address: str) -> None:
    """Refuse an env that is not the one of which a zip's name, or its folder's, speaks."""
    named, asked = _robot(files.env), _robot(address)
    if named and named != asked and named in {*map(_robot, content.names("envs")), *map(_robot, gymnasium.registry)}:
        raise InputError(
            f"{files.zip}: was trained in {files.env}, by the names of its folder and file, and not in {address}"
        )


def _robot(env: str) -> str:
    """Return `halfcheetah` for `gymnasium:HalfCheetah-v5`, `trl_suite/HalfCheetah-v0` and `half-cheetah.gravity-2`."""
    name = re.sub(r"-v\d+$", "", re.split(r"[.?]", env.removeprefix(FOREIGN).rpartition("/")[2])[0])
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _spaces_by_name(files: PolicyFiles, address: str) -> Spaces:
    """Return the spaces of the env that a name around the zip tells.

    Raises:
        InputError: it cannot be made here; the suite's env of that robot is named.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # Gymnasium's of old versions: the name is not the reader's
            return spaces_of(address)
    except InputError as error:
        near = [name for name in content.names("envs") if _robot(name) == _robot(files.env)]
        advice = f"give --env {near[0]} (env=)" if near else "give --env (env=), the env that it was trained in"
        raise InputError(f"{files.zip}: {files.env} cannot be made here: {advice}: {error}") from None


def spaces_of(address: str) -> Spaces:
    """Return the slots and action bounds of the env at an address.

    Raises:
        InputError: there is no such env, or its actions are not a flat vector.
    """
    env = make(address)
    try:
        space = env.action_space
        if not isinstance(space, Box) or not isinstance(env.observation_space, Box):
            raise InputError(f"{address}: observations and actions are to be vectors (Box)")
        limits = (space.low, space.high, env.observation_space.low, env.observation_space.high)
        return Spaces(address, interface_of(env), *(tuple(float(bound) for bound in limit.ravel()) for limit in limits))
    finally:
        env.close()


def trainable_spaces(address: str) -> Spaces:
    """Return the spaces of an env whose every action has limits: no algorithm here trains without.

    Raises:
        InputError: as `spaces_of`, or an action has no limits.
    """
    spaces = spaces_of(address)
    for slot, low, high in zip(spaces.interface.action, spaces.action_low, spaces.action_high, strict=True):
        if not math.isfinite(low) or not math.isfinite(high):
            advice = "wrap the env" if address.startswith(FOREIGN) else "give its actuator a ctrlrange in the model"
            raise InputError(f"{address}: action '{slot.name}' goes from {low} to {high}: to train on it, {advice}")
    return spaces
