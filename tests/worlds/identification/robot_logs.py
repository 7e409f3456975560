"""Logs of hidden variants, as a robot's sensors would give them."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium.spaces import Box

from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.terms.sensors import QUANTITIES

NOISE = 1e-3  # rad, m, and ten times as much of their velocities: an encoder's


def recorded(env: RobotEnv, seed: int, steps: int = 300, noise: float = NOISE) -> dict[str, np.ndarray]:
    """Columns of a log: smooth controls, and states with sensor noise."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    space = cast("Box", env.action_space)
    low, high = space.low, space.high
    kinds = {kind: QUANTITIES[kind].find(env.model) for kind in ("position", "velocity")}
    names = [f"{scalar.name}.{kind}" for kind, scalars in kinds.items() for scalar in scalars]
    deviations = noise * np.array([1.0] * env.model.nq + [10.0] * env.model.nv)
    phases, rates = rng.uniform(0, 6.3, len(low)), rng.uniform(0.5, 3.0, len(low))
    rows: list[np.ndarray] = []
    for step in range(steps):
        action = low + (high - low) * (0.5 + 0.5 * np.sin(phases + rates * 6.3 * step * env.dt))
        state = np.concatenate([env.data.qpos, env.data.qvel])
        rows.append(np.concatenate([[step * env.dt], state + deviations * rng.standard_normal(len(state)), action]))
        env.step(action.astype(np.float32))
    columns = ["time", *names, *env.interface.action_names]
    return dict(zip(columns, np.array(rows).T, strict=True))


def written(path: Path, table: dict[str, np.ndarray]) -> Path:
    """The log as CSV or npz."""
    if path.suffix == ".npz":
        arrays: dict[str, Any] = dict(table)
        np.savez(path, **arrays)
    else:
        np.savetxt(path, np.stack(list(table.values()), axis=1), delimiter=",", header=",".join(table), comments="")
    return path
