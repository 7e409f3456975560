"""Many worlds of one env as a Gymnasium VectorEnv in one process, each under a variation of its own.

Every world goes the way that `World` goes alone under the same seed and actions, to the last digit.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from trl_suite.errors import InputError
from trl_suite.worlds import streams
from trl_suite.worlds.address import Address
from trl_suite.worlds.channel import Channel
from trl_suite.worlds.env import built
from trl_suite.worlds.lineup import Lineup, Variant
from trl_suite.worlds.physics import physics

Array = NDArray[Any]


class Judged(NamedTuple):
    """What a control step gave all worlds."""

    observation: Array  # (worlds, slots)
    reward: Array  # (worlds,)
    terminated: Array  # (worlds,)
    terms: dict[str, Array]  # (worlds,), 0 where a world has no such term
    unstable: Array  # (worlds,)


class Batch(VectorEnv[Array, Array, Array]):
    """Many worlds of one env, stepped together on all cores.

    Like `World`, it does not clip actions to the action space. A world whose simulation MuJoCo calls unstable ends its
    episode with reward 0 and `infos["sim_unstable"]`; the others go on.

    Args:
        num_envs: how many worlds.
        env: the env's name: `half-cheetah`.
        variants: per world a variant's name, a mapping of axes (with `variant` for a named one), or None.
        variant: one of the env's named variants, for all worlds.
        autoreset_mode: Gymnasium's, by value: `NextStep`, `SameStep`, `Disabled`, where a world whose episode has ended
            stands still, without physics and with reward 0, until `reset` is called with a mask.
        max_episode_steps: after how many steps an episode is cut.
        warm_start: as `World`'s. It is on, as in Gymnasium: it costs nothing (benchmarks/worlds.py).
        threads: how many, or None for as many as there are cores.
        render_mode: None: a batch draws no pictures.
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
        **axes: Any,
    ) -> None:
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        if render_mode is not None:
            raise InputError(f"{env}: a batch draws no pictures: make one world with render_mode='{render_mode}'")
        lineup = Lineup(num_envs, env, variants, variant, axes)
        self._describe(lineup)
        self._limit = max_episode_steps or self.table.episode_steps
        self._physics = physics(
            lineup.models,
            [spec.frame_skip for spec in lineup.tables],
            sorted({"qpos", "qvel", *(field for task in self._tasks for field in task.fields)}),
            contact_forces=any(task.needs_contact_forces for task in self._tasks),
            warm_start=warm_start,
            threads=threads,
        )
        self._watches = [(rows, task.labels, task.watch(self._physics.field)) for rows, task in lineup.judges()]
        self._elapsed, self._ended = np.zeros(num_envs, dtype=np.int64), np.zeros(num_envs, dtype=bool)
        self._streams: list[np.random.Generator] = []
        self._noise: list[np.random.Generator] = []
        self._all, self._every = np.arange(num_envs), np.ones(num_envs, dtype=bool)

    def _describe(self, lineup: Lineup) -> None:
        """Set what Gymnasium asks a vector env for."""
        self.num_envs, self.addresses = len(lineup.addresses), lineup.addresses
        self.table, self.interface, self._tasks = lineup.table, lineup.interface, lineup.tasks
        self._ends = np.array([task.ends for task in lineup.tasks])
        self._channel = Channel(lineup.settings) if lineup.settings else None
        self.single_action_space = lineup.action_space
        self.single_observation_space = Box(-np.inf, np.inf, (len(self.interface.observation),), np.float64)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.render_mode = None

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]  as SyncVectorEnv's
        """The worlds' generators."""
        return tuple(self._streams)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start new episodes, in all worlds or in those of `options["reset_mask"]` (worlds,).

        World i is seeded with `seed + i`, or with `seed[i]`, as Gymnasium's vector envs do.

        Raises:
            InputError: the mask or the list of seeds is of another length.
        """
        worlds = self._masked(options)
        self._seed(worlds, seed)
        observation = self._watches[0][2].observe() if len(worlds) < self.num_envs else None
        started = self._start(worlds)
        if observation is None:
            return started, {}
        observation[worlds] = started
        return observation, {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Return observations, rewards, terminations, truncations and infos, as Gymnasium's vector envs do.

        `infos["reward_<term>"]` are the signed terms that the rewards are the sums of.

        Raises:
            InputError: the actions have another shape than the action space.
            FloatingPointError: an action is not finite.
        """
        actions = self._checked(actions)
        goes_on = self.autoreset_mode == AutoresetMode.SAME_STEP or not self._ended.any()
        waiting = None if goes_on else self._ended.copy()
        active = self._every if waiting is None else ~waiting
        controls = actions if self._channel is None else self._channel.act(actions, self._noise, active)
        before = [watch.before() for _, _, watch in self._watches]
        self._physics.advance(controls, None if waiting is None else np.flatnonzero(active))
        judged = self._judged(before, actions, active)
        self._elapsed += active
        terminated, truncated = judged.terminated, self._elapsed >= self._limit
        infos = self._infos(judged, active)
        observation, reward = judged.observation, judged.reward
        if waiting is not None:
            reward[waiting] = 0.0
            if self.autoreset_mode == AutoresetMode.NEXT_STEP:
                terminated[waiting], truncated[waiting] = False, False
                observation[waiting] = self._start(np.flatnonzero(waiting))
            else:
                truncated |= waiting & ~terminated
        self._ended = terminated | truncated
        if self.autoreset_mode == AutoresetMode.SAME_STEP and self._ended.any():
            observation = self._go_on(observation, infos)
        return observation, reward, terminated, truncated, infos

    def state(self, worlds: Sequence[int] | Array | None = None) -> dict[str, Array]:
        """Return all that worlds need to go on exactly, in this batch or in another: arrays (len(worlds), ...).

        Args:
            worlds: their indices; all of them where not given.

        Raises:
            InputError: the batch has not been reset yet.
        """
        if not self._streams:
            raise InputError(f"{self.addresses[0]}: the batch has no state before its first reset")
        chosen = self._all if worlds is None else np.asarray(worlds, dtype=np.int64)
        found = {f"physics.{name}": values for name, values in self._physics.state(chosen).items()}
        if self._channel is not None:
            found |= {f"channel.{name}": values for name, values in self._channel.state(chosen).items()}
        return found | {
            "elapsed": self._elapsed[chosen],
            "ended": self._ended[chosen],
            "streams": streams.packed([self._streams[world] for world in chosen]),
            "noise": streams.packed([self._noise[world] for world in chosen]),
        }

    def restore(self, worlds: Sequence[int] | Array | None, state: Mapping[str, Array]) -> None:
        """Put worlds where `state` found them, or found others of the same addresses; needs no reset before.

        Raises:
            InputError: the state is of another number of worlds.
        """
        chosen = self._all if worlds is None else np.asarray(worlds, dtype=np.int64)
        if len(state["elapsed"]) != len(chosen):
            raise InputError(f"{self.addresses[0]}: a state of {len(state['elapsed'])} worlds for {len(chosen)}")
        self._physics.restore(chosen, _below("physics.", state))
        if self._channel is not None and "channel.acts" in state:
            self._channel.restore(chosen, _below("channel.", state))
        self._elapsed[chosen], self._ended[chosen] = state["elapsed"], state["ended"]
        if not self._streams:
            self._seed(self._all[:0], None)
        for row, world in enumerate(chosen):
            streams.restore(self._streams[world], state["streams"][row])
            streams.restore(self._noise[world], state["noise"][row])

    def check(self) -> None:
        """Nothing: MuJoCo makes room for every contact, and says of each world when it is unstable."""

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads."""
        self._physics.close()

    def _judged(self, before: Sequence[Any], actions: Array, active: Array) -> Judged:
        observation = self._watches[0][2].observe()
        unstable = self._physics.unstable() | ~np.isfinite(observation).all(axis=1)
        total, healthy = np.zeros(self.num_envs), np.ones(self.num_envs, dtype=bool)
        terms: dict[str, Array] = {}
        for earlier, (rows, labels, watch) in zip(before, self._watches, strict=True):
            well = watch.healthy()
            each = watch.rewards(earlier, actions, well)
            total[rows], healthy[rows] = _rows(watch.total(each), rows), _rows(well, rows)
            for label, value in zip(labels, each, strict=True):
                kept = terms.setdefault(f"reward_{label}", np.zeros(self.num_envs))
                kept[rows] = _rows(value, rows)
        if self._channel is not None:
            observation = self._channel.sense(observation, self._noise, active & ~unstable)
        if unstable.any():
            observation = self._collapse(np.flatnonzero(unstable), observation, total, terms)
        return Judged(observation, total, (self._ends & ~healthy) | unstable, terms, unstable)

    def _collapse(self, worlds: Array, observation: Array, total: Array, terms: dict[str, Array]) -> Array:
        """End unstable worlds at their nominal state, as `World` does."""
        positions = np.array([self._tasks[world].nominal[0] for world in worlds])
        velocities = np.array([self._tasks[world].nominal[1] for world in worlds])
        self._physics.restart(worlds, positions, velocities)
        observation[worlds] = self._watches[0][2].observe()[worlds]
        for values in (total, *terms.values()):
            values[worlds] = 0.0
        return observation

    def _infos(self, judged: Judged, active: Array) -> dict[str, Any]:
        """Return Gymnasium's form: an array per key, and under `_key` of which worlds it speaks."""
        told = judged.unstable & active
        return _told(judged.terms, active) | ({"sim_unstable": told, "_sim_unstable": told} if told.any() else {})

    def _go_on(self, observation: Array, infos: dict[str, Any]) -> Array:
        """Start the ended worlds anew in the same step; what they ended with goes to `final_info` and `final_obs`."""
        ended, told = np.flatnonzero(self._ended), self._ended.copy()
        final = np.full(self.num_envs, None, dtype=object)
        for world in ended:
            final[world] = observation[world].copy()
        values = {key: value for key, value in infos.items() if not key.startswith("_")}
        infos.clear()
        unstable = values.pop("sim_unstable", told & ~told)
        kept = _told(values, told) | ({"sim_unstable": unstable, "_sim_unstable": unstable} if unstable.any() else {})
        infos |= _told(values, ~told)
        infos |= {"final_obs": final, "_final_obs": told, "final_info": kept, "_final_info": told}
        observation[ended] = self._start(ended)
        return observation

    def _start(self, worlds: Array) -> Array:
        """Start new episodes; return their first observations (len(worlds), slots)."""
        states = [self._tasks[world].start(self._streams[world]) for world in worlds]
        self._physics.restart(
            worlds, np.array([position for position, _ in states]), np.array([velocity for _, velocity in states])
        )
        self._elapsed[worlds] = 0
        self._ended[worlds] = False
        observation = self._watches[0][2].observe()[worlds]
        if self._channel is not None:
            for row, world in enumerate(worlds):
                observation[row] = self._channel.begin(world, observation[row], self._noise[world])
        return observation

    def _seed(self, worlds: Array, seed: int | Sequence[int | None] | None) -> None:
        seeds: Sequence[int | None] = [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            seeds = [int(seed) + world for world in range(self.num_envs)]
        elif seed is not None:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise InputError(f"{len(seeds)} seeds for {self.num_envs} worlds")
        if not self._streams:
            self._streams = [seeding.np_random()[0] for _ in range(self.num_envs)]
            self._noise = [stream.spawn(1)[0] for stream in self._streams]
        for world in worlds:
            if (one := seeds[world]) is not None:
                self._streams[world] = seeding.np_random(one)[0]
                self._noise[world] = self._streams[world].spawn(1)[0]

    def _masked(self, options: dict[str, Any] | None) -> Array:
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return self._all
        if np.shape(mask) != (self.num_envs,) or not np.any(mask):
            raise InputError(f"reset_mask is {self.num_envs} booleans, one of them true")
        return np.flatnonzero(mask)

    def _checked(self, actions: Array) -> Array:
        actions = np.asarray(actions)
        if actions.shape != self.action_space.shape:
            raise InputError(f"{self.addresses[0]}: actions have shape {self.action_space.shape}, not {actions.shape}")
        if not np.isfinite(actions).all():
            world = int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])
            wrong = [f"{slot.name} = {v}" for slot, v in zip(self.interface.action, actions[world], strict=True)]
            where = f"world {world}, {self.addresses[world]}"
            raise FloatingPointError(f"{where}: the policy's action is not finite: {', '.join(wrong)}")
        return actions


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


def _told(values: Mapping[str, Array], worlds: Array) -> dict[str, Array]:
    """Return Gymnasium's form of numbers that speak of some worlds: 0 elsewhere, nothing at all if of none."""
    if not worlds.any():
        return {}
    shown = values if worlds.all() else {key: np.where(worlds, value, 0.0) for key, value in values.items()}
    return {**shown, **{f"_{key}": worlds for key in values}}


def _rows(value: Any, rows: Any) -> Any:
    return value[rows] if np.ndim(value) else value
