"""`trl_suite.load_policy`: a policy from wherever it lies. Here, because a zip names no slot and its env does."""

from pathlib import Path

import msgspec
from gymnasium.spaces import Box

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import Algorithm
from trl_suite.errors import InputError
from trl_suite.networks import hub, policy, policy_files, store, zip_import
from trl_suite.networks.policy import Policy
from trl_suite.networks.policy_files import PolicyFiles
from trl_suite.worlds.address import FOREIGN
from trl_suite.worlds.env import interface_of, make

_PICKLES = (".pkl", ".pt", ".pth", ".pickle", ".joblib")


def load_policy(
    where: str | Path,
    statistics: str | Path | None = None,
    env: str | None = None,
    algorithm: Algorithm | None = None,
    activation: Activation | None = None,
) -> Policy:
    """Return a policy; nothing that comes with it is executed.

    Args:
        where: the name of a policy in the workspace or the suite, a policy folder, an SB3 zip, a folder of RL Zoo or
            of the Hugging Face hub, or `hf://user/name[@revision]`.
        statistics: the VecNormalize file of an SB3 zip; looked for beside the zip where not given.
        env: address of the env that a zip was trained in; taken from the names of folders and files where they tell it.
        algorithm: of a zip whose own fields do not tell it.
        activation: likewise.

    Raises:
        InputError: there is no policy, it is damaged or unsafe, it does not fit the env, or an argument is missing.
        NotInstalledError: `hf://` without `huggingface_hub`.
    """
    arguments = _ZipArguments(statistics=statistics, env=env, algorithm=algorithm, activation=activation)
    if str(where).startswith(hub.SCHEME):
        with hub.fetched(str(where)) as download:
            return _from_folder(download.folder, arguments, download.origin)
    path = Path(where)
    if path.is_dir():
        return _from_folder(path, arguments, "")
    if path.is_file() or path.suffix == ".zip":
        return _from_file(path, arguments)
    _refuse_idle(arguments, str(where))
    return policy.load(where)


class _ZipArguments(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a zip that its caller knows."""

    statistics: str | Path | None
    env: str | None
    algorithm: Algorithm | None
    activation: Activation | None


def _from_folder(folder: Path, arguments: _ZipArguments, origin: str) -> Policy:
    if not (folder / store.CARD).exists():
        return _imported(policy_files.of_folder(folder), arguments, origin)
    _refuse_idle(arguments, str(folder))
    loaded = policy.load(folder)
    if not origin:
        return loaded
    training = msgspec.structs.replace(loaded.card.training, origin=origin)
    return Policy(card=msgspec.structs.replace(loaded.card, training=training), components=loaded.components)


def _from_file(path: Path, arguments: _ZipArguments) -> Policy:
    if path.suffix in _PICKLES:
        raise InputError(
            f"{path}: is a pickle, which could run code; give the SB3 zip, and with it such a file as statistics="
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if arguments.statistics is not None:  # what lies beside the zip is not looked at then
        return _imported(PolicyFiles(path, None, "", None), arguments, "")
    return _imported(policy_files.of_zip(path), arguments, "")


def _imported(files: PolicyFiles, arguments: _ZipArguments, origin: str) -> Policy:
    address = arguments.env or (f"{FOREIGN}{files.env}" if files.env else "")
    if not address:
        raise InputError(
            f"{files.zip}: an SB3 zip does not say what its numbers mean: give env= (--env on the command line), the "
            "address of the env that it was trained in"
        )
    return zip_import.load(
        files.zip,
        spaces_of(address),
        statistics=Path(arguments.statistics) if arguments.statistics else files.statistics,
        algorithm=arguments.algorithm or files.algorithm,
        activation=arguments.activation,
        origin=origin,
    )


def _refuse_idle(arguments: _ZipArguments, where: str) -> None:
    """Refuse arguments that would be ignored."""
    idle = [name for name, value in msgspec.structs.asdict(arguments).items() if value is not None]
    if idle:
        raise InputError(f"{where}: a policy folder's card says all: {', '.join(idle)} can only be given with a zip")


def spaces_of(address: str) -> zip_import.Spaces:
    """Return the spaces of an env by its address: the numbers that a policy sees and gives.

    Raises:
        InputError: there is no such env, or its actions are not a flat vector.
    """
    env = make(address)
    try:
        space = env.action_space
        if not isinstance(space, Box) or not isinstance(env.observation_space, Box):
            raise InputError(f"{address}: observations and actions are to be vectors (Box)")
        low, high = (tuple(float(bound) for bound in limit.ravel()) for limit in (space.low, space.high))
        return zip_import.Spaces(address, interface_of(env), low, high)
    finally:
        env.close()
