"""An ONNX file of somebody else's, parsed only after its sizes have been counted; nothing of it is executed.

Protobuf makes an object of each two bytes that say "an empty node", so a small file could take gigabytes. The walk
below goes over the lengths alone and stops at limits that a policy never reaches.
"""

import contextlib
import os
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trl_suite.errors import InputError, printable
from trl_suite.files import read_limited, reason_of
from trl_suite.networks.exchange.onnx_export import imported_onnx

ONNX_MAX_BYTES = 16 * 1024**2 + 65_536  # four million weights; a locomotion policy has half a million
FIELDS_MAX = 40_000  # of all messages together; a policy of ten layers has a thousand
INTEGERS_MAX_BYTES = 65_536  # of one list of packed integers, which grow to eight bytes each
DEPTH_MAX = 8  # messages inside messages

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # kinds of field on the wire


class _Message(NamedTuple):
    """Which fields of a message hold messages, lists of packed integers, and text."""

    inner: Mapping[int, str]
    integers: frozenset[int] = frozenset()
    texts: frozenset[int] = frozenset()


_ENTRY = _Message({}, texts=frozenset({1, 2, 3}))  # a pair of texts, an operator set, a dimension

# by the field numbers of onnx.proto3
_SCHEMA: Mapping[str, _Message] = {
    "ModelProto": _Message(
        {7: "GraphProto", 8: "Entry", 14: "Entry", 20: "TrainingInfo", 25: "FunctionProto"},
        texts=frozenset({2, 3, 4, 6}),
    ),
    "GraphProto": _Message(
        {1: "NodeProto", 5: "TensorProto", 11: "ValueInfo", 12: "ValueInfo", 13: "ValueInfo", 14: "Annotation",
         15: "SparseTensor", 16: "Entry"},
        texts=frozenset({2, 10}),
    ),
    "NodeProto": _Message({5: "AttributeProto", 9: "Entry", 10: "Entry"}, texts=frozenset({1, 2, 3, 4, 6, 7, 8})),
    "AttributeProto": _Message(
        {5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto", 14: "TypeProto", 15: "TypeProto",
         22: "SparseTensor", 23: "SparseTensor"},
        frozenset({8}),
        frozenset({1, 13, 21}),
    ),
    "TensorProto": _Message({3: "Entry", 13: "Entry", 16: "Entry"}, frozenset({1, 5, 7, 11}), frozenset({8, 12})),
    "SparseTensor": _Message({1: "TensorProto", 2: "TensorProto"}, frozenset({3})),
    "TrainingInfo": _Message({1: "GraphProto", 2: "GraphProto", 3: "Entry", 4: "Entry"}),
    "FunctionProto": _Message({7: "NodeProto", 9: "Entry", 11: "AttributeProto", 12: "ValueInfo", 14: "Entry"}),
    "ValueInfo": _Message({2: "TypeProto", 4: "Entry"}, texts=frozenset({1, 3})),
    "TypeProto": _Message(
        {1: "TensorType", 4: "TypeProto", 5: "TypeProto", 8: "TensorType", 9: "TypeProto"}, texts=frozenset({6})
    ),
    "TensorType": _Message({2: "Shape"}),
    "Shape": _Message({1: "Entry"}),
    "Annotation": _Message({2: "Entry"}, texts=frozenset({1})),
    "Entry": _ENTRY,
}  # fmt: skip
_MISTAKEN_FOR_ONNX = {  # how files begin that are taken for ONNX
    b"PK\x03\x04": "a zip (TorchScript or a checkpoint of torch's, perhaps)",
    b"\x80\x02": "a pickle, which could run code",
    b"\x80\x04": "a pickle, which could run code",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file itself",
}


def read(path: Path) -> Any:
    """The parsed model (onnx.ModelProto).

    Raises:
        InputError: no such file, it is larger than `ONNX_MAX_BYTES`, damaged, or holds more than a policy can need.
        NotInstalledError: the package onnx is missing.
    """
    content = read_limited(path, ONNX_MAX_BYTES)
    where = str(path)
    for sign, name in _MISTAKEN_FOR_ONNX.items():
        if content.startswith(sign):
            raise InputError(f"{where}: not ONNX but {name}")
    _Walk(memoryview(content), where).check()
    onnx = imported_onnx()
    try:
        with silenced():
            model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's errors depend on how it was built
        raise InputError(f"{where}: not an ONNX file that can be parsed: {printable(reason_of(error))[:120]}") from None
    if not model.HasField("graph"):
        raise InputError(f"{where}: not an ONNX file: it holds no graph")
    return model


@contextlib.contextmanager
def silenced() -> Generator[None]:
    """Keep what protobuf's C++ writes to standard error out of the terminal: the error says it."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


class _Walk:
    """One walk over the lengths in a file."""

    def __init__(self, content: memoryview, where: str) -> None:
        self._content, self._where, self._fields = content, where, 0

    def check(self) -> None:
        """Refuse a file of which a length leads out, or that has too many fields, integers or levels."""
        if not self._content:
            raise InputError(f"{self._where}: is empty")
        self._message("ModelProto", 0, len(self._content), 0)

    def _message(self, kind: str, start: int, stop: int, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise InputError(f"{self._where}: refused: messages inside messages, deeper than {DEPTH_MAX} levels")
        schema = _SCHEMA[kind]
        for field, begin, end in self._parts(start, stop):
            if field in schema.inner:
                self._message(schema.inner[field], begin, end, depth + 1)
            elif field in schema.texts:
                self._text(begin, end)
            elif field in schema.integers and end - begin > INTEGERS_MAX_BYTES:
                raise InputError(
                    f"{self._where}: refused: a list of {end - begin} bytes of integers in a {kind}; a policy needs "
                    f"{INTEGERS_MAX_BYTES} at most"
                )

    def _text(self, begin: int, end: int) -> None:
        try:
            str(self._content[begin:end], "utf-8")
        except UnicodeDecodeError:
            raise self._damaged() from None

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield number, begin and end of each field that has a length."""
        place = start
        while place < stop:
            self._fields += 1
            if self._fields > FIELDS_MAX:
                raise InputError(f"{self._where}: refused: more than {FIELDS_MAX} fields; a policy has a thousand")
            key, place = self._varint(place, stop)
            kind, field = key & 7, key >> 3
            if kind == _BYTES:
                size, place = self._varint(place, stop)
                if size > stop - place:
                    raise self._damaged()
                yield field, place, place + size
                place += size
            elif kind == _VARINT:
                _, place = self._varint(place, stop)
            elif kind in (_FIXED64, _FIXED32):
                place += 8 if kind == _FIXED64 else 4
            else:
                raise self._damaged()
        if place > stop:
            raise self._damaged()

    def _varint(self, place: int, stop: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if place >= stop:
                raise self._damaged()
            byte = self._content[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, place
        raise self._damaged()

    def _damaged(self) -> InputError:
        return InputError(f"{self._where}: not an ONNX file, or one that was cut off or damaged")
