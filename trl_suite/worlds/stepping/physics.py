"""Many simulations at once, one model each, on MuJoCo's threads or on Python's; knows nothing of tasks.

`MujocoBatch` is MuJoCo's own batch: no Python runs per env. It has no `mj_rnePostConstraint`, so envs whose contact
forces are observed get a `ThreadPoolBatch`: one MjData each and a thread pool over `mj_step`, which releases the GIL.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import mujoco
import mujoco.batch
import numpy as np
from numpy.typing import NDArray

from trl_suite import machine_resources

Array = NDArray[Any]
NO_STAGE = int(mujoco.mjtStage.mjSTAGE_NONE)
FULL_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)


class Physics(Protocol):
    """Simulations that are stepped together; their arrays are live."""

    def field(self, name: str) -> Array:
        """Return the array under MjData's name, (worlds, n)."""
        ...

    def set_models(self, models: Sequence[mujoco.MjModel], substeps: Sequence[int], keyframes: Sequence[int]) -> None:
        """Let the envs have other models of the same sizes; those that change are restarted before they are stepped."""
        ...

    def advance(self, controls: Array, envs: Array | None) -> None:
        """Run one control step of the given worlds (sorted indices), or of all; controls are (all worlds, actions)."""
        ...

    def restart(self, envs: Array, positions: Array, velocities: Array) -> None:
        """Put worlds (sorted indices) into states (len(worlds), ...) as a new episode does."""
        ...

    def unstable(self) -> Array:
        """Return which worlds MuJoCo has warned about since their restart (worlds,)."""
        ...

    def state(self, envs: Array) -> dict[str, Array]:
        """Return all that worlds need to go on exactly (len(worlds), ...), also what lags a substep behind."""
        ...

    def restore(self, envs: Array, state: Mapping[str, Array]) -> None:
        """Put worlds where `state` found them, or found others of the same models."""
        ...

    def close(self) -> None:
        """End the threads."""
        ...


def physics(
    models: Sequence[mujoco.MjModel],
    substeps: Sequence[int],
    fields: Sequence[str],
    *,
    keyframes: Sequence[int],
    contact_forces: bool,
    warm_start: bool,
    threads: int | None,
) -> Physics:
    """Engine for these envs: MuJoCo's own batch unless contact forces are asked for.

    Args:
        models: of each env.
        substeps: physics steps of a control step of each env.
        fields: of MjData that are read, by name.
        keyframes: of each env, that its episodes start from; -1 for the model's own state.
        contact_forces: whether they are among what is read.
        warm_start: whether the solver starts from the last control step's solution.
        threads: how many, or None for as many as there are cores.
    """
    thread_count = threads or machine_resources.cores()
    if contact_forces:
        return ThreadPoolBatch(models, substeps, fields, keyframes, warm_start=warm_start, threads=thread_count)
    return MujocoBatch(models, substeps, fields, keyframes, warm_start=warm_start, threads=thread_count)


def reset_data(model: mujoco.MjModel, data: mujoco.MjData, keyframe: int) -> None:
    """Reset to a keyframe, its controls included; to the model's own state for -1."""
    if keyframe < 0:
        mujoco.mj_resetData(model, data)
    else:
        mujoco.mj_resetDataKeyframe(model, data, keyframe)


def full_state(model: mujoco.MjModel, data: mujoco.MjData) -> Array:
    """Return the full state that MuJoCo integrates, controls and warm start included."""
    row = np.empty(mujoco.mj_stateSize(model, FULL_STATE))
    mujoco.mj_getState(model, data, row, FULL_STATE)
    return row


class MujocoBatch:
    """MuJoCo's batch of simulations: a row of states, an MjData per thread."""

    def __init__(
        self,
        models: Sequence[mujoco.MjModel],
        substeps: Sequence[int],
        fields: Sequence[str],
        keyframes: Sequence[int],
        *,
        warm_start: bool,
        threads: int,
    ) -> None:
        self._num_envs = len(models)
        self._batch = mujoco.batch.Batch(models[0], self._num_envs, min(threads, self._num_envs))
        self._models: list[mujoco.MjModel] = [models[0]] * self._num_envs
        self.set_models(models, substeps, keyframes)
        self._controls: Array = self._batch.bind("ctrl")
        self._warnings: Array = self._batch.warning.reshape(self._num_envs, -1)
        self._warm: Array | None = None if warm_start else self._batch.bind("qacc_warmstart")
        self._derived = {name: bound for name in fields if not (bound := self.field(name)).flags.writeable}

    def set_models(self, models: Sequence[mujoco.MjModel], substeps: Sequence[int], keyframes: Sequence[int]) -> None:
        """Let the envs have other models of the same sizes."""
        if any(model is not before for model, before in zip(models, self._models, strict=True)):
            self._batch.set_models(models)
        self._models, self._keyframes = list(models), np.array(keyframes, dtype=np.int32)
        self._by_substeps = {steps: np.flatnonzero(np.array(substeps) == steps) for steps in sorted(set(substeps))}

    def field(self, name: str) -> Array:
        """Return the array under MjData's name, (worlds, n)."""
        return self._batch.bind(name).reshape(self._num_envs, -1)

    def advance(self, controls: Array, envs: Array | None) -> None:
        """Run one control step of the given worlds, or of all."""
        self._controls[:] = controls
        if self._warm is not None:
            self._warm[:] = 0.0
        for steps, rows_of_steps in self._by_substeps.items():
            if len(self._by_substeps) == 1:
                rows = envs
            else:
                rows = rows_of_steps if envs is None else np.intersect1d(rows_of_steps, envs)
            self._batch.step(rows, nstep=steps)

    def restart(self, envs: Array, positions: Array, velocities: Array) -> None:
        """Put worlds into states as a new episode does."""
        self._batch.reset(envs, keyframe=self._keyframes[envs], stage=NO_STAGE)
        self.field("qpos")[envs], self.field("qvel")[envs] = positions, velocities
        self._batch.forward(envs)
        self._warnings[envs] = 0

    def unstable(self) -> Array:
        """Return which worlds MuJoCo has warned about since their restart (worlds,)."""
        return np.asarray(self._warnings.any(axis=1))

    def state(self, envs: Array) -> dict[str, Array]:
        """Return all that worlds need to go on exactly (len(worlds), ...)."""
        arrays = {"state": self._batch.state[envs], "warnings": self._warnings[envs]}
        return arrays | {name: values[envs] for name, values in self._derived.items()}

    def restore(self, envs: Array, state: Mapping[str, Array]) -> None:
        """Put worlds where `state` found them."""
        self._batch.state[envs], self._warnings[envs] = state["state"], state["warnings"]
        for name, values in self._derived.items():
            # MuJoCo binds outputs for reading, since a call overwrites them; until then they are what is observed
            values.flags.writeable = True
            values[envs] = state[name]
            values.flags.writeable = False

    def close(self) -> None:
        """Nothing: the threads end with the batch."""


class ThreadPoolBatch:
    """An MjData per world, and threads that step whichever world is next."""

    def __init__(
        self,
        models: Sequence[mujoco.MjModel],
        substeps: Sequence[int],
        fields: Sequence[str],
        keyframes: Sequence[int],
        *,
        warm_start: bool,
        threads: int,
    ) -> None:
        self._data = [mujoco.MjData(model) for model in models]
        self.set_models(models, substeps, keyframes)
        self._warm_start = warm_start
        self._helpers = min(threads, len(models)) - 1
        self._pool = ThreadPoolExecutor(self._helpers) if self._helpers else None
        self._views = {name: [getattr(data, name).reshape(-1) for data in self._data] for name in fields}
        self._fields = {name: np.zeros((len(models), len(views[0]))) for name, views in self._views.items()}
        self._warnings = [data.warning.number for data in self._data]

    def set_models(self, models: Sequence[mujoco.MjModel], substeps: Sequence[int], keyframes: Sequence[int]) -> None:
        """Let the envs have other models of the same sizes."""
        self._keyframes = np.array(keyframes, dtype=np.int32)
        self._per_env = [
            (model, data, data.ctrl, data.qacc_warmstart, steps)
            for model, data, steps in zip(models, self._data, substeps, strict=True)
        ]

    def field(self, name: str) -> Array:
        """Return the array under MjData's name, (worlds, n)."""
        return self._fields[name]

    def advance(self, controls: Array, envs: Array | None) -> None:
        """Run one control step of the given worlds, or of all."""
        order = iter(range(len(self._data)) if envs is None else envs.tolist())  # shared: `next` is atomic
        waiting = [self._pool.submit(self._work, order, controls) for _ in range(self._helpers)] if self._pool else []
        self._work(order, controls)
        for future in waiting:
            future.result()
        self._gather()

    def restart(self, envs: Array, positions: Array, velocities: Array) -> None:
        """Put worlds into states as a new episode does."""
        for index, position, velocity in zip(envs.tolist(), positions, velocities, strict=True):
            model, data, *_ = self._per_env[index]
            reset_data(model, data, int(self._keyframes[index]))
            data.qpos[:], data.qvel[:] = position, velocity
            mujoco.mj_forward(model, data)
        self._gather()

    def unstable(self) -> Array:
        """Return which worlds MuJoCo has warned about since their restart (worlds,)."""
        return np.asarray(np.array(self._warnings).any(axis=1))

    def state(self, envs: Array) -> dict[str, Array]:
        """Return all that worlds need to go on exactly (len(worlds), ...)."""
        rows = [full_state(*self._per_env[index][:2]) for index in envs.tolist()]
        arrays = {"state": np.array(rows), "warnings": np.array([self._warnings[index] for index in envs.tolist()])}
        return arrays | {name: values[envs] for name, values in self._fields.items()}

    def restore(self, envs: Array, state: Mapping[str, Array]) -> None:
        """Put worlds where `state` found them."""
        for row, index in enumerate(envs.tolist()):
            model, data, *_ = self._per_env[index]
            mujoco.mj_setState(model, data, state["state"][row], FULL_STATE)
            self._warnings[index][:] = state["warnings"][row]
            for name, views in self._views.items():
                views[index][:] = state[name][row]
        self._gather()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _work(self, order: Iterator[int], controls: Array) -> None:
        for index in order:
            model, data, control, warm, steps = self._per_env[index]
            control[:] = controls[index]
            if not self._warm_start:
                warm[:] = 0.0
            mujoco.mj_step(model, data, steps)
            mujoco.mj_rnePostConstraint(model, data)

    def _gather(self) -> None:
        for name, views in self._views.items():
            np.concatenate(views, out=self._fields[name].reshape(-1))
