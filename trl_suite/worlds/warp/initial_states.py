"""First states of episodes, drawn on the device from the distributions that the envs' tables name."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trl_suite.worlds.env_spec import Spread
from trl_suite.worlds.stepping.task import BoundTask
from trl_suite.worlds.warp.counter_rng import CounterRng, DrawPurpose, UniformDraws, normals

GOALS = 64  # candidates of a goal; where four in five are near enough, all are too far once in 10^44 episodes


class InitialStates:
    """The first states of many worlds.

    Their distribution is that of the CPU's engines; the numbers are others, since the generator is another.

    Args:
        tasks: of each world.
        rng: of each world.
        episodes: that each world begins next (worlds,), live.
        put: puts a NumPy array on the device, in single precision.
    """

    def __init__(
        self, tasks: Sequence[BoundTask], rng: CounterRng, episodes: Tensor, put: Callable[[np.ndarray], Tensor]
    ) -> None:
        self.position = put(np.array([task.nominal.position for task in tasks]))  # (worlds, nq) the nominal ones
        self.velocity = put(np.array([task.nominal.velocity for task in tasks]))  # (worlds, nv)
        starts = [task.starts for task in tasks]
        self._noises = (
            _InitialNoise([start.position for start in starts], put),
            _InitialNoise([start.velocity for start in starts], put),
        )
        goals = [start.goal for start in starts if start.goal]
        self._goal = _indices(tasks[0].goal, self.position) if goals else None
        self._still = _indices(tasks[0].still, self.velocity)
        if goals:
            self._low = put(np.array([goal.low for goal in goals]))
            self._size = put(np.array([goal.high for goal in goals])) - self._low
            self._within = put(np.array([[goal.within or np.inf] for goal in goals]))
            self._beyond = put(np.array([[-np.inf if goal.beyond is None else goal.beyond] for goal in goals]))
        self._objects = [
            (_indices(indices, self.position), placement, put(np.array(placement.low)), put(np.array(placement.high)))
            for indices, placement in zip(tasks[0].places, starts[0].objects, strict=True)
        ]
        seen = tasks[0].seen
        self._seen = None if seen is None else [torch.from_numpy(rows).to(self.position.device) for rows in seen]
        self._widths = [len(rows) for rows in seen or (self.position[0], self.velocity[0])]  # of noise
        widths = {
            DrawPurpose.POSITION: self._noises[0].numbers(self._widths[0]),
            DrawPurpose.VELOCITY: self._noises[1].numbers(self._widths[1]),
            DrawPurpose.GOAL: GOALS * self._low.shape[1] if goals else 0,
            DrawPurpose.PLACEMENT: GOALS * sum(len(placement.low) for _, placement, *_ in self._objects),
        }
        self._draws = UniformDraws(rng, widths, episodes)

    def draw(self) -> None:
        """Draw the numbers of the first states of the episodes that begin next: work of Warp's."""
        self._draws.draw()

    def drawn(self) -> tuple[Tensor, Tensor]:
        """Return positions (worlds, nq) and velocities (worlds, nv) that were drawn last."""
        position = self._noisy(self.position, 0, DrawPurpose.POSITION)
        velocity = self._noisy(self.velocity, 1, DrawPurpose.VELOCITY)
        if self._goal is not None:
            position = position.index_copy(1, self._goal, self._goals())
        position = self._placed(position)
        if self._still is not None:
            velocity = velocity.index_fill(1, self._still, 0.0)
        return position, velocity

    def _noisy(self, nominal: Tensor, which: int, purpose: DrawPurpose) -> Tensor:
        """Return nominal numbers (worlds, n) with noise on those of the joints that a table sees."""
        noise = self._noises[which].of(self._draws.of(purpose), self._widths[which])
        if self._seen is None or not isinstance(noise, Tensor):
            return nominal + noise
        return nominal.index_add(1, self._seen[which], noise)

    def _placed(self, position: Tensor) -> Tensor:
        """Return the positions with every object at the first of many places that is clear of those before it."""
        earlier = [] if self._goal is None else [position[:, self._goal]]
        drawn, first = self._draws.of(DrawPurpose.PLACEMENT), 0
        for columns, placement, low, high in self._objects:
            width = len(placement.low)
            uniform = drawn[:, first : first + GOALS * width].reshape(-1, GOALS, width)
            place = _first_clear(low + (high - low) * uniform, earlier, placement.clearance)
            assert columns is not None
            position = position.index_copy(1, columns, place)
            earlier.append(place)
            first += GOALS * width
        return position

    def _goals(self) -> Tensor:
        """Return the first of many candidates that is near enough to, and far enough from, the origin."""
        width = self._low.shape[1]
        drawn = self._draws.of(DrawPurpose.GOAL).reshape(-1, GOALS, width)
        places = self._low[:, None] + self._size[:, None] * drawn
        reach = (places * places).sum(-1).sqrt()
        fits = (reach < self._within) & (reach > self._beyond)
        return _first(places, fits)


class _InitialNoise:
    """Uniform or normal noise; worlds may differ in which."""

    def __init__(self, spreads: Sequence[Spread], put: Callable[[np.ndarray], Tensor]) -> None:
        self._uniform = self._scale([spread.spread if spread.shape == "uniform" else 0.0 for spread in spreads], put)
        self._normal = self._scale([spread.spread if spread.shape == "normal" else 0.0 for spread in spreads], put)

    def numbers(self, width: int) -> int:
        """Return how many uniform numbers noise of so many takes."""
        return 2 * width if self._normal is not None else width if self._uniform is not None else 0

    def of(self, drawn: Tensor, width: int) -> Tensor | float:
        """Return the noise (worlds, width) that uniform numbers stand for."""
        noise: Tensor | float = 0.0
        if self._uniform is not None:
            noise = self._uniform * (2.0 * drawn[:, :width] - 1.0)
        if self._normal is not None:
            noise = noise + self._normal * normals(drawn)
        return noise

    def _scale(self, spreads: Sequence[float], put: Callable[[np.ndarray], Tensor]) -> Tensor | None:
        return put(np.array(spreads)[:, None]) if any(spreads) else None


def _first_clear(places: Tensor, earlier: Sequence[Tensor], clearance: float) -> Tensor:
    """Return the first of the candidates (envs, candidates, n) that is clear of the places before (envs, m)."""
    fits = torch.ones(places.shape[:2], dtype=torch.bool, device=places.device)
    for other in earlier:
        shared = min(places.shape[-1], other.shape[-1])
        offset = places[..., :shared] - other[:, None, :shared]
        fits &= (offset * offset).sum(-1).sqrt() >= clearance
    return _first(places, fits)


def _first(places: Tensor, fits: Tensor) -> Tensor:
    """Return the first of the candidates (envs, candidates, n) that fits."""
    first = fits.to(torch.int8).argmax(1)
    return places.gather(1, first[:, None, None].expand(-1, 1, places.shape[-1]))[:, 0]


def _indices(places: Any, like: Tensor) -> Tensor | None:
    """Return the columns that a slice or indices choose, on the device."""
    return None if places is None else torch.from_numpy(np.arange(like.shape[1])[places]).to(like.device)
