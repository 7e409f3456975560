"""`trl_suite.load_policy`: a policy from wherever it lies. Here, because a zip names no slot and its env does."""

from pathlib import Path

import msgspec
from gymnasium.spaces import Box

from trl_suite.errors import InputError
from trl_suite.networks import hub, layouts, policy, store, zip
from trl_suite.networks.card import Activation, Algorithm
from trl_suite.networks.layouts import Layout
from trl_suite.networks.policy import Policy
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
    told = _Told(statistics=statistics, env=env, algorithm=algorithm, activation=activation)
    if str(where).startswith(hub.SCHEME):
        with hub.fetched(str(where)) as found:
            return _from_folder(found.folder, told, found.origin)
    path = Path(where)
    if path.is_dir():
        return _from_folder(path, told, "")
    if path.is_file() or path.suffix == ".zip":
        return _from_file(path, told)
    _refuse_idle(told, str(where))
    return policy.load(where)


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller knows of a zip."""

    statistics: str | Path | None
    env: str | None
    algorithm: Algorithm | None
    activation: Activation | None


def _from_folder(folder: Path, told: _Told, origin: str) -> Policy:
    if not (folder / store.CARD).exists():
        return _imported(layouts.of_folder(folder), told, origin)
    _refuse_idle(told, str(folder))
    found = policy.load(folder)
    if not origin:
        return found
    training = msgspec.structs.replace(found.card.training, origin=origin)
    return Policy(card=msgspec.structs.replace(found.card, training=training), components=found.components)


def _from_file(path: Path, told: _Told) -> Policy:
    if path.suffix in _PICKLES:
        raise InputError(
            f"{path}: is a pickle, which could run code; give the SB3 zip, and with it such a file as statistics="
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if told.statistics is not None:  # what lies beside the zip is not looked at then
        return _imported(Layout(path, None, "", None), told, "")
    return _imported(layouts.of_zip(path), told, "")


def _imported(layout: Layout, told: _Told, origin: str) -> Policy:
    address = told.env or (f"{FOREIGN}{layout.env}" if layout.env else "")
    if not address:
        raise InputError(
            f"{layout.zip}: an SB3 zip does not say what its numbers mean: give env= (--env on the command line), the "
            "address of the env that it was trained in"
        )
    return zip.load(
        layout.zip,
        world(address),
        statistics=Path(told.statistics) if told.statistics else layout.statistics,
        algorithm=told.algorithm or layout.algorithm,
        activation=told.activation,
        origin=origin,
    )


def _refuse_idle(told: _Told, where: str) -> None:
    """Refuse arguments that would be ignored."""
    given = [name for name, value in msgspec.structs.asdict(told).items() if value is not None]
    if given:
        raise InputError(f"{where}: a policy folder's card says all: {', '.join(given)} can only be given with a zip")


def world(address: str) -> zip.World:
    """Return what an env's address says of the numbers that a policy sees and gives.

    Raises:
        InputError: there is no such env, or its actions are not a flat vector.
    """
    env = make(address)
    try:
        space = env.action_space
        if not isinstance(space, Box) or not isinstance(env.observation_space, Box):
            raise InputError(f"{address}: observations and actions are to be vectors (Box)")
        low, high = (tuple(float(bound) for bound in limit.ravel()) for limit in (space.low, space.high))
        return zip.World(address, interface_of(env), low, high)
    finally:
        env.close()
