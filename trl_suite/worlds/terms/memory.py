"""Numbers that an episode remembers beside the physics: the last action, commands, time, the past, times in the air.

One array per batch, (envs, numbers), whose layout is the same for all its envs; `Reading`s take numbers from it as from
MuJoCo's arrays, under the name `memory`. An env whose table asks for none of it has none.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError, located, unknown
from trl_suite.interface import Slot
from trl_suite.worlds.env_spec import Block, Clock, Command, EnvSpec
from trl_suite.worlds.terms import arrays
from trl_suite.worlds.terms.displacement import action_slots
from trl_suite.worlds.terms.model_sensors import NamedScalar
from trl_suite.worlds.terms.sensors import Fields, Reading, matching, reading, unmatched

MEMORY_FIELD = "memory"  # the field's name
MEMORY_KINDS = {
    "last_action": ("actuator", "action of the step before, as the policy gave it"),
    "command": ("command", "command that is to be followed"),
    "phase": ("clock", "sine and cosine of a clock's phase"),
}
STEPS = 0  # column of the control steps since the episode's beginning
DURATION = 1  # column of the control step's length, s: variants of one batch may differ in it
Draw = Callable[[Any], Any]
"""Gives uniform numbers (..., n) to the envs of a mask (...); what others get is never read."""


class Phase(NamedTuple):
    """Form of a clock's number: sin(2π t / T + φ)."""

    rate: float  # 2π / T, rad/s
    shift: float  # φ, rad

    def __call__(self, clocked: Any) -> Any:
        """Sine of the phase (..., 1), of the control steps and the length of each (..., 2)."""
        seconds = clocked[..., STEPS : STEPS + 1] * clocked[..., DURATION : DURATION + 1]
        return arrays.sine(seconds * self.rate + self.shift)


class BoundCommand(NamedTuple):
    """One command of a table: where it lies, and how it is drawn."""

    columns: slice
    draws: slice  # of the uniform numbers: the first decides whether it is zero
    low: Any  # (n,)
    size: Any  # (n,)
    every: float  # s for which it is held; 0 for the whole episode
    zero: float  # share of commands that are zero


class History(NamedTuple):
    """Past numbers of a block of the observation."""

    columns: slice  # youngest first
    sensor: Reading
    width: int


class AirTime(NamedTuple):
    """Time since a foot last touched anything, in s."""

    columns: slice
    sensor: Reading  # its contacts


class SuccessFlags(NamedTuple):
    """Whether success holds after a step (...), and whether the episode is one so far (...)."""

    holds: Any
    episode: Any


class MemoryLayout:
    """Where each number of the memory lies.

    Raises:
        InputError: two commands or clocks have one name.
    """

    def __init__(self, spec: EnvSpec, model: mujoco.MjModel, duration: float) -> None:
        self._width, self.duration = 2, duration
        self._actuators = action_slots(spec, model)
        self.action = self._allocate(len(self._actuators))
        self.draws = 0
        self._by_name = _by_name("commands", spec.commands)
        self.clocks = _by_name("clocks", spec.clocks)
        self.commands = tuple(self._command(command) for command in spec.commands)
        self.histories: tuple[History, ...] = ()
        self.air_times: tuple[AirTime, ...] = ()
        self.success = self._allocate(2)  # steps for which it has held, and whether it ever did
        self.judges = spec.success is not None
        self.counts_ever = spec.success is not None and spec.success.when == "ever"
        self.hold = spec.success.hold if spec.success else 0.0  # s
        self._needed = bool(spec.commands or spec.clocks or spec.success)

    @property
    def width(self) -> int:
        """Numbers that an env remembers; 0 where nothing of it is read."""
        return self._width if self._needed else 0

    def remember(self, block: Block, sensor: Reading) -> Reading:
        """Reading of what a block saw at the control steps before."""
        count, self._needed = len(sensor.slots), True
        columns = self._allocate(count * (block.history - 1))
        self.histories += (History(columns, sensor, count),)
        ages = range(1, block.history)
        slots = tuple(Slot(f"{slot.name}.ago-{age}", slot.unit) for age in ages for slot in sensor.slots)
        return Reading(MEMORY_FIELD, columns, slots)

    def air_time(self, contacts: Reading) -> Reading:
        """Reading of the times for which feet have been in the air, s."""
        self._needed = True
        columns = self._allocate(len(contacts.slots))
        self.air_times += (AirTime(columns, contacts),)
        slots = tuple(Slot(f"{slot.name}.air_time", "s") for slot in contacts.slots)
        return Reading(MEMORY_FIELD, columns, slots, unmatched=contacts.unmatched)

    def last_action(self) -> Reading:
        """Reading of the action of the step before."""
        self._needed = True
        return Reading(MEMORY_FIELD, self.action, tuple(Slot(f"{slot.name}.last", "1") for slot in self._actuators))

    def command(self, name: str) -> Reading:
        """Reading of a command.

        Raises:
            InputError: the table has no such command.
        """
        if name not in self._by_name:
            raise unknown("command", name, self._by_name, "command")
        return self.read("command", [name])[0]

    def read(self, kind: str, names: Sequence[str]) -> tuple[Reading, ...]:
        """Readings of a kind of the memory, by the names of actuators, commands or clocks.

        Raises:
            InputError: there is no such element.
        """
        self._needed = True
        if kind == "phase":
            return tuple(part for name in names for part in self._phase(name))
        numbers = self._last_actions() if kind == "last_action" else self._commands()
        places = [place for name in names for place in matching(name, numbers, MEMORY_KINDS[kind][0])]
        columns = [place.address for place in places]
        indices = (
            slice(columns[0], columns[-1] + 1)
            if columns == list(range(columns[0], columns[0] + len(columns)))
            else np.array(columns)
        )
        slots = tuple(Slot(f"{place.name}.{kind}", place.unit) for place in places)
        absent = unmatched(names, [place.name for place in numbers], MEMORY_KINDS[kind][0])
        return (Reading(MEMORY_FIELD, indices, slots, unmatched=absent),)

    def _last_actions(self) -> list[NamedScalar]:
        names = [slot.name.removesuffix(".control") for slot in self._actuators]
        return [NamedScalar(name, self.action.start + index, "1") for index, name in enumerate(names)]

    def _commands(self) -> list[NamedScalar]:
        return [
            NamedScalar(f"{command.name}.{part}", bound.columns.start + index, command.unit[index])
            for command, bound in zip(self._by_name.values(), self.commands, strict=True)
            for index, part in enumerate(command.parts)
        ]

    def _phase(self, name: str) -> tuple[Reading, ...]:
        if name not in self.clocks:
            raise unknown("clock", name, self.clocks)
        clock: Clock = self.clocks[name]
        rate, columns = 2 * np.pi / clock.period, slice(STEPS, DURATION + 1)
        return tuple(
            Reading(MEMORY_FIELD, columns, (Slot(f"{name}.{part}.phase", "1"),), form=Phase(rate, shift))
            for part, shift in (("sine", 2 * np.pi * clock.offset), ("cosine", 2 * np.pi * (clock.offset + 0.25)))
        )

    def _command(self, command: Command) -> BoundCommand:
        count = len(command.parts)
        draws = slice(self.draws, self.draws + count + 1)
        self.draws += count + 1
        low, high = np.array(command.low), np.array(command.high)
        return BoundCommand(self._allocate(count), draws, low, high - low, command.every or 0.0, command.zero)

    def _allocate(self, count: int) -> slice:
        columns = slice(self._width, self._width + count)
        self._width += count
        return columns


class TaskMemory:
    """The memory of the envs of one batch, or of one env: an array that is written in place.

    Args:
        layout: of its numbers.
        array: the memory itself (..., numbers).
        fields: of the state, the memory among them.
        put: puts a NumPy array where the memory is.
        durations: of a control step, s (...).
    """

    def __init__(
        self, layout: MemoryLayout, array: Any, fields: Fields, put: Callable[[Any], Any], durations: Sequence[float]
    ) -> None:
        self._layout, self._array = layout, array
        self._durations = put(np.array(durations).reshape((*array.shape[:-1], 1)))
        self._array[..., DURATION : DURATION + 1] = self._durations
        self._commands = [command._replace(low=put(command.low), size=put(command.size)) for command in layout.commands]
        self._histories = [(history, history.sensor.moved(put).of(fields)) for history in layout.histories]
        self._air = [(timer.columns, timer.sensor.moved(put).of(fields)) for timer in layout.air_times]

    def shift(self, active: Any) -> None:
        """Take what is seen now for the youngest of the past, before a control step of the envs of a mask (...)."""
        for history, read in self._histories:
            past = self._array[..., history.columns]
            youngest = arrays.joined([read(), past[..., : past.shape[-1] - history.width]])
            self._write(history.columns, active, youngest)

    def _advance(self, action: Any, active: Any) -> None:
        """Take note of a control step of the envs of a mask (...), whose action (..., actions) was this."""
        self._write(self._layout.action, active, action)
        self._write(slice(STEPS, STEPS + 1), active, self._array[..., STEPS : STEPS + 1] + 1)
        for columns, read in self._air:
            in_air = self._array[..., columns] + self._durations
            self._write(columns, active, in_air * (read() <= 0))

    def _succeed(self, fulfilled: Any, active: Any) -> SuccessFlags:
        """Note whether the conditions of success are fulfilled (...)."""
        steps = self._steps_of(self._layout.hold)
        columns = self._layout.success
        now = (self._array[..., columns.start] + 1) * fulfilled
        ever = arrays.larger(self._array[..., columns.start + 1], (now >= steps) * 1.0)
        self._write(columns, active, arrays.stacked([now, ever]))
        holds = self._array[..., columns.start] >= steps
        return SuccessFlags(holds, self._array[..., columns.start + 1] > 0 if self._layout.counts_ever else holds)

    def _resample(self, active: Any, draw: Draw) -> None:
        """Draw the commands anew that have been followed for as long as the table says."""
        for command in self._commands:
            if command.every:
                due = active & (self._array[..., STEPS] % self._steps_of(command.every) == 0)
                self._draw(command, due, draw)

    def _steps_of(self, seconds: float) -> Any:
        """Control steps (...) that a time takes, at least one."""
        return (seconds / self._durations[..., 0]).round().clip(1, None)

    def finish_step(self, fulfilled: Callable[[], Any], action: Any, active: Any, draw: Draw) -> SuccessFlags | None:
        """Take note of a control step, and draw the commands that are due; None where nothing is a success.

        Args:
            fulfilled: says whether the conditions of success hold (...), as numbers.
            action: of the policy (..., actions).
            active: which envs were stepped (...).
            draw: draws for the commands.
        """
        self._advance(action, active)
        flags = self._succeed(fulfilled(), active) if self._layout.judges else None
        self._resample(active, draw)
        return flags

    def begin(self, started: Any, draw: Draw | None) -> None:
        """Forget everything in the envs of a mask (...) that begin an episode; draw their commands, or leave them 0."""
        self._write(slice(0, self._array.shape[-1]), started, self._array * 0.0)
        self._write(slice(DURATION, DURATION + 1), started, self._durations)
        if draw is not None:
            for command in self._commands:
                self._draw(command, started, draw)
        for history, read in self._histories:
            times = (history.columns.stop - history.columns.start) // history.width
            self._write(history.columns, started, arrays.joined([read()] * times))

    def _draw(self, command: BoundCommand, mask: Any, draw: Draw) -> None:
        uniform = draw(mask)[..., command.draws]
        drawn = (command.low + command.size * uniform[..., 1:]) * (uniform[..., :1] >= command.zero)
        self._write(command.columns, mask, drawn)

    def _write(self, columns: slice, mask: Any, values: Any) -> None:
        old = self._array[..., columns]
        self._array[..., columns] = arrays.where(mask[..., None], values, old)


def _by_name(key: str, entries: Sequence[Any]) -> dict[str, Any]:
    names = [entry.name for entry in entries]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{key}: '{twice[0]}' stands twice")
    return dict(zip(names, entries, strict=True))


def with_memory(fields: Fields, memory: Any) -> Fields:
    """Fields of a state with the memory among them."""
    return lambda name: memory if name == MEMORY_FIELD else fields(name)


def block_readings(block: Block, model: mujoco.MjModel, layout: MemoryLayout) -> tuple[Reading, ...]:
    """Readings of a block of the observation, those of its past after the present one.

    Raises:
        InputError: the model or the table lacks an element that it names.
    """
    if block.kind in MEMORY_KINDS:
        if block.history > 1 or block.relative_to or block.limit is not None:
            raise InputError(f"kind '{block.kind}' has no history, relative_to or limit")
        return layout.read(block.kind, block.of)
    sensor = reading(model, block.kind, block.of, block.limit, block.relative_to)
    return (sensor, layout.remember(block, sensor)) if block.history > 1 else (sensor,)


def host_draw(generators: Sequence[np.random.Generator], width: int) -> Draw:
    """Draws of envs on the host, each from its own generator."""

    def draw(mask: Any) -> NDArray[np.float64]:
        numbers = np.zeros((*np.shape(mask), width))
        for index in np.flatnonzero(mask).tolist():
            numbers.reshape(-1, width)[index] = generators[index].random(width)
        return numbers

    return draw


def located_blocks(spec: EnvSpec, model: mujoco.MjModel, layout: MemoryLayout) -> dict[str, tuple[Reading, ...]]:
    """Readings of all visible blocks, in order, by their place in the table.

    Raises:
        InputError: a block names what there is not; the message names the block.
    """
    readings: dict[str, tuple[Reading, ...]] = {}
    for index, block in enumerate(spec.observation):
        if block.visible:
            place = f"observation[{index}]"
            with located(place):
                readings[place] = block_readings(block, model, layout)
    return readings
