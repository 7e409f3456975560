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
    spec = load(name)
    registration_spec = Registered(
        id=gymnasium_id(name, spec),
        entry_point="trl_suite.worlds.stepping.env:RobotEnv",
        vector_entry_point="trl_suite.worlds.stepping.vector_env:RobotVectorEnv",
        max_episode_steps=spec.episode_steps,
        kwargs={"env": name},
    )
    if registry.get(registration_spec.id) != registration_spec:
        registry.pop(registration_spec.id, None)
        gymnasium.register(
            registration_spec.id,
            registration_spec.entry_point,
            max_episode_steps=registration_spec.max_episode_steps,
            kwargs=dict(registration_spec.kwargs),
            vector_entry_point=registration_spec.vector_entry_point,
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
