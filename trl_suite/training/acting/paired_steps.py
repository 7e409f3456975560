"""The same state and the same action in two worlds: how far the step differs, free of all other noise."""

from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt
import torch

from trl_suite.errors import InputError
from trl_suite.networks.policy import Policy
from trl_suite.worlds.stepping.env import interface_of, make
from trl_suite.worlds.terms.play_joints import seen_joints, seen_numbers

Floats = npt.NDArray[np.float64]


class PairedSteps(NamedTuple):
    """One step from the same states and actions in two worlds."""

    source: Floats  # (transitions, velocities), change of each generalised velocity in the source's world
    target: Floats  # (transitions, velocities), in the target's
    names: tuple[str, ...]  # (velocities,), of their joints


def paired(policy: Policy, target: str, count: int, seed: int) -> PairedSteps:
    """Return steps from states that the policy visits at home, acting with its own noise, in both worlds.

    MuJoCo's positions and velocities are set to the same values and the solver starts cold in both, so that a world
    compared with itself differs by exactly 0.

    Args:
        policy: of the source; its card names its world.
        target: address of the other world.
        count: number of transitions; those of an unstable simulation are left out.
        seed: of the first states and the noise.

    Raises:
        InputError: one of the worlds is none of MuJoCo's, or their states or actions are not the same quantities.
    """
    here, there = make(policy.card.training.env), make(target)
    try:
        _check_alike(policy, here, there, target)
        changes = _changes(policy, here, there, count, seed)
        names = _names(here.unwrapped.model)  # type: ignore[attr-defined]
    finally:
        here.close()
        there.close()
    finite = np.isfinite(changes).all(axis=(0, 2))
    return PairedSteps(changes[0, finite], changes[1, finite], names)


def _check_alike(policy: Policy, here: gymnasium.Env[Any, Any], there: gymnasium.Env[Any, Any], target: str) -> None:
    for env in (here, there):
        if not isinstance(getattr(env.unwrapped, "data", None), mujoco.MjData):
            raise InputError(f"{target}: only two worlds of MuJoCo can be put into the same state")
    models = [_names(env.unwrapped.model) for env in (here, there)]  # type: ignore[attr-defined]
    if models[0] != models[1]:
        raise InputError(f"{target}: its joints are not those of {policy.card.training.env}, so no state is the same")
    if policy.interface.action_names != interface_of(there).action_names:
        raise InputError(f"{target}: its actions are not those of {policy.card.training.env}")


def _changes(
    policy: Policy, here: gymnasium.Env[Any, Any], there: gymnasium.Env[Any, Any], count: int, seed: int
) -> Floats:
    """Return the change of velocities in both worlds: (2, transitions, velocities)."""
    generator = torch.Generator().manual_seed(seed)
    observation, _ = here.reset(seed=seed)
    there.reset(seed=seed)
    source_data, target_data = here.unwrapped.data, there.unwrapped.data  # type: ignore[attr-defined]
    states = [_State(env.unwrapped) for env in (here, there)]
    changes = np.empty((2, count, len(states[0].velocity())))
    for row in range(count):
        action = policy.predict(observation[None], deterministic=False, generator=generator)[0][0]
        states[1].put(states[0])
        target_data.qacc_warmstart[:], source_data.qacc_warmstart[:] = 0, 0
        before = states[0].velocity()
        *_, target_info = there.unwrapped.step(action)
        observation, _, terminated, truncated, info = here.step(action)
        changes[:, row] = states[0].velocity() - before, states[1].velocity() - before
        if info.get("sim_unstable") or target_info.get("sim_unstable"):
            changes[:, row] = np.nan
        if terminated or truncated:
            observation, _ = here.reset()
    return changes


class _State:
    """State of an env of MuJoCo, as far as a table sees it: without play between motors and links."""

    def __init__(self, env: Any) -> None:
        self._data = env.data
        self._seen = seen_numbers(env.model) or (slice(None), slice(None))

    def velocity(self) -> Floats:
        """Generalised velocities: a copy."""
        return np.array(self._data.qvel[self._seen[1]])

    def put(self, other: "_State") -> None:
        """Take another env's state, with play in its middle."""
        self._data.qpos[:], self._data.qvel[:] = self._data.model.qpos0, 0.0
        self._data.qpos[self._seen[0]] = other._data.qpos[other._seen[0]]
        self._data.qvel[self._seen[1]] = other._data.qvel[other._seen[1]]


def _names(model: mujoco.MjModel) -> tuple[str, ...]:
    """Return the joint of each generalised velocity, with a number where it has several."""
    names: list[str] = []
    for index in seen_joints(model):
        name, width = model.joint(index).name or f"joint {index}", _WIDTH[int(model.jnt_type[index])]
        names += [name] if width == 1 else [f"{name}.{place}" for place in range(width)]
    return tuple(names)


_WIDTH = {
    int(mujoco.mjtJoint.mjJNT_FREE): 6,
    int(mujoco.mjtJoint.mjJNT_BALL): 3,
    int(mujoco.mjtJoint.mjJNT_SLIDE): 1,
    int(mujoco.mjtJoint.mjJNT_HINGE): 1,
}
