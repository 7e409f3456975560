"""Every env under a Gymnasium id: `trl_suite/HalfCheetah-v0`; loads no physics."""

import warnings
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec as Registered
from gymnasium.envs.registration import registry

from trl_suite import content, tables
from trl_suite.errors import InputError
from trl_suite.worlds.env_spec import EnvSpec, load

NAMESPACE = "trl_suite"
_ENTRY_POINT = "trl_suite.worlds.registered_envs:RegisteredEnv"
_VECTOR_ENTRY_POINT = "trl_suite.worlds.registered_envs:RegisteredVectorEnv"


def gymnasium_id(name: str, spec: EnvSpec) -> str:
    """Return the env's Gymnasium id: `half-cheetah` of version 0 is `trl_suite/HalfCheetah-v0`."""
    return f"{NAMESPACE}/{_title(name)}-v{spec.version}"


def _title(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("-"))


def register() -> None:
    """Register every env, shipped or in the workspace; again is the same as once.

    A table that cannot be read is a warning here, so that it does not keep a user from the other envs; `gym.make` of
    its id raises the same error again, and makes the env once the table is mended.
    """
    for name in content.names("envs"):
        try:
            register_one(name)
        except InputError as error:
            warnings.warn(f"not registered: {error}", stacklevel=2)
            _register_broken(name)


def register_one(name: str) -> None:
    """Register one env, in place of an older table of the same name.

    Raises:
        InputError: there is no such env, or its table is wrong.
    """
    spec = _registration(name)
    if registry.get(spec.id) != spec:
        registry.pop(spec.id, None)
        gymnasium.register(
            spec.id,
            spec.entry_point,
            max_episode_steps=spec.max_episode_steps,
            kwargs=dict(spec.kwargs),
            vector_entry_point=spec.vector_entry_point,
        )


def _registration(name: str) -> Registered:
    spec = load(name)
    return Registered(
        id=gymnasium_id(name, spec),
        entry_point=_ENTRY_POINT,
        vector_entry_point=_VECTOR_ENTRY_POINT,
        max_episode_steps=spec.episode_steps,
        kwargs={"env": name},
    )


def refuse_changed(name: str) -> None:
    """Register an env anew whose table has another version or time limit than when it was registered, and say so.

    Raises:
        InputError: it has, or the table is wrong.
    """
    current = _registration(name)
    older = [spec for spec in registry.values() if spec.entry_point == _ENTRY_POINT and spec.kwargs == {"env": name}]
    if not older or older == [current]:
        return
    for spec in older:
        registry.pop(spec.id)
    register_one(name)
    raise InputError(
        f"{content.find('envs', name) / content.MARKER['envs']}: has changed since it was registered: it is "
        f"{current.id} now, of {current.max_episode_steps} steps. Make it again"
    )


def _register_broken(name: str) -> None:
    """Register the id that the env would have, of any version, so that Gymnasium can say what is wrong."""
    entry_point = "trl_suite.worlds.registration:make_mended"
    env_id = f"{NAMESPACE}/{_title(name)}-v{_version(name)}"
    if env_id not in registry:
        gymnasium.register(env_id, entry_point, kwargs={"name": name}, order_enforce=False, disable_env_checker=True)


def _version(name: str) -> int:
    """Version that a table names, as far as it can be read; 0 otherwise."""
    try:
        version = tables.load(content.find("envs", name) / content.MARKER["envs"]).get("version", 0)
    except InputError:
        return 0
    return version if isinstance(version, int) and version >= 0 else 0


def make_mended(name: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Env whose table could not be read when the envs were registered, if it can be by now.

    Raises:
        InputError: its table is still wrong.
    """
    register_one(name)
    return gymnasium.make(gymnasium_id(name, load(name)), **kwargs)
