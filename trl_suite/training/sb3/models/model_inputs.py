"""Whether a model's networks see what its env gives and command what it takes: nothing may stand between them."""

from typing import Any

import gymnasium
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

from trl_suite.algorithms.registry import DESCRIPTORS
from trl_suite.errors import InputError
from trl_suite.interface import neutral
from trl_suite.networks.input_norms import INPUT_NORM_EPSILON
from trl_suite.training.sb3.models.layers import input_norms
from trl_suite.training.sb3.models.learners import Model, is_on_policy


def check_inputs(model: Model) -> None:
    """Refuse a model whose networks see other numbers than its env gives, or command others than it takes.

    Raises:
        InputError: a wrapper of the env, a features extractor, a policy class or its exploration is none that is
            known to change nothing; it is named.
    """
    _check_policy(model)
    if (vec_env := model.get_env()) is not None:
        for path in _wrappers(vec_env):
            if not neutral(path):
                raise InputError(
                    f"the model's env is wrapped in {path}, which may change the observations. "
                    "Take the wrapper away, or write an env that names its slots"
                )


def _check_policy(model: Model) -> None:
    policy = model.policy
    if _path(policy) not in {descriptor.sb3_policy for descriptor in DESCRIPTORS.values()}:
        raise InputError(f"the model's policy is a {_path(policy)}; only SB3's MlpPolicy can be transplanted")
    if model.use_sde and not _explores_plainly(model):
        raise InputError(
            "the model explores by state (use_sde=True) in a way that no component stands for: of PPO and A2C alone, "
            "with full_std=True and use_expln=False"
        )
    if getattr(policy, "squash_output", False) and is_on_policy(model):
        raise InputError("the model's actions are squashed (squash_output=True), which the source's are not")
    if any(getattr(module, "eps", INPUT_NORM_EPSILON) != INPUT_NORM_EPSILON for _, module in input_norms(model)):
        raise InputError(f"the model's layers normalise with another batch_norm_eps than {INPUT_NORM_EPSILON:g}")
    owners = (policy,) if is_on_policy(model) else (model.actor, model.critic)
    for owner in owners:
        extractor = owner.features_extractor
        if type(extractor) is not FlattenExtractor:
            raise InputError(
                f"the model's features extractor is {_path(extractor)}: its layers see other numbers than its env "
                "gives; only SB3's FlattenExtractor changes nothing"
            )


def _explores_plainly(model: Model) -> bool:
    """Whether exploration by state has one deviation for each feature and action, and its exponential."""
    if not is_on_policy(model):
        return False
    distribution: Any = model.policy.action_dist
    return bool(distribution.full_std) and not distribution.use_expln


def _wrappers(wrapped: VecEnv) -> list[str]:
    """Return the paths of all wrappers around the envs, besides one VecNormalize, which has components of its own."""
    vec_env: VecEnv | None = wrapped
    paths: list[str] = []
    normalisers = 0
    while isinstance(vec_env, VecEnvWrapper):
        if type(vec_env) is VecNormalize and not normalisers:
            normalisers += 1
        else:
            paths.append(_path(vec_env))
        vec_env = vec_env.venv
    if isinstance(vec_env, DummyVecEnv):
        return paths + [path for env in vec_env.envs for path in _around(env)]
    return paths + (_around_remote(vec_env) if vec_env is not None else [])


def _around(env: gymnasium.Env[Any, Any]) -> list[str]:
    paths: list[str] = []
    while isinstance(env, gymnasium.Wrapper):
        if not _flattens_nothing(env):
            paths.append(_path(env))
        env = env.env
    return paths


def _flattens_nothing(env: gymnasium.Wrapper[Any, Any, Any, Any]) -> bool:
    """Whether a FlattenObservation stands around a vector already."""
    shape = env.env.observation_space.shape
    return _path(env).startswith("gymnasium.") and type(env).__name__ == "FlattenObservation" and len(shape or ()) == 1


def _around_remote(vec_env: VecEnv) -> list[str]:
    """Return the wrappers around envs in other processes, as their specifications tell them."""
    if not vec_env.has_attr("spec"):
        return []
    specifications = [spec for spec in vec_env.get_attr("spec") if spec is not None]
    return [
        str(wrapper.entry_point).replace(":", ".")
        for spec in specifications
        for wrapper in getattr(spec, "additional_wrappers", ())
    ]


def _path(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
