"""A batch of worlds as Stable-Baselines3's VecEnv."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from trl_suite.errors import InputError
from trl_suite.worlds.stepping.batch_spec import Variant
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv


class BatchVecEnv(VecEnv):
    """Many worlds of one env, stepped together on all cores, as DummyVecEnv would step them one by one.

    An ended episode's `info` has `terminal_observation` and `TimeLimit.truncated`; wrap it in SB3's VecMonitor for
    `episode`. Rewards are float32, as DummyVecEnv's. Reward terms are in `info` only where `terms` is set.

    Raises:
        InputError: the env, a variant or an axis does not exist or does not apply.
    """

    def __init__(
        self,
        num_envs: int,
        env: str,
        variants: Sequence[Variant] | None = None,
        *,
        terms: bool = False,
        **kwargs: Any,
    ) -> None:
        self.batch = RobotVectorEnv(num_envs, env, variants, autoreset_mode=AutoresetMode.SAME_STEP, **kwargs)
        self._terms = terms
        self._actions: NDArray[Any] = np.zeros(0)
        self.render_mode = None
        super().__init__(num_envs, self.batch.single_observation_space, self.batch.single_action_space)

    def reset(self) -> VecEnvObs:
        """Start new episodes, under the seeds that `seed` has set; return the first observations (worlds, slots)."""
        seeded = any(seed is not None for seed in self._seeds)
        observation, _ = self.batch.reset(seed=self._seeds if seeded else None)
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        return observation

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions (worlds, actions) for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Return observations, rewards, whether episodes have ended, and an info per world.

        Raises:
            FloatingPointError: an action is not finite.
        """
        observation, reward, terminated, truncated, infos = self.batch.step(self._actions)
        ended = terminated | truncated
        env_infos = [{} for _ in range(self.num_envs)] if not self._terms else self._each(infos, ended)
        for world in np.flatnonzero(ended):
            info = env_infos[world]
            info["terminal_observation"] = infos["final_obs"][world]
            info["TimeLimit.truncated"] = bool(truncated[world] and not terminated[world])
            if infos["final_info"].get("sim_unstable", ended & False)[world]:
                info["sim_unstable"] = True
            if "is_success" in infos["final_info"]:  # SB3 logs it as `rollout/success_rate`
                info["is_success"] = bool(infos["final_info"]["is_success"][world])
        return observation, reward.astype(np.float32), ended, env_infos

    def close(self) -> None:
        """End the threads."""
        self.batch.close()

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return the ranges that episodes are drawn from now, by the numbers' names; none of a plain env."""
        return self.batch.ranges(0)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the batch, once per world.

        Raises:
            AttributeError: it has none of that name.
        """
        return [getattr(self.batch, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: the worlds of a batch are no objects of their own.

        Raises:
            InputError: always.
        """
        raise InputError(f"a world of a batch has no attribute '{attr_name}' to be set: make the batch with variants")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> Any:
        """Refuse: the worlds of a batch are no objects of their own.

        Raises:
            InputError: always.
        """
        raise InputError(f"a world of a batch has no method '{method_name}'")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Return False for every world: a batch is not wrapped world by world."""
        return [False] * len(list(self._get_indices(indices)))

    def _each(self, infos: dict[str, Any], ended: NDArray[np.bool_]) -> list[dict[str, Any]]:
        final = infos.get("final_info", {})
        keys = {key for key in (*infos, *final) if key.startswith("reward_")}
        terms = {key: np.where(ended, final.get(key, 0.0), infos.get(key, 0.0)) for key in sorted(keys)}
        return [{key: float(values[world]) for key, values in terms.items()} for world in range(self.num_envs)]
