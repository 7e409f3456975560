"""Many worlds of one env on a device, each under a variation of its own: torch tensors in and out.

Envs, terms and options are those of `worlds.stepping.vector_env.RobotVectorEnv`; numbers are in single precision, and
first states and noise come from a generator of the device. Nothing in a step waits for the device: what a caller would
have to ask for (has any episode ended?) is returned as tensors, always under the same keys.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor

from trl_suite import machine_resources
from trl_suite.errors import InputError
from trl_suite.worlds.env_spec import MAX_EPISODE_STEPS
from trl_suite.worlds.stepping.batch_spec import BatchSpec, Variant
from trl_suite.worlds.stepping.domain_pool import refuse_pool
from trl_suite.worlds.stepping.env_batch import EnvBatch, refuse_pictures
from trl_suite.worlds.terms.displacement import stacked_displacement
from trl_suite.worlds.terms.memory import TaskMemory, with_memory
from trl_suite.worlds.warp.counter_rng import CounterRng, DrawPurpose
from trl_suite.worlds.warp.device_perturbations import DevicePerturbations
from trl_suite.worlds.warp.initial_states import InitialStates
from trl_suite.worlds.warp.limits import bytes_of, limits
from trl_suite.worlds.warp.merge import solvable
from trl_suite.worlds.warp.program import DeviceStream, Program, Stage
from trl_suite.worlds.warp.simulation import Simulation, StartControls
from trl_suite.worlds.warp.warp_library import refuse_unless_usable

Array = NDArray[Any]
DeviceStepResult = tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]
"""Observations, rewards, terminations, truncations and infos."""

FREE_MEMORY_SHARE = 0.2  # share of the device's memory that is left alone
_DROPPED = 0b11111111  # bits of `overflow` that say something did not fit; the others are of iterations


class WarpVectorEnv(EnvBatch[Tensor]):
    """Many worlds of one env, stepped together on a CUDA device, or, to be tested, on the CPU.

    What `step` and `reset` return lies where it always lies: it is overwritten by the next step. A world whose state is
    no longer one (not finite, or beyond 1e10) ends its episode with reward 0 and `infos["sim_unstable"]`; the others go
    on. An action that is not finite ends an episode so too.

    `infos` has `reward_<term>`, the signed terms that the rewards are the sums of; `sim_unstable` (worlds,); and, where
    the next episode begins in the same step, `final_obs` (worlds, slots) with `_final_obs`, the mask of what it holds.

    Args:
        num_envs: how many worlds.
        env: the env's name: `half-cheetah`.
        variants: as `RobotVectorEnv`'s.
        variant: one of the env's named variants, for all worlds.
        device: `cuda`, `cuda:1` or `cpu`.
        autoreset_mode: as `RobotVectorEnv`'s.
        max_episode_steps: after how many steps an episode is cut.
        warm_start: as `RobotEnv`'s.
        render_mode: None: a batch draws no pictures.
        pools: of one variant each: on a device the models of a batch stay what they are.
        axes: changes of single axes, for all worlds.

    Raises:
        InputError: as `RobotVectorEnv`, and where there is no such device, its driver is too old, its memory is too
            small, Warp cannot run the robot, or two envs differ in what all envs of a batch on Warp share.
        NotInstalledError: Warp is missing.
    """

    def __init__(
        self,
        num_envs: int,
        env: str,
        variants: Sequence[Variant] | None = None,
        *,
        variant: str | None = None,
        device: str | torch.device = "cuda",
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        warm_start: bool = True,
        render_mode: str | None = None,
        pools: Sequence[Sequence[Variant]] | None = None,
        **axes: Any,
    ) -> None:
        refuse_unless_usable(torch.device(device))
        self.device = torch.empty(0, device=device).device  # with its index, as Warp wants it
        refuse_pictures(env, render_mode)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        batch_spec = BatchSpec(num_envs, env, variants, variant, axes, pools)
        refuse_pool(env, max(map(len, batch_spec.pools)))
        self._describe(batch_spec, max_episode_steps, np.float32)
        self._cold = not warm_start
        self._stream = DeviceStream(self.device)
        with self._stream.entered():
            self._build(batch_spec)

    def _build(self, batch_spec: BatchSpec) -> None:
        self._simulation = _simulation(batch_spec, self.device)
        self._rng = CounterRng(self.num_envs, self.device)
        self._elapsed, self._steps, self._episodes = (
            torch.zeros(self.num_envs, dtype=torch.int64, device=self.device) for _ in range(3)
        )
        self._starts = InitialStates(batch_spec.tasks, self._rng, self._episodes, self._put)
        specs, controls = batch_spec.perturbation_specs, [task.first_action for task in batch_spec.tasks]
        self._perturbations = DevicePerturbations(specs, controls, self._rng, self._put) if specs else None
        layout = batch_spec.tasks[0].layout
        self._memory_array = torch.zeros(self.num_envs, layout.width, device=self.device)
        fields = with_memory(self._simulation.field, self._memory_array)
        durations = [task.duration for task in batch_spec.tasks]
        self._memory = TaskMemory(layout, self._memory_array, fields, self._put, durations) if layout.width else None
        self._draws, self._success_ends = layout.draws, batch_spec.tasks[0].success_ends
        self._judges = layout.judges
        self._evaluators = [
            (self._rows(rows), task.labels, task.moved(self._put).evaluator(fields, torch.concatenate))
            for rows, task in batch_spec.tasks_by_structure()
        ]
        self._ends = torch.tensor([task.ends for task in batch_spec.tasks], device=self.device)
        displacements = [task.displacement for task in batch_spec.tasks if task.displacement is not None]
        displacement = stacked_displacement(displacements).moved(self._put) if displacements else None
        self._displaces = displacement.converter(self._simulation.field) if displacement else None
        self._allocate()
        self._nominal = self._observed_at(self._starts.position, self._starts.velocity)
        self._stages = [Stage(self._act, warp=False), Stage(self._starts.draw, warp=True)]
        self._stages += [Stage(self._simulation.advance, warp=True)]
        self._stages += [Stage(self._evaluate, warp=False)]
        if self._simulation.follows:
            self._stages += [Stage(self._simulation.refresh, warp=True)]
        self._stages += [Stage(lambda: self._finish(self._final), warp=False)]
        self._program = Program(self._stages, self._stream)
        self._programs = [self._program]

    def _allocate(self) -> None:
        """Make the memory of what is returned and of what is kept between steps."""
        envs = self.num_envs

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(envs, *shape, dtype=dtype, device=self.device)

        slots, actions = len(self.interface.observation), len(self.interface.action)
        self._action, self._observation, self._final = zeros(actions), zeros(slots), zeros(slots)
        self._reward, self._terminated, self._truncated = zeros(), zeros(dtype=torch.bool), zeros(dtype=torch.bool)
        self._ended, self._unstable, self._resets = (zeros(dtype=torch.bool) for _ in range(3))
        self._holds, self._succeeded = (zeros(dtype=torch.bool) for _ in range(2))
        labels = dict.fromkeys(label for _, labels, _ in self._evaluators for label in labels)
        self._terms = {label: zeros() for label in labels}
        self._before: list[list[Any]] = []
        self._lagging: list[Tensor] = []
        self._stood_still: tuple[Tensor, Tensor] | None = None
        self._seeded = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Start new episodes, in all worlds or in those of `options["reset_mask"]` (worlds,).

        World i is seeded with `seed + i`, or with `seed[i]`, as Gymnasium's vector envs do.

        Raises:
            InputError: the mask or the list of seeds is of another length.
        """
        mask = self._masked(options)
        self._seed(mask, seed)
        with self._stream.entered():
            self._resets.copy_(mask)
            self._simulation.overflow.masked_fill_(mask, 0)
            self._lagging = self._simulation.lagging()
            self._starts.draw()
            self._begin()
            if self._simulation.follows:
                self._simulation.refresh()
            self._finish(self._observation)
            self._ended &= ~mask
        return self._observation, {}

    def step(self, actions: Tensor) -> DeviceStepResult:
        """Return observations, rewards, terminations, truncations and infos: see the class.

        Raises:
            InputError: the actions have another shape than the action space, or lie on another device.
        """
        if actions.shape != self._action.shape or actions.device.type != self.device.type:
            expected = f"{tuple(self._action.shape)} on {self.device}"
            raise InputError(
                f"{self.addresses[0]}: actions have shape {expected}, not {tuple(actions.shape)} on {actions.device}"
            )
        with self._stream.entered():
            self._action.copy_(actions)
            self._program.run()
        return self._step_result()

    @property
    def stream(self) -> DeviceStream:
        """The stream on which the worlds are stepped."""
        return self._stream

    def around(self, before: Callable[[], Tensor], after: Callable[[DeviceStepResult], None]) -> Callable[[bool], None]:
        """Return a step that is captured together with its caller's work: nothing of it may ask the host.

        It is called with whether it is made beside the caller's other work: see `DeviceStream.entered`.

        Args:
            before: returns the actions.
            after: takes what `step` returns.
        """
        first = Stage(lambda: self._action.copy_(before()), warp=False)
        program = Program([first, *self._stages, Stage(lambda: after(self._step_result()), warp=False)], self._stream)

        self._programs.append(program)

        def step(beside: bool = False) -> None:
            with self._stream.entered(beside):
                program.run()

        return step

    def _step_result(self) -> DeviceStepResult:
        infos: dict[str, Any] = {f"reward_{label}": values for label, values in self._terms.items()}
        infos["sim_unstable"] = self._unstable
        if self._judges:
            infos["is_success"] = self._succeeded
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            infos |= {"final_obs": self._final, "_final_obs": self._resets}
        return self._observation, self._reward, self._terminated, self._truncated, infos

    def state(self, envs: Sequence[int] | Array | None = None) -> dict[str, Array]:
        """Return all that worlds need to go on exactly, in this batch or in another: arrays (len(worlds), ...).

        Args:
            envs: their indices; all of them where not given.
        """
        rows = self._chosen(envs)
        return {name: values[rows].cpu().numpy() for name, values in self._state_arrays().items()}

    def restore(self, envs: Sequence[int] | Array | None, state: Mapping[str, Array]) -> None:
        """Put worlds where `state` found them, or found others of the same addresses; needs no reset before.

        Raises:
            InputError: the state is of another number of worlds.
        """
        rows = self._chosen(envs)
        self._refuse_other_count(len(state["elapsed"]), len(rows))
        if not self._seeded:
            self._seed(torch.zeros_like(self._ended), None)
        for name, values in self._state_arrays().items():
            values[rows] = torch.as_tensor(state[name], device=self.device)

    def _state_arrays(self) -> dict[str, Tensor]:
        """Return the state that worlds need to go on exactly, in place, a row per world."""
        arrays = {f"physics.{name}": values for name, values in self._simulation.state_arrays.items()}
        if self._perturbations is not None:
            arrays |= {f"channel.{name}": values for name, values in self._perturbations.state_arrays.items()}
        counters = {"elapsed": self._elapsed, "ended": self._ended, "steps": self._steps, "episodes": self._episodes}
        outputs = {"observation": self._observation, "terminated": self._terminated, "truncated": self._truncated}
        if self._memory is not None:
            arrays["memory"] = self._memory_array
        return arrays | counters | outputs | {"keys": self._rng.keys()}

    def _chosen(self, envs: Sequence[int] | Array | None) -> Tensor:
        rows = np.arange(self.num_envs) if envs is None else np.asarray(envs, dtype=np.int64)
        return torch.as_tensor(rows, device=self.device)

    def overflow_mask(self) -> Tensor:
        """Return in which worlds contacts or constraints did not fit since their last `reset` (worlds,).

        Their physics was wrong without a word.
        """
        return (self._simulation.overflow & _DROPPED) != 0

    def overflown(self) -> int:
        """Return in how many worlds that was so: a wait."""
        return int(self.overflow_mask().sum())

    def refuse_overflow(self) -> None:
        """Stop where the physics of any world was wrong for want of room: a wait.

        Raises:
            InputError: it was; the message says in how many worlds.
        """
        if count := self.overflown():
            raise InputError(f"{self.addresses[0]}: {no_room(count, self.num_envs)}")

    def close_extras(self, **kwargs: Any) -> None:
        """Drop the graphs: they and the worlds refer to each other, and hold the device's memory."""
        for program in self._programs:
            program.forget()

    def _act(self) -> None:
        """Turn actions into controls; remember what the step is judged against."""
        simulation = self._simulation
        self._before = [evaluator.before() for _, _, evaluator in self._evaluators]
        if self._memory is not None:
            self._memory.shift(~self._ended)
        controls = self._action if self._perturbations is None else self._perturbations.act(self._action, self._steps)
        simulation.control.copy_(controls if self._displaces is None else self._displaces(controls))
        if self._cold:
            simulation.warm_start.zero_()
        if self._stands_still:
            self._stood_still = simulation.position.clone(), simulation.velocity.clone()

    def _evaluate(self) -> None:
        """Say what the step was worth and which episodes it ended; write the states that come next."""
        waiting = self._ended.clone() if self._stands_still else None
        if self._memory is not None:
            self._remember_step()
        observation = self._evaluators[0][2].observe()
        unstable = self._simulation.unstable(observation, self._action)
        if waiting is not None:
            unstable &= ~waiting
        healthy = self._score(unstable if waiting is None else unstable | waiting)
        if self._perturbations is not None:
            observation = self._perturbations.sense(observation, self._steps)
        self._steps += 1
        self._elapsed += 1 if waiting is None else ~waiting
        terminated = (self._ends & ~healthy) | unstable
        if self._success_ends:
            terminated |= self._holds
        self._end(waiting, terminated)
        self._succeeded &= ~unstable
        self._unstable.copy_(unstable)
        torch.where(unstable[:, None], self._nominal, observation, out=self._final)
        if waiting is not None:
            torch.where(waiting[:, None], self._observation, self._final, out=self._final)
            if self._stood_still is not None:  # back to where they stood
                self._simulation.write(waiting, *self._stood_still)
            self._simulation.write(unstable, self._starts.position, self._starts.velocity)
        # where the next episode begins in the same step, it begins in the unstable ones too: they have ended
        self._lagging = self._simulation.lagging()
        self._begin()

    def _remember_step(self) -> None:
        """Take note of the step in the memory, and of success."""
        assert self._memory is not None
        fulfilled = self._evaluators[0][2].fulfilled
        flags = self._memory.finish_step(fulfilled, self._action, ~self._ended, self._draw)
        if flags is not None:
            self._holds.copy_(flags.holds)
            self._succeeded.copy_(flags.episode)

    def _draw(self, mask: Tensor) -> Tensor:
        """Return uniform numbers (worlds, n) for the commands, of this step of this episode of each world."""
        return self._rng.uniform(DrawPurpose.COMMAND, self._episodes * MAX_EPISODE_STEPS + self._elapsed, self._draws)

    def _score(self, nothing: Tensor) -> Tensor:
        """Write the rewards and their terms, 0 in the worlds of a mask; return which worlds are healthy."""
        healthy = torch.ones_like(self._ended)
        for before, (rows, labels, evaluator) in zip(self._before, self._evaluators, strict=True):
            env_healthy = evaluator.healthy()
            term_values = evaluator.rewards(before, self._action, env_healthy, self._holds)
            _fill(healthy, rows, env_healthy)
            _fill(self._reward, rows, evaluator.total(term_values))
            for label, value in zip(labels, term_values, strict=True):
                _fill(self._terms[label], rows, value)
        for values in (self._reward, *self._terms.values()):
            values.masked_fill_(nothing, 0.0)
        return healthy

    def _end(self, waiting: Tensor | None, terminated: Tensor) -> None:
        """Say which episodes have ended, and which worlds begin another."""
        truncated = self._elapsed >= self._limit
        if waiting is not None and self.autoreset_mode == AutoresetMode.DISABLED:
            # what has ended stays so until it is reset
            terminated = torch.where(waiting, self._terminated, terminated)
            truncated = torch.where(waiting, self._truncated | ~self._terminated, truncated)
        elif waiting is not None:
            terminated, truncated = terminated & ~waiting, truncated & ~waiting
        self._terminated.copy_(terminated)
        self._truncated.copy_(truncated)
        torch.logical_or(terminated, truncated, out=self._ended)
        if self.autoreset_mode == AutoresetMode.DISABLED:
            self._resets.zero_()
        else:
            self._resets.copy_(self._ended if waiting is None else waiting)

    def _begin(self) -> None:
        """Start an episode in the worlds that begin one."""
        position, velocity = self._starts.drawn()
        self._simulation.write(self._resets, position, velocity)
        self._episodes += self._resets
        self._elapsed.masked_fill_(self._resets, 0)

    def _finish(self, observation: Tensor) -> None:
        """Write the observations: of the next episode where one begins, and these elsewhere."""
        self._simulation.settle(self._resets | self._unstable, self._lagging)
        if self._memory is not None:
            self._memory.begin(self._resets, self._draw)
        first = self._evaluators[0][2].observe()
        if self._perturbations is not None:
            first = self._perturbations.begin(self._resets, first, self._episodes)
        torch.where(self._resets[:, None], first, observation, out=self._observation)

    @property
    def _stands_still(self) -> bool:
        return self.autoreset_mode != AutoresetMode.SAME_STEP

    def _observed_at(self, position: Tensor, velocity: Tensor) -> Tensor:
        """Return the observations (worlds, slots) of states as an episode begins with them; it moves all worlds."""
        every = torch.ones_like(self._ended)
        self._simulation.write(every, position, velocity)
        self._simulation.forward()
        self._simulation.settle(every, self._simulation.lagging())
        if self._memory is not None:
            self._memory.begin(every, None)
        return self._evaluators[0][2].observe().clone()

    def _seed(self, mask: Tensor, seed: int | Sequence[int | None] | None) -> None:
        seeds = self._seeds(seed)
        if not self._seeded:
            fresh = np.random.SeedSequence().generate_state(self.num_envs, np.uint32).tolist()
            seeds = [other if counters is None else counters for counters, other in zip(seeds, fresh, strict=True)]
            mask, self._seeded = torch.ones_like(mask), True
        rows = [index for index in mask.nonzero().flatten().tolist() if seeds[index] is not None]
        with self._stream.entered():
            envs = torch.tensor(rows, dtype=torch.int64, device=self.device)
            seed_values = [seeds[index] for index in rows]
            self._rng.seed(envs, torch.tensor(seed_values, dtype=torch.int64, device=self.device))
            self._episodes[envs], self._steps[envs] = 0, 0

    def _masked(self, options: dict[str, Any] | None) -> Tensor:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        mask = torch.as_tensor(mask, dtype=torch.bool, device=self.device)
        if mask.shape != (self.num_envs,) or not mask.any():
            raise self._refuse_mask()
        return mask

    def _put(self, array: np.ndarray) -> Tensor:
        kind = torch.float32 if array.dtype.kind == "f" else torch.int64
        return torch.as_tensor(array, dtype=kind, device=self.device)

    def _rows(self, rows: Any) -> Tensor | None:
        return None if isinstance(rows, slice) else self._put(rows)


def no_room(count: int, num_envs: int) -> str:
    """Return in words that contacts or constraints of some worlds did not fit."""
    return (
        f"physics on Warp: contacts or constraints of {count} of {num_envs} worlds did not fit into what was measured "
        "for this robot; physics = 'mujoco' has no such limit"
    )


def _fill(target: Tensor, rows: Tensor | None, value: Any) -> None:
    """Write a value per world, or one of all, into some rows, or all: without asking the host, as `[]` would."""
    if not isinstance(value, Tensor):
        _ = target.fill_(value) if rows is None else target.index_fill_(0, rows, value)
    elif rows is None:
        target.copy_(value)
    else:
        target.index_copy_(0, rows, value[rows].to(target.dtype))


def _simulation(batch_spec: BatchSpec, device: torch.device) -> Simulation:
    skips = {table.frame_skip for table in batch_spec.env_specs}
    if len(skips) > 1:
        raise InputError(
            f"{batch_spec.addresses[0]}: envs with {', '.join(map(str, sorted(skips)))} physics steps per control "
            "step cannot share a batch on Warp: put them into batches of their own"
        )
    skip = skips.pop()
    models: list[mujoco.MjModel] = [solvable(model) for model in batch_spec.distinct_models]
    needed = limits(models, skip)
    _refuse_unless_it_fits(batch_spec, bytes_of(models[0], batch_spec.interface, needed), device)
    return Simulation(
        models,
        batch_spec.model_indices,
        list(dict.fromkeys(batch_spec.addresses)),
        frame_skip=skip,
        fields=sorted({field for task in batch_spec.tasks for field in task.fields}),
        needed=needed,
        contact_forces=any(task.needs_contact_forces for task in batch_spec.tasks),
        start=StartControls(
            np.array([task.nominal.control for task in batch_spec.tasks]),
            np.array([task.nominal.activation for task in batch_spec.tasks]),
        ),
    )


def _refuse_unless_it_fits(batch_spec: BatchSpec, bytes_per_env: int, device: torch.device) -> None:
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else machine_resources.available_bytes()
    num_envs, room = len(batch_spec.addresses), int(free * (1 - FREE_MEMORY_SHARE))
    if num_envs * bytes_per_env > room:
        needed = num_envs * bytes_per_env
        raise InputError(
            f"{batch_spec.addresses[0]}: {num_envs:,} worlds take {needed / 2**20:,.0f} MB on {device}, which has "
            f"{room / 2**20:,.0f} to be had: {room // bytes_per_env:,} worlds at most"
        )
