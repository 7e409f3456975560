"""Every env under a Gymnasium id: `trl_suite/HalfCheetah-v0`; loads no physics."""

import warnings

import gymnasium
from gymnasium.envs.registration import EnvSpec as Registered
from gymnasium.envs.registration import registry

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.env_spec import EnvSpec, load

NAMESPACE = "trl_suite"


def gymnasium_id(name: str, spec: EnvSpec) -> str:
    """Return the env's Gymnasium id: `half-cheetah` of version 0 is `trl_suite/HalfCheetah-v0`."""
    title = "".join(part[:1].upper() + part[1:] for part in name.split("-"))
    return f"{NAMESPACE}/{title}-v{spec.version}"


def register() -> None:
    """Register every env, shipped or in the workspace; again is the same as once.

    A table that cannot be read is a warning here, so that it does not keep a user from the other envs.
    """
    for name in content.names("envs"):
        try:
            register_one(name)
        except InputError as error:
            warnings.warn(f"not registered: {error}", stacklevel=2)


def register_one(name: str) -> None:
    """Register one env, in place of an older table of the same name.

    Raises:
        InputError: there is no such env, or its table is wrong.
    """
    spec = load(name)
    registration_spec = Registered(
        id=gymnasium_id(name, spec),
        entry_point="trl_suite.worlds.env:RobotEnv",
        vector_entry_point="trl_suite.worlds.vector_env:RobotVectorEnv",
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
