"""A pickle read as data: its names stay names. Nothing that it asks for is imported, called or built.

Python's own unpickler is not used at all: it runs what it is told to, and even a harmless name lets a crafted
array state reach into memory. This one knows the instructions that plain values, arrays and instances need.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trl_suite.errors import InputError
from trl_suite.files import reason_of

MAX_INSTRUCTIONS = 200_000  # VecNormalize of a robot needs about 500
Value = Any  # None, bool, int, float, str, bytes, bytearray, tuple, list, dict, Name or Instance


@dataclass(frozen=True)
class Name:
    """A name that the pickle would have imported: `numpy.ndarray`."""

    path: str


@dataclass
class Instance:
    """An object that the pickle would have made by calling `maker` with `arguments`, and then given `state`."""

    maker: str
    arguments: Value
    state: Value = None


def read(content: bytes, admits: Callable[[str], bool], where: str) -> Value:
    """Return the value that a pickle describes.

    Args:
        content: the whole pickle.
        admits: whether a name may stand in it.
        where: opens the message of every error.

    Raises:
        InputError: a name is not admitted, an instruction is unknown, or the pickle is damaged.
    """
    machine = _Machine(admits)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count == MAX_INSTRUCTIONS:
                raise _RefusedError(f"it has more than {MAX_INSTRUCTIONS} instructions")
            machine.step(opcode.name, argument)
    except _RefusedError as error:
        raise InputError(f"{where}: refused: {error}; nothing of it was executed") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{where}: not a readable pickle: {reason_of(error)}") from None
    if len(machine.stack) != 1:
        raise InputError(f"{where}: not a readable pickle: it ends with {len(machine.stack)} values")
    return machine.stack[0]


class _RefusedError(Exception):
    """The pickle asks for something that no statistics need."""


_MARK = object()
_CONSTANTS: Mapping[str, Value] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = frozenset(
    [
        "BININT",
        "BININT1",
        "BININT2",
        "LONG1",
        "BINFLOAT",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "BYTEARRAY8",
        "SHORT_BINBYTES",
        "BINBYTES8",
    ]
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The unpickler's stack and memory, without its powers."""

    def __init__(self, admits: Callable[[str], bool]) -> None:
        self.stack: list[Value] = []
        self._memory: dict[int, Value] = {}
        self._admits = admits

    def step(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self.stack.append(tuple(self._pop(_TUPLES[name])))
        elif instruction := _INSTRUCTIONS.get(name):
            instruction(self, argument)
        else:
            raise _RefusedError(f"it holds the instruction {name}")

    def nothing(self, _: Any) -> None:
        """PROTO, FRAME, STOP."""

    def put(self, place: Any) -> None:
        """BINPUT, LONG_BINPUT, and MEMOIZE, which names no place."""
        self._memory[len(self._memory) if place is None else place] = self.stack[-1]

    def get(self, place: Any) -> None:
        """BINGET, LONG_BINGET."""
        self.stack.append(self._memory[place])

    def name(self, argument: Any) -> None:
        """GLOBAL, which carries `module name`, and STACK_GLOBAL, which finds both on the stack."""
        module, attribute = argument.split(" ", 1) if argument else self._pop(2)
        if not (isinstance(module, str) and isinstance(attribute, str)):
            raise _RefusedError("it asks for what has no name")
        path = f"{module}.{attribute}"
        if not self._admits(path):
            raise _RefusedError(f"it asks for {path!r}, which statistics have no use for")
        self.stack.append(Name(path))

    def make(self, _: Any) -> None:
        """NEWOBJ, REDUCE."""
        maker, arguments = self._pop(2)
        if not isinstance(maker, Name):
            raise _RefusedError("it calls what is not a name")
        self.stack.append(Instance(maker.path, arguments))

    def build(self, _: Any) -> None:
        """BUILD."""
        instance, state = self._pop(2)
        if not isinstance(instance, Instance):
            raise _RefusedError("it changes what is not an instance")
        instance.state = state
        self.stack.append(instance)

    def mark(self, _: Any) -> None:
        """MARK."""
        self.stack.append(_MARK)

    def fill_tuple(self, _: Any) -> None:
        """TUPLE."""
        self.stack.append(tuple(self._to_mark()))

    def empty(self, kind: type[list[Value]] | type[dict[Value, Value]]) -> None:
        """EMPTY_LIST, EMPTY_DICT."""
        self.stack.append(kind())

    def append(self, _: Any) -> None:
        """APPEND."""
        self._extend(self._pop(1))

    def appends(self, _: Any) -> None:
        """APPENDS."""
        self._extend(self._to_mark())

    def set_item(self, _: Any) -> None:
        """SETITEM."""
        self._update(self._pop(2))

    def set_items(self, _: Any) -> None:
        """SETITEMS."""
        self._update(self._to_mark())

    def _extend(self, values: list[Value]) -> None:
        if not isinstance(self.stack[-1], list):
            raise _RefusedError("it appends to what is not a list")
        self.stack[-1].extend(values)

    def _update(self, values: list[Value]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise _RefusedError("it fills what is not a dict")
        keys = values[::2]
        if not all(isinstance(key, str) for key in keys):  # the hash of nested tuples can take for ever
            raise _RefusedError("a key is not a text")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))

    def _pop(self, count: int) -> list[Value]:
        if len(self.stack) < count:
            raise ValueError("the stack is empty")
        self.stack[-count:], popped = [], self.stack[-count:]
        return popped

    def _to_mark(self) -> list[Value]:
        place = max(i for i, value in enumerate(self.stack) if value is _MARK)
        popped = self.stack[place + 1 :]
        del self.stack[place:]
        return popped


_INSTRUCTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _Machine.nothing),
    **dict.fromkeys(("MEMOIZE", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), _Machine.name),
    **dict.fromkeys(("NEWOBJ", "REDUCE"), _Machine.make),
    "BUILD": _Machine.build,
    "MARK": _Machine.mark,
    "TUPLE": _Machine.fill_tuple,
    "EMPTY_LIST": lambda machine, _: machine.empty(list),
    "EMPTY_DICT": lambda machine, _: machine.empty(dict),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
}
