"""The transitions of all members: a ring for each, which holds every observation once.

What follows an observation lies in the next slot. Where an episode was cut off, what it ended with lies in a table
beside the ring, since its value goes on; where it terminated, what follows has no value. The first slots may be held:
then the ring goes on behind them when it is full.

Axes: P members, S slots of a ring, W worlds, B of a batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.networks.policy_memory import TERM_PREFIX
from trl_suite.training.cohort.collecting.cohort_envs import StepResult
from trl_suite.training.cohort.stacked.device_staging import DeviceStaging, StagedArray

SEGMENT = 8 * 2**20  # bytes of a ring that a snapshot keeps together
TERMINATED = -1  # what follows a slot: 0 the next slot, -1 nothing, k > 0 row k - 1 of the table

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


class TransitionBatch(NamedTuple):
    """Transitions of every member; observations as they came from the worlds."""

    observation: torch.Tensor  # (P, B, slots)
    action: torch.Tensor  # (P, B, actions), in [-1, 1]
    reward: torch.Tensor  # (P, B)
    next_obs: torch.Tensor  # (P, B, slots)
    not_done: torch.Tensor  # (P, B), 0 where the episode terminated and 1 elsewhere


class ReplayRings:
    """A ring per member. The slot that comes next holds the observation that was seen last, and is not drawn yet."""

    def __init__(
        self,
        members: int,
        size: int,
        worlds: int,
        slots: int,
        actions: int,
        device: torch.device,
        terms: Sequence[str] = (),
    ) -> None:
        """Begin with empty rings of `size` rows, which remember these terms of the reward too."""
        self._slots, self._reward, self._worlds, self._terms = slots, slots + actions, worlds, tuple(terms)
        self._length = size + 1
        shape = (members, self._length, worlds)
        self.rows = torch.empty(*shape, slots + actions + 1 + len(terms), device=device)  # ..., reward, its terms
        self.follows = torch.zeros(shape, dtype=torch.int32, device=device)
        self._table = torch.zeros(members, 8, slots, device=device)
        self._unused = [list(range(8)) for _ in range(members)]  # rows of the table
        # where the next transition goes, how often the ring began anew, and how many slots are held
        self._place, self._rounds, self._held = (np.zeros(members, dtype=np.int64) for _ in range(3))
        self._every = np.arange(members)
        self._tables = torch.zeros(0)
        self._number_tables()
        # (slot, world) -> row of the table, so that the device need not be asked what a full ring overwrites
        self._cuts: list[dict[tuple[int, int], int]] = [{} for _ in range(members)]
        numbers_paid = self.rows.shape[-1] - slots
        self._steps = DeviceStaging(
            {
                "paid": StagedArray((members, worlds, numbers_paid)),
                "place": StagedArray((members,), torch.int64),
                "observation": StagedArray((members, worlds, slots)),
                "next": StagedArray((members,), torch.int64),
            },
            device,
        )
        self._ended = DeviceStaging(
            {
                "place": StagedArray((members * worlds,), torch.int64),
                "follows": StagedArray((members * worlds,), torch.int32),
                "row": StagedArray((members * worlds,), torch.int64),
                "last": StagedArray((members * worlds, slots)),
            },
            device,
        )

    @property
    def drawable(self) -> npt.NDArray[np.int64]:
        """How many rows of each member can be drawn (P,)."""
        return np.where(self._rounds, self._length - 1, self._place)

    def observe(self, observation: npt.NDArray[np.float64]) -> None:
        """Take the observations (P, W, slots) that the next actions follow."""
        self._free(self._place)
        self._observe(self._steps.send({"observation": observation, "next": self._flat(self._place)}))

    def add(self, action: npt.NDArray[np.float32], moment: StepResult) -> None:
        """Take the actions in [-1, 1] (P, W, actions) on what was seen last, and what came of them."""
        paid = [moment.reward, *(moment.terms[name] for name in self._terms)]
        row_values = np.concatenate([action, np.stack(paid, axis=-1)], axis=-1, dtype=np.float32)
        step = {"paid": row_values, "place": self._flat(self._place), "observation": moment.observation}
        if moment.ended.any():
            self._end_all(moment)
        self._advance()
        self._free(self._place)
        sent = self._steps.send(step | {"next": self._flat(self._place)})
        self.rows.flatten(0, 1)[..., self._slots :].index_copy_(0, sent["place"], sent["paid"])
        self._observe(sent)

    def _observe(self, sent: Mapping[str, torch.Tensor]) -> None:
        self.rows.flatten(0, 1)[..., : self._slots].index_copy_(0, sent["next"], sent["observation"])
        self.follows.flatten(0, 1).index_fill_(0, sent["next"], 0)

    def _flat(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return where each member's slot is among those of all members."""
        return self._every * self._length + slots

    def _end_all(self, moment: StepResult) -> None:
        """Say of all worlds whose episode has just ended what follows, in one copy to the device."""
        self._ended.write({})
        staged = self._ended.host
        over = np.argwhere(moment.ended)
        is_cut = np.zeros(len(over), dtype=bool) if moment.cut is None else moment.cut[tuple(over.T)]
        over, cuts = over[np.argsort(~is_cut, kind="stable")], int(is_cut.sum())  # cut ones first: they have a row
        member, world = over.T
        rows = [self._row_for(m, int(self._place[m]), w) for m, w in over[:cuts].tolist()]
        staged["place"][: len(over)] = self._flat(self._place)[member] * self._worlds + world
        staged["follows"][: len(over)] = TERMINATED
        if moment.last is not None and cuts:
            staged["follows"][:cuts] = np.array(rows) + 1
            staged["row"][:cuts] = member[:cuts] * self.room + rows
            staged["last"][:cuts] = moment.last[member[:cuts], world[:cuts]]
        sent = self._ended.send()
        self.follows.view(-1).index_copy_(0, sent["place"][: len(over)], sent["follows"][: len(over)])
        self._table.view(-1, self._slots).index_copy_(0, sent["row"][:cuts], sent["last"][:cuts])

    def _advance(self) -> None:
        self._place += 1
        full = self._place == self._length
        self._rounds += full
        self._place[full] = self._held[full]

    def hold(self, member: int, rows: int) -> None:
        """Overwrite a member's first rows no more, or, of none, again."""
        last, before = self._length - 1, int(self._held[member])
        if self._rounds[member] and rows != before and self._place[member] != last:
            # what follows the last slot lies in the first one that was not held, and will no longer
            for world in np.flatnonzero(self.follows[member, last].cpu().numpy() == 0):
                next_obs = self.rows[member, before, world, : self._slots]
                self._end(member, last, int(world), next_obs.double().cpu().numpy())
        self._held[member] = rows

    def held(self, member: int) -> dict[str, torch.Tensor]:
        """Return the transitions that a member holds, as `essence` has them; empty where it holds none."""
        count = int(self._held[member])
        return essence(self._transitions(member, np.arange(count))) if count else {}

    def transitions(self, member: int) -> dict[str, torch.Tensor]:
        """Return all that can be drawn (count, ...), by SB3's names, with `term.NAME` for the terms of the reward.

        What an episode terminated with is not remembered: the observation before it stands there.
        """
        slots = np.arange(self._length if self._rounds[member] else self._place[member])
        return self._transitions(member, slots[slots != self._place[member]])

    def _transitions(self, member: int, slots: npt.NDArray[np.int64]) -> dict[str, torch.Tensor]:
        next_slots = self._after(slots, self._held[member])
        rows, follows = self.rows[member, slots], self.follows[member, slots]
        observation = rows[..., : self._slots]
        next_obs = self.rows[member, next_slots][..., : self._slots]
        next_obs = torch.where((follows == TERMINATED)[..., None], observation, next_obs)
        cut = follows > 0
        next_obs[cut] = self._table[member, (follows[cut] - 1).long()]
        fields = {
            "observations": observation.double(),
            "next_observations": next_obs.double(),
            "actions": rows[..., self._slots : self._reward],
            "rewards": rows[..., self._reward],
            "dones": (follows != 0).float(),
            "timeouts": cut.float(),
        }
        fields |= {TERM_PREFIX + name: rows[..., self._reward + 1 + i].double() for i, name in enumerate(self._terms)}
        return {name: values.flatten(0, 1).cpu().contiguous() for name, values in fields.items()}

    def _after(self, slots: npt.NDArray[np.int64], first_slot: Any) -> npt.NDArray[np.int64]:
        """Return the slots that come after some."""
        next_slots = slots + 1
        return np.where(next_slots == self._length, first_slot, next_slots)

    def give(self, member: int, transitions: Mapping[str, torch.Tensor]) -> None:
        """Begin a member's ring with transitions (count, ...) by SB3's names; `count` is a multiple of the worlds."""
        rows = len(transitions["rewards"]) // self._worlds
        parts = [transitions[name].float() for name in ("observations", "actions")]
        row_values = torch.cat([*parts, transitions["rewards"].float().reshape(-1, 1)], dim=1)
        self.rows[member, :rows] = 0.0  # it is not told what each term was
        self.rows[member, :rows, :, : self._reward + 1] = row_values.reshape(rows, self._worlds, -1).to(self.rows)
        over = (transitions["dones"] * (1 - transitions["timeouts"])).reshape(rows, self._worlds)
        next_obs = transitions["next_observations"].reshape(rows, self._worlds, -1).numpy()
        for row, world in np.ndindex(rows, self._worlds):
            self._end(member, row, world, None if over[row, world] else next_obs[row, world])
        self._place[member] = rows

    @property
    def room(self) -> int:
        """How many ends of episodes there is room for: where it grows, what is read lies elsewhere."""
        return self._table.shape[1]

    def places(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return where the transitions lie that numbers in [0, 1) (P, B, 2) stand for: which row, and which world.

        The result is (2, P, B): where each is, and where what follows it is, if it is in the ring.
        """
        drawn_slots = self._chosen(uniform)
        slots = np.stack([drawn_slots, self._after(drawn_slots, self._held[:, None])])
        world = (uniform[..., 1] * self._worlds).astype(np.int64)
        return (self._every[:, None] * self._length + slots) * self._worlds + world

    def at(self, places: torch.Tensor) -> TransitionBatch:
        """Return the transitions at places (2, P, B) that are on the ring's device."""
        here, ahead = places
        rows = self.rows.view(-1, self.rows.shape[-1])
        drawn = rows.index_select(0, here.reshape(-1)).view(*here.shape, -1)
        follows = self.follows.view(-1).index_select(0, here.reshape(-1)).view(here.shape)
        next_obs = rows.index_select(0, ahead.reshape(-1)).view(*here.shape, -1)[..., : self._slots]
        return TransitionBatch(
            observation=drawn[..., : self._slots],
            action=drawn[..., self._slots : self._reward],
            reward=drawn[..., self._reward],
            next_obs=torch.where((follows > 0)[..., None], self._ends(follows), next_obs),
            not_done=(follows != TERMINATED).to(drawn.dtype),
        )

    def sample_observations(self, member: int, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return observations (B, slots) of one member that numbers in [0, 1) (B, 2) stand for."""
        every = np.zeros((len(self._every), *uniform.shape))
        every[member] = uniform
        place = self._chosen(every)[member]
        world = (uniform[:, 1] * self._worlds).astype(np.int64)
        return self.rows[member, place, world, : self._slots].double().cpu().numpy()

    def state(self, member: int) -> tuple[dict[str, Array], Mapping[str, Arrays]]:
        """Return the part of a member's ring that is being written, and the other parts that have been, by name.

        A part's name says where it lies and in which round it was written: under one name there is always the same. It
        is read when it is asked for, before the ring goes on: most parts are known by name already.
        """
        rounds, position = int(self._rounds[member]), int(self._place[member])
        parts: dict[str, tuple[int, int]] = {}
        open_: dict[str, Array] = {"replay.at": np.array([position, rounds, self._held[member]])}
        for start in range(0, self._length, self._chunk):
            end = min(start + self._chunk, self._length)
            if start <= position < end:  # of what has not been written there is no need
                content = self._content(member, start, end if rounds else position + 1)
                open_ |= {f"replay.{name}": values for name, values in content.items()}
            elif (written_in := rounds if position >= end else rounds - 1) >= 0:
                parts[f"replay-{start // self._chunk:05d}-{written_in}"] = (start, end)
        return open_, _RingParts(parts, lambda span: self._content(member, *span))

    def restore(self, member: int, arrays: Arrays, parts: Mapping[str, Arrays]) -> None:
        """Fill a member's ring with what `state` returned."""
        self._place[member], self._rounds[member], self._held[member] = arrays["replay.at"]
        self._unused[member], self._cuts[member] = list(range(self._table.shape[1])), {}
        for name in sorted(parts):
            self._fill(member, int(name.split("-")[1]) * self._chunk, parts[name])
        start = int(self._place[member]) // self._chunk * self._chunk
        self._fill(member, start, {name: arrays[f"replay.{name}"] for name in ("rows", "follows", "ends")})

    @property
    def _chunk(self) -> int:
        """Slots that a snapshot keeps together."""
        return max(1, SEGMENT // (4 * self._worlds * (self.rows.shape[-1] + 1)))

    def _chosen(self, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return slots (P, B); the one that is being written is left out."""
        slots = (uniform[..., 0] * self.drawable[:, None]).astype(np.int64)
        return slots + ((self._rounds > 0)[:, None] & (slots >= self._place[:, None]))

    def _numbers(self, values: npt.NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(values.astype(np.float32), device=self.rows.device)

    def _ends(self, follows: torch.Tensor) -> torch.Tensor:
        """Return the rows of the table that follow (P, B, slots); anything where none does."""
        place = (self._tables + (follows - 1).clamp(min=0)).reshape(-1)
        return self._table.view(-1, self._slots).index_select(0, place).view(*follows.shape, -1)

    def _end(self, member: int, slot: int, world: int, last: npt.NDArray[np.float64] | None) -> None:
        """Say that nothing follows a slot, or the last observation of an episode."""
        if last is None:
            self.follows[member, slot, world] = TERMINATED
            return
        row = self._row_for(member, slot, world)
        self._table[member, row] = self._numbers(last)
        self.follows[member, slot, world] = row + 1

    def _row_for(self, member: int, slot: int, world: int) -> int:
        """Return a row of a member's table that stands for what an episode ended with."""
        if not self._unused[member]:
            self._grow()
        row = self._cuts[member][slot, world] = self._unused[member].pop()
        return row

    def _grow(self) -> None:
        size = self._table.shape[1]
        self._table = torch.cat([self._table, torch.zeros_like(self._table)], dim=1)
        for unused in self._unused:
            unused.extend(range(size, 2 * size))
        self._number_tables()

    def _number_tables(self) -> None:
        """Note where each member's table begins (P, 1): on the device, for a captured update may copy nothing there."""
        members, size = self._table.shape[:2]
        self._tables = torch.arange(0, members * size, size, device=self._table.device)[:, None]

    def _free(self, place: npt.NDArray[np.int64]) -> None:
        """Let what followed slots that are about to be overwritten go."""
        for member in np.flatnonzero(self._rounds):
            rows = [self._cuts[member].pop((int(place[member]), world), None) for world in range(self._worlds)]
            self._unused[member].extend(row for row in rows if row is not None)

    def _content(self, member: int, start: int, end: int) -> dict[str, Array]:
        follows = self.follows[member, start:end]
        ends = self._table[member, (follows[follows > 0] - 1).long()]
        fields = {"rows": self.rows[member, start:end], "follows": follows, "ends": ends}
        return {name: values.cpu().numpy() for name, values in fields.items()}

    def _fill(self, member: int, start: int, content: Arrays) -> None:
        stop = start + len(content["rows"])
        self.rows[member, start:stop] = torch.as_tensor(content["rows"])
        self.follows[member, start:stop] = torch.as_tensor(content["follows"])
        for (slot, world), last in zip(np.argwhere(content["follows"] > 0), content["ends"], strict=True):
            self._end(member, start + int(slot), int(world), last)


class _RingParts(Mapping[str, Arrays]):
    """Parts of a ring, each read when it is asked for."""

    def __init__(self, spans: Mapping[str, tuple[int, int]], read: Callable[[tuple[int, int]], Arrays]) -> None:
        self._spans, self._read = spans, read

    def __getitem__(self, name: str) -> Arrays:
        return self._read(self._spans[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __deepcopy__(self, memo: object) -> dict[str, Arrays]:
        return {name: deepcopy(part) for name, part in self.items()}


def essence(transitions: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the fields that updates read, under SB3's names; a frozen replay is proved by hashing these."""
    not_done = 1.0 - transitions["dones"].float() * (1.0 - transitions["timeouts"].float())
    fields = {name: transitions[name].float() for name in ("observations", "actions", "rewards")}
    return fields | {
        "next_observations": transitions["next_observations"].float() * not_done[:, None],
        "not_done": not_done,
    }


def numbers(size: int, worlds: int, slots: int, actions: int, terms: int = 0) -> int:
    """Return how many numbers of four bytes a member's ring of `size` rows has."""
    return (size + 1) * worlds * (slots + actions + 2 + terms)
