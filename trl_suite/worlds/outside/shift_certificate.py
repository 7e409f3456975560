"""Certificates of shifts of envs of other packages: the model, its promise, and the motion, computed now."""

from typing import cast

import msgspec
import mujoco
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from trl_suite.errors import InputError, located
from trl_suite.worlds.address import OutsideAddress
from trl_suite.worlds.axes.promises import fields_of
from trl_suite.worlds.certificate import (
    DIVERGENCE_STEPS,
    RECOMPILING,
    ROUNDING,
    Certificate,
    Return,
    address_digest,
    breakdowns,
    differences,
    interval_of_mean,
    relative_difference,
)
from trl_suite.worlds.outside.model_shift import refuse_overwritten
from trl_suite.worlds.outside.outside_env import OutsideEnv
from trl_suite.worlds.stepping.env import FAULTS

Floats = NDArray[np.float64]
_RANDOM_EPISODES = 3
_PUSH = 1.0  # m/s or rad/s, of every joint
_LAID_OUT = ("name", "nname", "npath", "path", "signature", "nbuffer")  # what naming an element changes


def certify_shift(address: str) -> Certificate:
    """Return the certificate of a shifted env of another package, as `certificate.certify` does of a variant.

    The env is refused where an axis does not apply, the model is not what the axes promise, or the env writes over it.

    Raises:
        InputError: as said, or the address has no axes.
        NotInstalledError: the package is missing, or cannot run under this MuJoCo.
    """
    asked = OutsideAddress.parse(address)
    if not any(asked.axes.axes()):
        raise InputError(f"{address}: shifts are certified: '{address}?gravity=1.5'")
    base, varied = OutsideEnv(asked.nominal), OutsideEnv(address)
    try:
        return _certificate(asked, base, varied)
    finally:
        base.close()
        varied.close()


def _certificate(asked: OutsideAddress, base: OutsideEnv, varied: OutsideEnv) -> Certificate:
    shift = varied.shift
    assert shift is not None  # the address has axes
    distance = _distance(base, varied, 0.0)
    if distance.max() <= ROUNDING:  # random actions may leave an object alone: here it is pushed
        distance = _distance(base, varied, _PUSH)
    with located(str(asked)):
        refuse_overwritten(shift, asked.axes)  # by a step of an episode
    random, unstable = _random_episodes(varied)
    certificate = Certificate(
        env=asked.nominal,
        variant=str(asked).removeprefix(f"{asked.nominal}?"),
        digest=address_digest(str(asked)),
        mujoco=mujoco.mj_versionString(),
        fields=differences(shift.file.nominal, shift.file.edited),
        recompiled=_recompiled(shift.file.written, shift.file.edited),
        acts_on="motion",
        parted={step: float(distance[:step].max()) for step in DIVERGENCE_STEPS[:-1]},
        severity=None,
        random=random,
        problems=(),
    )
    broken = breakdowns(unstable, random.episodes)
    problems = [*_problems(certificate), *broken, *_unequal_base(shift.file.nominal, base.model)]
    return msgspec.structs.replace(certificate, problems=tuple(problems))


def _problems(certificate: Certificate) -> list[str]:
    problems: list[str] = []
    if not certificate.fields:
        problems.append("the compiled model is the base's")
    if certificate.recompiled > RECOMPILING:
        problems.append(f"its XML compiles to another model: {certificate.recompiled:g}")
    if max(certificate.parted.values()) <= ROUNDING:
        problems.append("its motion is the base's")
    return problems


def _distance(base: OutsideEnv, varied: OutsideEnv, push: float) -> Floats:
    """Return how far two envs are apart after each step (steps,), infinite where one is not finite."""
    return np.nan_to_num(np.abs(_trace(base, push) - _trace(varied, push)).max(axis=1), nan=np.inf)


def _trace(env: OutsideEnv, push: float) -> Floats:
    """Return positions and velocities under fixed actions (steps, n), from velocities of up to `push`."""
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    data, rows = env.simulator.data, []
    data.qvel[:] += rng.uniform(-push, push, len(data.qvel))
    for _ in range(DIVERGENCE_STEPS[-2]):
        env.step(_drawn_action(env, rng))
        rows.append(np.concatenate((data.qpos, data.qvel)))
    return np.array(rows)


def _drawn_action(env: OutsideEnv, rng: np.random.Generator) -> NDArray[np.float32]:
    limits = cast("Box", env.action_space)
    return rng.uniform(limits.low, limits.high).astype(np.float32)


def _random_episodes(env: OutsideEnv) -> tuple[Return, int]:
    """Return the return of uniformly drawn actions, and of how many episodes MuJoCo called the simulation unstable."""
    rng, returns, unstable = np.random.default_rng(0), np.zeros(_RANDOM_EPISODES), 0
    for episode in range(_RANDOM_EPISODES):
        env.reset(seed=episode)
        ended = broken = False
        while not ended:
            action = _drawn_action(env, rng)
            _, reward, terminated, truncated, _ = env.step(action)
            returns[episode] += reward
            broken |= bool(env.simulator.data.warning.number[FAULTS].any())
            ended = terminated or truncated
        unstable += broken
    low, high = interval_of_mean(returns, rng)
    return Return(mean=float(returns.mean()), low=low, high=high, episodes=_RANDOM_EPISODES), unstable


def _recompiled(written: mujoco.MjSpec, edited: mujoco.MjModel) -> float:
    """Return the largest relative difference between a model and what its XML compiles to."""
    try:
        again = mujoco.MjSpec.from_string(written.to_xml())
        again.modelfiledir = written.modelfiledir
        return relative_difference(edited, again.compile())
    except ValueError:  # MuJoCo does not read what it has written
        return float("inf")


def _unequal_base(nominal: mujoco.MjModel, live: mujoco.MjModel) -> list[str]:
    """Return whether the model that was edited is not the one that the package's own env has."""
    first, second = fields_of(nominal), fields_of(live)
    shapes = [
        name for name, value in first.items() if not name.startswith(_LAID_OUT) and value.shape != second[name].shape
    ]
    return [f"the edited model is of another shape than the env's: {', '.join(shapes)}"] if shapes else []
