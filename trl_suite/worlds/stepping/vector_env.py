"""Many worlds of one env as a Gymnasium VectorEnv in one process, each under a variation of its own.

Every world goes the way that `RobotEnv` goes alone under the same seed and actions, to the last digit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import mujoco
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from trl_suite.errors import InputError
from trl_suite.worlds.address import FOREIGN, Address
from trl_suite.worlds.stepping import rng_state
from trl_suite.worlds.stepping.batch_spec import BatchSpec, Variant
from trl_suite.worlds.stepping.env import built, make
from trl_suite.worlds.stepping.env_batch import EnvBatch, refuse_pictures
from trl_suite.worlds.stepping.perturbations import Perturbations
from trl_suite.worlds.stepping.physics import physics
from trl_suite.worlds.stepping.range_schedule import RangeSchedules
from trl_suite.worlds.stepping.task import TaskEvaluator
from trl_suite.worlds.terms.displacement import stacked_displacement
from trl_suite.worlds.terms.memory import Draw, TaskMemory, host_draw, with_memory

Array = NDArray[Any]


class EvaluatedStep(NamedTuple):
    """Results of a control step in all worlds."""

    observation: Array  # (worlds, slots)
    reward: Array  # (worlds,)
    terminated: Array  # (worlds,)
    terms: dict[str, Array]  # (worlds,), 0 where a world has no such term
    unstable: Array  # (worlds,)
    success: Array | None  # (worlds,) whether each episode is one so far


class RobotVectorEnv(EnvBatch[Array]):
    """Many worlds of one env, stepped together on all cores.

    Like `RobotEnv`, it does not clip actions to the action space. An env whose simulation MuJoCo calls unstable ends
    its episode with reward 0 and `infos["sim_unstable"]`; the others continue.

    Args:
        num_envs: how many worlds.
        env: the env's name: `half-cheetah`.
        variants: per world a variant's name, a mapping of axes (with `variant` for a named one), or None.
        variant: one of the env's named variants, for all worlds.
        autoreset_mode: Gymnasium's, by value: `NextStep`, `SameStep`, `Disabled`, where a world whose episode has ended
            stands still, without physics and with reward 0, until `reset` is called with a mask.
        max_episode_steps: after how many steps an episode is cut.
        warm_start: as `RobotEnv`'s. It is on, as in Gymnasium: it costs nothing (benchmarks/worlds.py).
        threads: how many, or None for as many as there are cores.
        render_mode: None: a batch draws no pictures.
        pools: per env the variants of which it draws one anew at each episode, from its own generator.
        axes: changes of single axes, for all worlds.

    Raises:
        InputError: the env, a variant or an axis does not exist, does not apply, or gives the worlds different slots.
    """

    def __init__(
        self,
        num_envs: int,
        env: str,
        variants: Sequence[Variant] | None = None,
        *,
        variant: str | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        warm_start: bool = True,
        threads: int | None = None,
        render_mode: str | None = None,
        pools: Sequence[Sequence[Variant]] | None = None,
        **axes: Any,
    ) -> None:
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        refuse_pictures(env, render_mode)
        batch_spec = self._batch_spec = BatchSpec(num_envs, env, variants, variant, axes, pools)
        self._describe(batch_spec, max_episode_steps, np.float64)
        self._tasks, self._ends = batch_spec.tasks, np.array([task.ends for task in batch_spec.tasks])
        self._perturbations = _perturbations(batch_spec)
        self._physics = physics(
            batch_spec.models,
            [spec.frame_skip for spec in batch_spec.env_specs],
            sorted({"qpos", "qvel", *(field for task in self._tasks for field in task.fields)}),
            keyframes=[task.nominal.keyframe for task in self._tasks],
            contact_forces=any(task.needs_contact_forces for task in self._tasks),
            warm_start=warm_start,
            threads=threads,
        )
        self._memory_array = np.zeros((num_envs, self._tasks[0].layout.width))
        self._evaluators = self._bound_evaluators()
        self._displaces = self._converter()
        self._draws_models = any(len(pool) > 1 for pool in batch_spec.pools)
        self._schedules = RangeSchedules(batch_spec.domains)
        self._scheduled, self._scores = any(pool.schedule for pool in batch_spec.domains), np.zeros(num_envs)
        self._elapsed, self._ended = np.zeros(num_envs, dtype=np.int64), np.zeros(num_envs, dtype=bool)
        self._generators: list[np.random.Generator] = []
        self._noise_generators: list[np.random.Generator] = []
        self._all, self._every = np.arange(num_envs), np.ones(num_envs, dtype=bool)

    def _bound_evaluators(self) -> list[tuple[Any, tuple[str, ...], TaskEvaluator]]:
        by_structure = self._batch_spec.tasks_by_structure()
        fields, layout = with_memory(self._physics.field, self._memory_array), by_structure[0][1].layout
        durations = [task.duration for task in self._tasks]
        self._memory = TaskMemory(layout, self._memory_array, fields, np.asarray, durations) if layout.width else None
        self._success_ends = layout.judges and by_structure[0][1].success_ends
        return [(rows, task.labels, task.evaluator(fields)) for rows, task in by_structure]

    def _converter(self) -> Callable[[Array], Array] | None:
        """Converter of actions that displace a hand; None where they are controls."""
        displacements = [task.displacement for task in self._tasks if task.displacement is not None]
        return stacked_displacement(displacements).converter(self._physics.field) if displacements else None

    def _draw(self, mask: Array) -> Array:
        return host_draw(self._generators, self._tasks[0].layout.draws)(mask)

    def share_ranges(self, leaders: Sequence[int]) -> None:
        """Let envs learn together how far their ranges may widen: of each env, the first of those of its run."""
        self._schedules.leaders = list(leaders)

    def ranges(self, env: int) -> dict[str, tuple[float, float]]:
        """Lower and upper end of what an env draws from now, by the names of the numbers; none of a plain env."""
        return self._schedules.reached(env)

    def _draw_models(self, envs: Array) -> None:
        """Draw the models of new episodes, each env from its own pool by its own generator."""
        addresses = list(self.addresses)
        for index in envs:
            if self._ended[index]:
                self._schedules.finish(index, float(self._scores[index]))
            pool = self._batch_spec.pools[index]
            if len(pool) > 1:
                addresses[index] = pool[self._schedules.draw(index, self._generators[index])]
        self._scores[envs] = 0.0
        self._select(addresses)

    def _select(self, addresses: Sequence[str]) -> None:
        """Let the envs be at these addresses of their pools; those that change must be restarted or restored."""
        if tuple(addresses) == self.addresses:
            return
        spec = self._batch_spec
        changed = [index for index, text in enumerate(addresses) if text != self.addresses[index]]
        evaluated_as = spec.evaluated_as
        spec.select(addresses)
        self.addresses, self._tasks = spec.addresses, spec.tasks
        self._ends = np.array([task.ends for task in spec.tasks])
        keyframes = [task.nominal.keyframe for task in spec.tasks]
        self._physics.set_models(spec.models, [table.frame_skip for table in spec.env_specs], keyframes)
        self._displaces = self._converter()
        if spec.evaluated_as != evaluated_as:
            self._evaluators = self._bound_evaluators()
        if self._perturbations is not None and (specs := spec.perturbation_specs):
            for index in changed:
                self._perturbations.assign_one(index, specs[index], spec.tasks[index].first_action)

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]  as SyncVectorEnv's
        """The worlds' generators."""
        return tuple(self._generators)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start new episodes, in all worlds or in those of `options["reset_mask"]` (worlds,).

        World i is seeded with `seed + i`, or with `seed[i]`, as Gymnasium's vector envs do.

        Raises:
            InputError: the mask or the list of seeds is of another length.
        """
        envs = self._masked(options)
        self._seed(envs, seed)
        observation = self._evaluators[0][2].observe() if len(envs) < self.num_envs else None
        started = self._start(envs)
        if observation is None:
            return started, {}
        observation[envs] = started
        return observation, {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Return observations, rewards, terminations, truncations and infos, as Gymnasium's vector envs do.

        `infos["reward_<term>"]` are the signed terms that the rewards are the sums of.

        Raises:
            InputError: the actions have another shape than the action space.
            FloatingPointError: an action is not finite.
        """
        actions = self._checked(actions)
        none_waits = self.autoreset_mode == AutoresetMode.SAME_STEP or not self._ended.any()
        waiting = None if none_waits else self._ended.copy()
        active = self._every if waiting is None else ~waiting
        controls = (
            actions if self._perturbations is None else self._perturbations.act(actions, self._noise_generators, active)
        )
        before = [evaluator.before() for _, _, evaluator in self._evaluators]
        if self._memory is not None:
            self._memory.shift(active)
        if self._displaces is not None:
            controls = self._displaces(controls)
        self._physics.advance(controls, None if waiting is None else np.flatnonzero(active))
        result = self._step_result(before, actions, active)
        self._elapsed += active
        terminated, truncated = result.terminated, self._elapsed >= self._limit
        infos = self._infos(result, active)
        observation, reward = result.observation, result.reward
        if self._scheduled:
            self._scores = self._scores + reward * active if result.success is None else result.success * 1.0
        if waiting is not None:
            reward[waiting] = 0.0
            if self.autoreset_mode == AutoresetMode.NEXT_STEP:
                terminated[waiting], truncated[waiting] = False, False
                observation[waiting] = self._start(np.flatnonzero(waiting))
            else:
                truncated |= waiting & ~terminated
        self._ended = terminated | truncated
        if self.autoreset_mode == AutoresetMode.SAME_STEP and self._ended.any():
            observation = self._autoreset_same_step(observation, infos)
        return observation, reward, terminated, truncated, infos

    def state(self, envs: Sequence[int] | Array | None = None) -> dict[str, Array]:
        """Return all that worlds need to go on exactly, in this batch or in another: arrays (len(worlds), ...).

        Args:
            envs: their indices; all of them where not given.

        Raises:
            InputError: the batch has not been reset yet.
        """
        if not self._generators:
            raise InputError(f"{self.addresses[0]}: the batch has no state before its first reset")
        rows = self._all if envs is None else np.asarray(envs, dtype=np.int64)
        arrays = {f"physics.{name}": values for name, values in self._physics.state(rows).items()}
        if self._perturbations is not None:
            arrays |= {f"channel.{name}": values for name, values in self._perturbations.state(rows).items()}
        if self._draws_models:
            drawn = [self._batch_spec.pools[index].index(self.addresses[index]) for index in rows]
            arrays["drawn"] = np.array(drawn, dtype=np.int64)
        if self._scheduled:
            arrays |= {f"ranges.{name}": values for name, values in self._schedules.state(rows).items()}
            arrays["scores"] = self._scores[rows]
        if self._memory is not None:
            arrays["memory"] = self._memory_array[rows]
        return arrays | {
            "elapsed": self._elapsed[rows],
            "ended": self._ended[rows],
            "streams": rng_state.pack_rng([self._generators[index] for index in rows]),
            "noise": rng_state.pack_rng([self._noise_generators[index] for index in rows]),
        }

    def restore(self, envs: Sequence[int] | Array | None, state: Mapping[str, Array]) -> None:
        """Put worlds where `state` found them, or found others of the same addresses; needs no reset before.

        Raises:
            InputError: the state is of another number of worlds.
        """
        rows = self._all if envs is None else np.asarray(envs, dtype=np.int64)
        self._refuse_other_count(len(state["elapsed"]), len(rows))
        if self._draws_models:
            addresses = list(self.addresses)
            for row, index in enumerate(rows):
                addresses[index] = self._batch_spec.pools[index][int(state["drawn"][row])]
            self._select(addresses)
        if self._scheduled:
            self._schedules.restore(rows, _below("ranges.", state))
            self._scores[rows] = state["scores"]
        self._physics.restore(rows, _below("physics.", state))
        if self._perturbations is not None and "channel.acts" in state:
            self._perturbations.restore(rows, _below("channel.", state))
        if self._memory is not None:
            self._memory_array[rows] = state["memory"]
        self._elapsed[rows], self._ended[rows] = state["elapsed"], state["ended"]
        if not self._generators:
            self._seed(self._all[:0], None)
        for row, index in enumerate(rows):
            rng_state.restore_rng(self._generators[index], state["streams"][row])
            rng_state.restore_rng(self._noise_generators[index], state["noise"][row])

    def overflow_mask(self) -> NDArray[np.bool_]:
        """Return False for every world: MuJoCo makes room for all contacts, and says when a world is unstable."""
        return np.zeros(self.num_envs, dtype=bool)

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads."""
        self._physics.close()

    def _step_result(self, before: Sequence[Any], actions: Array, active: Array) -> EvaluatedStep:
        flags = None
        if self._memory is not None:
            flags = self._memory.finish_step(self._evaluators[0][2].fulfilled, actions, active, self._draw)
        observation = self._evaluators[0][2].observe()
        unstable = self._physics.unstable() | ~np.isfinite(observation).all(axis=1)
        total, healthy = np.zeros(self.num_envs), np.ones(self.num_envs, dtype=bool)
        terms: dict[str, Array] = {}
        for earlier, (rows, labels, evaluator) in zip(before, self._evaluators, strict=True):
            env_healthy = evaluator.healthy()
            term_values = evaluator.rewards(earlier, actions, env_healthy, flags is not None and flags.holds)
            total[rows], healthy[rows] = _rows(evaluator.total(term_values), rows), _rows(env_healthy, rows)
            for label, value in zip(labels, term_values, strict=True):
                row = terms.setdefault(f"reward_{label}", np.zeros(self.num_envs))
                row[rows] = _rows(value, rows)
        if self._perturbations is not None:
            observation = self._perturbations.sense(observation, self._noise_generators, active & ~unstable)
        if unstable.any():
            observation = self._collapse(np.flatnonzero(unstable), observation, total, terms)
        terminated = (self._ends & ~healthy) | unstable
        if flags is not None and self._success_ends:
            terminated |= flags.holds
        success = None if flags is None else flags.episode & ~unstable
        return EvaluatedStep(observation, total, terminated, terms, unstable, success)

    def _collapse(self, envs: Array, observation: Array, total: Array, terms: dict[str, Array]) -> Array:
        """End unstable worlds at their nominal state, as `RobotEnv` does."""
        positions = np.array([self._tasks[index].nominal.position for index in envs])
        velocities = np.array([self._tasks[index].nominal.velocity for index in envs])
        self._physics.restart(envs, positions, velocities)
        self._remember(envs, None)
        observation[envs] = self._evaluators[0][2].observe()[envs]
        for values in (total, *terms.values()):
            values[envs] = 0.0
        return observation

    def _infos(self, result: EvaluatedStep, active: Array) -> dict[str, Any]:
        """Return Gymnasium's form: an array per key, and under `_key` of which worlds it speaks."""
        values = result.terms if result.success is None else result.terms | {"is_success": result.success}
        return _masked_infos(values, active) | _unstable_infos(result.unstable & active)

    def _autoreset_same_step(self, observation: Array, infos: dict[str, Any]) -> Array:
        """Start the ended worlds anew in the same step; what they ended with goes to `final_info` and `final_obs`."""
        ended, ended_mask = np.flatnonzero(self._ended), self._ended.copy()
        final = np.full(self.num_envs, None, dtype=object)
        for index in ended:
            final[index] = observation[index].copy()
        values = {key: value for key, value in infos.items() if not key.startswith("_")}
        infos.clear()
        unstable = values.pop("sim_unstable", ended_mask & ~ended_mask)
        final_info = _masked_infos(values, ended_mask) | _unstable_infos(unstable)
        infos |= _masked_infos(values, ~ended_mask)
        infos |= {"final_obs": final, "_final_obs": ended_mask, "final_info": final_info, "_final_info": ended_mask}
        observation[ended] = self._start(ended)
        return observation

    def _start(self, envs: Array) -> Array:
        """Start new episodes; return their first observations (len(worlds), slots)."""
        if self._draws_models:
            self._draw_models(envs)
        states = [self._tasks[index].start(self._generators[index]) for index in envs]
        self._physics.restart(
            envs, np.array([position for position, _ in states]), np.array([velocity for _, velocity in states])
        )
        self._remember(envs, self._draw)
        self._elapsed[envs] = 0
        self._ended[envs] = False
        observation = self._evaluators[0][2].observe()[envs]
        if self._perturbations is not None:
            for row, index in enumerate(envs):
                observation[row] = self._perturbations.begin(index, observation[row], self._noise_generators[index])
        return observation

    def _remember(self, envs: Array, draw: Draw | None) -> None:
        """Let the memories of envs begin an episode."""
        if self._memory is not None:
            started = np.zeros(self.num_envs, dtype=bool)
            started[envs] = True
            self._memory.begin(started, draw)

    def _seed(self, envs: Array, seed: int | Sequence[int | None] | None) -> None:
        seeds = self._seeds(seed)
        if not self._generators:
            self._generators = [seeding.np_random()[0] for _ in range(self.num_envs)]
            self._noise_generators = [stream.spawn(1)[0] for stream in self._generators]
        for index in envs:
            if (seed_of_env := seeds[index]) is not None:
                self._generators[index] = seeding.np_random(seed_of_env)[0]
                self._noise_generators[index] = self._generators[index].spawn(1)[0]

    def _masked(self, options: dict[str, Any] | None) -> Array:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return self._all
        if np.shape(mask) != (self.num_envs,) or not np.any(mask):
            raise self._refuse_mask()
        return np.flatnonzero(mask)

    def _checked(self, actions: Array) -> Array:
        actions = np.asarray(actions)
        if actions.shape != self.action_space.shape:
            raise InputError(f"{self.addresses[0]}: actions have shape {self.action_space.shape}, not {actions.shape}")
        if not np.isfinite(actions).all():
            index = int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])
            wrong = [f"{slot.name} = {v}" for slot, v in zip(self.interface.action, actions[index], strict=True)]
            where = f"world {index}, {self.addresses[index]}"
            raise FloatingPointError(f"{where}: the policy's action is not finite: {', '.join(wrong)}")
        return actions


def _perturbations(batch_spec: BatchSpec) -> Perturbations | None:
    specs = batch_spec.perturbation_specs
    controls = [task.first_action for task in batch_spec.tasks]
    return Perturbations(specs, controls, batch_spec.longest_delays) if specs else None


def _below(prefix: str, state: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): values for name, values in state.items() if name.startswith(prefix)}


def bytes_per_world(address: str) -> int:
    """Return how much memory one more world of a batch takes, beside its model.

    MuJoCo's own batch keeps a row of numbers per world; where contact forces are observed each world has an MjData, of
    whose arena the contacts of a robot touch some half a megabyte.
    """
    _, model, task, _ = built(Address.parse(address))
    data = mujoco.MjData(model)
    return data.nbuffer + 2**19 if task.needs_contact_forces else data.nbuffer


_MODELS_PER_VARIANT = 3  # measured over 200 variants: the model, its copy in the cache, and what compiling it left


def bytes_per_variant(address: str) -> int:
    """Return how much memory one more model of a pool takes, which no two variants share."""
    return _MODELS_PER_VARIANT * built(Address.parse(address))[1].nbuffer


def _masked_infos(values: Mapping[str, Array], envs: Array) -> dict[str, Array]:
    """Return Gymnasium's form of numbers that speak of some worlds: 0 elsewhere, nothing at all if of none."""
    if not envs.any():
        return {}
    masked = (
        values if envs.all() else {key: np.where(envs, value, value.dtype.type(0)) for key, value in values.items()}
    )
    return {**masked, **{f"_{key}": envs for key in values}}


def _unstable_infos(unstable: Array) -> dict[str, Array]:
    return {"sim_unstable": unstable, "_sim_unstable": unstable} if unstable.any() else {}


def _rows(value: Any, rows: Any) -> Any:
    return value[rows] if np.ndim(value) else value


def batch_arguments(addresses: Sequence[str]) -> dict[str, Any]:
    """Arguments of `RobotVectorEnv`, besides the number of envs, for addresses that differ in variant or axes.

    Raises:
        InputError: they are of several envs, or one does not exist.
    """
    parsed = [Address.parse(address) for address in addresses]
    if len({address.env for address in parsed}) > 1:
        raise InputError(f"{', '.join(addresses)}: one training is of one env; its envs may differ in variant and axes")
    variants = [{"variant": address.variant, **dict(address.axes.axes())} for address in parsed]
    return {"env": parsed[0].env, "variants": variants}


def make_vector(address: str, count: int, *, autoreset: bool = False) -> VectorEnv[Any, Any, Any]:
    """Return `count` worlds in this thread.

    Args:
        address: of all.
        count: how many.
        autoreset: whether the step after an episode's end begins another; otherwise what an env does after its first
            episode means nothing, and the suite's envs do not compute it.

    Raises:
        InputError: there is no such env, variant or axis.
    """
    if not address.startswith(FOREIGN):
        mode = AutoresetMode.NEXT_STEP if autoreset else AutoresetMode.DISABLED
        return RobotVectorEnv(count, threads=1, autoreset_mode=mode, **batch_arguments([address] * count))

    def make_one() -> gymnasium.Env[Any, Any]:
        return make(address)

    return SyncVectorEnv([make_one] * count, autoreset_mode=AutoresetMode.NEXT_STEP)
