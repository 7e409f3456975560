"""The transitions of all members: a ring for each, which holds every observation once.

What follows an observation lies in the next slot. Where an episode was cut off, what it ended with lies in a table
beside the ring, since its value goes on; where it terminated, what follows has no value.

Axes: P members, S slots of a ring, W worlds, B of a batch.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.training.cohort.worlds import Moment

SEGMENT = 8 * 2**20  # bytes of a ring that a snapshot keeps together
TERMINATED = -1  # what follows a slot: 0 the next slot, -1 nothing, k > 0 row k - 1 of the table

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


class Batch(NamedTuple):
    """Transitions of every member; observations as they came from the worlds."""

    observation: torch.Tensor  # (P, B, slots)
    action: torch.Tensor  # (P, B, actions), in [-1, 1]
    reward: torch.Tensor  # (P, B)
    following: torch.Tensor  # (P, B, slots)
    goes_on: torch.Tensor  # (P, B), 0 where the episode terminated and 1 elsewhere


class Replay:
    """A ring per member. The slot that comes next holds the observation that was seen last, and is not drawn yet."""

    def __init__(self, members: int, size: int, worlds: int, slots: int, actions: int, device: torch.device) -> None:
        self._slots, self._actions, self._worlds = slots, actions, worlds
        self._length = size + 1
        shape = (members, self._length, worlds)
        self.rows = torch.empty(*shape, slots + actions + 1, device=device)  # observation, action, reward
        self.follows = torch.zeros(shape, dtype=torch.int32, device=device)
        self._table = torch.zeros(members, 8, slots, device=device)
        self._unused = [list(range(8)) for _ in range(members)]  # rows of the table
        self.written = np.zeros(members, dtype=np.int64)  # rows so far, those that were overwritten among them
        self._every = np.arange(members)

    @property
    def drawable(self) -> npt.NDArray[np.int64]:
        """How many rows of each member can be drawn (P,)."""
        return np.minimum(self.written, self._length - 1)

    def see(self, observation: npt.NDArray[np.float64]) -> None:
        """Take the observations (P, W, slots) that the next actions follow."""
        place = self.written % self._length
        self._free(place)
        self.rows[self._every, place, :, : self._slots] = self._numbers(observation)
        self.follows[self._every, place] = 0

    def add(self, action: npt.NDArray[np.float32], moment: Moment) -> None:
        """Take the actions in [-1, 1] (P, W, actions) on what was seen last, and what came of them."""
        place = self.written % self._length
        told = np.concatenate([action, moment.reward[..., None]], axis=-1, dtype=np.float32)
        self.rows[self._every, place, :, self._slots :] = torch.as_tensor(told, device=self.rows.device)
        if moment.ended.any():
            for member, world in np.argwhere(moment.ended):
                cut = moment.cut is not None and moment.last is not None and moment.cut[member, world]
                last = moment.last[member, world] if cut and moment.last is not None else None
                self._end(member, int(place[member]), int(world), last)
        self.written += 1
        self.see(moment.observation)

    def give(self, member: int, transitions: Mapping[str, torch.Tensor]) -> None:
        """Begin a member's ring with transitions (count, ...) by SB3's names; `count` is a multiple of the worlds."""
        rows = len(transitions["rewards"]) // self._worlds
        parts = [transitions[name].float() for name in ("observations", "actions")]
        told = torch.cat([*parts, transitions["rewards"].float().reshape(-1, 1)], dim=1)
        self.rows[member, :rows] = told.reshape(rows, self._worlds, -1).to(self.rows)
        over = (transitions["dones"] * (1 - transitions["timeouts"])).reshape(rows, self._worlds)
        following = transitions["next_observations"].reshape(rows, self._worlds, -1).numpy()
        for row, world in np.ndindex(rows, self._worlds):
            self._end(member, row, world, None if over[row, world] else following[row, world])
        self.written[member] = rows

    def draw(self, uniform: npt.NDArray[np.float64]) -> Batch:
        """Return the transitions that numbers in [0, 1) (P, B, 2) stand for: which row, and which world."""
        chosen = self._chosen(uniform)
        device, members = self.rows.device, self._every[:, None] * self._length
        world = torch.as_tensor((uniform[..., 1] * self._worlds).astype(np.int64), device=device)
        here = torch.as_tensor(members + chosen, device=device) * self._worlds + world
        ahead = torch.as_tensor(members + (chosen + 1) % self._length, device=device) * self._worlds + world
        rows = self.rows.view(-1, self.rows.shape[-1])
        found = rows.index_select(0, here.reshape(-1)).view(*here.shape, -1)
        follows = self.follows.view(-1).index_select(0, here.reshape(-1)).view(here.shape)
        following = rows.index_select(0, ahead.reshape(-1)).view(*here.shape, -1)[..., : self._slots]
        return Batch(
            observation=found[..., : self._slots],
            action=found[..., self._slots : -1],
            reward=found[..., -1],
            following=torch.where((follows > 0)[..., None], self._ends(follows), following),
            goes_on=(follows != TERMINATED).to(found.dtype),
        )

    def seen(self, member: int, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return observations (B, slots) of one member that numbers in [0, 1) (B, 2) stand for."""
        every = np.zeros((len(self._every), *uniform.shape))
        every[member] = uniform
        place = self._chosen(every)[member]
        world = (uniform[:, 1] * self._worlds).astype(np.int64)
        return self.rows[member, place, world, : self._slots].double().cpu().numpy()

    def state(self, member: int) -> tuple[dict[str, Array], dict[str, dict[str, Array]]]:
        """Return the part of a member's ring that is being written, and the other parts that have been, by name.

        A part's name says where it lies and in which round it was written: under one name there is always the same.
        """
        rounds, position = divmod(int(self.written[member]), self._length)
        parts: dict[str, dict[str, Array]] = {}
        open_: dict[str, Array] = {"replay.written": self.written[member : member + 1]}
        for start in range(0, self._length, self._chunk):
            end = min(start + self._chunk, self._length)
            if start <= position < end:  # of what has not been written there is no need
                content = self._content(member, start, end if rounds else position + 1)
                open_ |= {f"replay.{name}": values for name, values in content.items()}
            elif (own := rounds if position >= end else rounds - 1) >= 0:
                parts[f"replay-{start // self._chunk:05d}-{own}"] = self._content(member, start, end)
        return open_, parts

    def restore(self, member: int, arrays: Arrays, parts: Mapping[str, Arrays]) -> None:
        """Fill a member's ring with what `state` returned."""
        self.written[member] = arrays["replay.written"][0]
        self._unused[member] = list(range(self._table.shape[1]))
        for name in sorted(parts):
            self._fill(member, int(name.split("-")[1]) * self._chunk, parts[name])
        start = int(self.written[member]) % self._length // self._chunk * self._chunk
        self._fill(member, start, {name: arrays[f"replay.{name}"] for name in ("rows", "follows", "ends")})

    @property
    def _chunk(self) -> int:
        """Slots that a snapshot keeps together."""
        return max(1, SEGMENT // (4 * self._worlds * (self.rows.shape[-1] + 1)))

    def _chosen(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return slots (P, B); the one that is being written is left out."""
        chosen = (uniform[..., 0] * self.drawable[:, None]).astype(np.int64)
        full = self.written >= self._length
        return chosen + (full[:, None] & (chosen >= (self.written % self._length)[:, None]))

    def _numbers(self, values: npt.NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(values.astype(np.float32), device=self.rows.device)

    def _ends(self, follows: torch.Tensor) -> torch.Tensor:
        """Return the rows of the table that follow (P, B, slots); anything where none does."""
        size = self._table.shape[1]
        first = torch.as_tensor(self._every * size, device=follows.device)[:, None]
        place = (first + (follows - 1).clamp(min=0)).reshape(-1)
        return self._table.view(-1, self._slots).index_select(0, place).view(*follows.shape, -1)

    def _end(self, member: int, slot: int, world: int, last: npt.NDArray[np.float64] | None) -> None:
        """Say that nothing follows a slot, or the last observation of an episode."""
        if last is None:
            self.follows[member, slot, world] = TERMINATED
            return
        if not self._unused[member]:
            self._grow()
        row = self._unused[member].pop()
        self._table[member, row] = self._numbers(last)
        self.follows[member, slot, world] = row + 1

    def _grow(self) -> None:
        size = self._table.shape[1]
        self._table = torch.cat([self._table, torch.zeros_like(self._table)], dim=1)
        for unused in self._unused:
            unused.extend(range(size, 2 * size))

    def _free(self, place: npt.NDArray[np.int64]) -> None:
        """Let what followed slots that are about to be overwritten go."""
        for member in np.flatnonzero(self.written >= self._length):
            follows = self.follows[member, place[member]].tolist()
            self._unused[member].extend(row - 1 for row in follows if row > 0)

    def _content(self, member: int, start: int, end: int) -> dict[str, Array]:
        follows = self.follows[member, start:end]
        ends = self._table[member, (follows[follows > 0] - 1).long()]
        found = {"rows": self.rows[member, start:end], "follows": follows, "ends": ends}
        return {name: values.cpu().numpy() for name, values in found.items()}

    def _fill(self, member: int, start: int, content: Arrays) -> None:
        stop = start + len(content["rows"])
        self.rows[member, start:stop] = torch.as_tensor(content["rows"])
        self.follows[member, start:stop] = torch.as_tensor(content["follows"])
        for (slot, world), last in zip(np.argwhere(content["follows"] > 0), content["ends"], strict=True):
            self._end(member, start + int(slot), int(world), last)


def numbers(size: int, worlds: int, slots: int, actions: int) -> int:
    """Return how many numbers of four bytes a member's ring of `size` rows has."""
    return (size + 1) * worlds * (slots + actions + 2)
