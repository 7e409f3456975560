"""Worlds on Warp's CPU device beside the same worlds on MuJoCo; without Warp none of these tests can run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
import pytest
import torch

from trl_suite.worlds.stepping.env import make
from trl_suite.worlds.warp import warp_library
from trl_suite.worlds.warp.merge import NEWTON_ITERATIONS
from trl_suite.worlds.warp.warp_env import WarpVectorEnv


@pytest.fixture(autouse=True, scope="session")
def _warp():
    if why := warp_library.obstacle():
        pytest.skip(why)


class Differences(NamedTuple):
    """Of one control step from equal states; axes (steps, worlds)."""

    position: np.ndarray  # the largest of a state
    velocity: np.ndarray
    observation: np.ndarray  # the largest, relative to 1 + |value|
    reward: np.ndarray  # relative to 1 + |value|
    ends: np.ndarray  # whether the two disagree on the episode's end


class Beside:
    """The same worlds twice: on Warp, and each alone on MuJoCo, with the solver that Warp has."""

    def __init__(self, addresses: Sequence[str], device: str, **kwargs: Any) -> None:
        env = addresses[0].partition(".")[0].partition("?")[0]
        variants = [address.partition(".")[2] or None for address in addresses]
        self.batch = WarpVectorEnv(len(addresses), env, variants, device=device, autoreset_mode="Disabled", **kwargs)
        self.batch.reset(seed=0)
        self.alone = [make(address).unwrapped for address in addresses]
        for seed, one in enumerate(self.alone):
            if one.model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
                one.model.opt.solver, one.model.opt.iterations = mujoco.mjtSolver.mjSOL_NEWTON, NEWTON_ITERATIONS
            one.reset(seed=seed)

    def match(self, fields: Sequence[str] = ("qacc_warmstart",)) -> None:
        """Put the worlds on Warp into the states of those on MuJoCo, and what is read of a state along with it."""
        read = {field for one in self.alone for field in one._task.fields}
        simulation = self.batch._simulation
        for name in {"qpos", "qvel", *fields, *read}:
            rows = np.array([getattr(one.data, name).reshape(-1) for one in self.alone], dtype=np.float32)
            simulation.field(name).copy_(torch.from_numpy(rows))
        if self.batch._memory is not None:  # commands are drawn from other streams
            remembered = np.array([one._memory_array.reshape(-1) for one in self.alone], dtype=np.float32)
            self.batch._memory_array.copy_(torch.from_numpy(remembered))
        for kept in (self.batch._ended, self.batch._elapsed):
            kept.zero_()

    def actions(self, rng: np.random.Generator) -> np.ndarray:
        space = self.batch.single_action_space
        drawn = rng.uniform(space.low, space.high, self.batch.action_space.shape)
        return (drawn * rng.choice([0.1, 1.0], (len(drawn), 1))).astype(np.float32)

    def step(self, actions: np.ndarray) -> Differences:
        """Step both; what has ended on MuJoCo is reset there."""
        on = self.batch.device
        observation, reward, terminated, *_ = self.batch.step(torch.from_numpy(actions).to(on))
        found = [one.step(action) for one, action in zip(self.alone, actions, strict=True)]
        states = [(one.data.qpos.copy(), one.data.qvel.copy()) for one in self.alone]
        expected, paid, ended = (np.array([one[i] for one in found]) for i in range(3))
        for one, over in zip(self.alone, ended, strict=True):
            if over:
                one.reset()
        return Differences(
            _largest(self.batch._simulation.position, np.array([state[0] for state in states]), False),
            _largest(self.batch._simulation.velocity, np.array([state[1] for state in states]), False),
            _largest(observation, expected, True),
            np.abs(reward.cpu().numpy() - paid) / (1 + np.abs(paid)),
            terminated.cpu().numpy() != ended,
        )

    def single_steps(self, steps: int) -> Differences:
        """Return the differences of single steps along trajectories under random controls."""
        rng, found = np.random.default_rng(0), []
        for _ in range(steps):
            self.match()
            found.append(self.step(self.actions(rng)))
        return Differences(*(np.array(values) for values in zip(*found, strict=True)))


def _largest(ours: torch.Tensor, theirs: np.ndarray, relative: bool) -> np.ndarray:
    away = np.abs(ours.cpu().numpy() - theirs)
    return (away / (1 + np.abs(theirs)) if relative else away).max(1)


@pytest.fixture(scope="session")
def beside():
    return Beside


@pytest.fixture(autouse=True)
def _cuda(request):
    if request.node.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
