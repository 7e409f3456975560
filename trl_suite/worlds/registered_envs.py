"""The envs behind Gymnasium's ids: those of the tables, which say so where a table has changed since it was registered.

Gymnasium takes an id's version and time limit from its registration, and a notebook lives longer than a table.
"""

from typing import Any

from trl_suite.worlds.registration import refuse_changed
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv


class RegisteredEnv(RobotEnv):
    """A `RobotEnv` that Gymnasium makes by its id.

    Raises:
        InputError: its table has another version or time limit than when it was registered.
    """

    def __init__(self, env: str, *args: Any, **kwargs: Any) -> None:
        refuse_changed(env)
        super().__init__(env, *args, **kwargs)


class RegisteredVectorEnv(RobotVectorEnv):
    """A `RobotVectorEnv` that Gymnasium makes by its id.

    Raises:
        InputError: its table has another version or time limit than when it was registered.
    """

    def __init__(self, num_envs: int, env: str, *args: Any, **kwargs: Any) -> None:
        refuse_changed(env)
        super().__init__(num_envs, env, *args, **kwargs)
