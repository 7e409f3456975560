"""How much room the contacts and constraints of a world need on the device, and how much memory a world takes there.

The device drops what does not fit, and the physics is silently another; so the room is measured with MuJoCo, beginning
with poses that are worse than those of an episode, with headroom, and the batch counts what did not fit all the same.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np

from trl_suite.interface import Interface
from trl_suite.worlds.address import Address
from trl_suite.worlds.stepping.env import built
from trl_suite.worlds.terms.play_joints import seen_numbers
from trl_suite.worlds.warp import warp_library
from trl_suite.worlds.warp.merge import device_model, solvable

MEASURED_CONTROL_STEPS = 1000  # control steps of a measurement, shared out among many models
EPISODE = 50  # of them from one pose
HEADROOM, SPARE_ROWS = 1.5, 8
_PAIRS = 256  # more candidates of contact than this per world are not provided for
_SPREAD = (0.1, 0.6)  # rad and m: of the poses, in turn
_ANY = np.random.SeedSequence(8)  # poses are drawn alike every time: the sizes of arrays are no matter of chance


class Limits(NamedTuple):
    """Of one world."""

    contacts: int  # a share of a pool that all worlds have together, of candidates and contacts
    constraints: int  # rows; each world has its own


def limits(models: Sequence[mujoco.MjModel], frame_skip: int) -> Limits:
    """Return the limits that worlds of these models need, the same for all of them.

    Args:
        models: with solvers that Warp has.
        frame_skip: physics steps of a control step.
    """
    steps = max(MEASURED_CONTROL_STEPS // len(models), 2 * EPISODE)
    measured = [_measured(model, frame_skip, steps) for model in models]
    pairs = max(_candidates(model) for model in models)
    contacts = max(_with_headroom(max(need.contacts for need in measured)), min(pairs, _PAIRS))
    return Limits(contacts, _with_headroom(max(need.constraints for need in measured)))


def _measured(model: mujoco.MjModel, frame_skip: int, steps: int) -> Limits:
    """Return the most contacts and constraint rows of a robot that is thrown about at full force."""
    rng, data = np.random.default_rng(_ANY), mujoco.MjData(model)
    joints = seen_numbers(model)
    seen = slice(None) if joints is None else joints.positions
    contacts = constraints = 0
    for step in range(steps):
        if step % EPISODE == 0:
            mujoco.mj_resetData(model, data)
            thrown = rng.normal(0.0, _SPREAD[step // EPISODE % 2], model.nq)
            data.qpos[seen] += thrown[seen]
            mujoco.mj_normalizeQuat(model, data.qpos)
            data.qvel[:] = rng.normal(0.0, 1.0, model.nv)
        data.ctrl[:] = np.where(rng.random(model.nu) < 0.5, *model.actuator_ctrlrange.T)
        mujoco.mj_step(model, data, frame_skip)
        contacts, constraints = max(contacts, data.ncon), max(constraints, data.nefc)
    return Limits(contacts, constraints)


def _candidates(model: mujoco.MjModel) -> int:
    """Return how many pairs of geoms can touch: none of them is ever dropped before it is looked at."""
    return len(device_model(model).nxn_geom_pair_filtered)


def _with_headroom(number: int) -> int:
    return int(number * HEADROOM) + SPARE_ROWS


def bytes_per_world(address: str) -> int:
    """Return how much memory one more world of a batch on a device takes, counted.

    Raises:
        InputError: there is no such env, or Warp cannot run it.
        NotInstalledError: Warp is missing.
    """
    table, model, task, _ = built(Address.parse(address))
    model = solvable(model)
    return bytes_of(model, task.interface, limits([model], table.frame_skip))


def bytes_of(model: mujoco.MjModel, interface: Interface, needed: Limits) -> int:
    """Return the same of a model with a solver that Warp has."""
    few, more = (_bytes_of(data_of(model, num_envs, needed)) for num_envs in (8, 16))
    rows = _bytes_of(device_model(model))  # at most: of fields that differ between worlds
    result_numbers = 6 * len(interface.observation) + 4 * len(interface.action) + 8 * (model.nq + model.nv)
    return (more - few) // 8 + rows + _scratch(model, needed) + 4 * result_numbers


def data_of(model: mujoco.MjModel, num_envs: int, needed: Limits) -> Any:
    """Return the device's data of many worlds of a model."""
    make = warp_library.library().mujoco_warp.make_data
    return make(model, nworld=num_envs, nconmax=needed.contacts, njmax=needed.constraints)


def _scratch(model: mujoco.MjModel, needed: Limits) -> int:
    """Return the bytes that the solver takes and gives back within a step: matrices and rows, rounded up."""
    side = -(-model.nv // 16) * 16
    return 4 * (2 * side * side + 8 * needed.constraints + 16 * model.nv)


def _bytes_of(struct: Any) -> int:
    warp, total = warp_library.library().warp, 0
    for name in struct.__dataclass_fields__:
        value = getattr(struct, name)
        if isinstance(value, warp.array):
            total += value.capacity
        elif hasattr(value, "__dataclass_fields__"):
            total += _bytes_of(value)
    return total
