"""The terminal: tables and lines in which nothing that a file says acts on it, and JSON."""

import os
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from trl_suite.errors import printable


class Terminal(Console):
    """A console that takes texts as they are: no markup in them, and control characters spelt out."""

    def __init__(self, *, quiet: bool = False, stderr: bool = False, **options: Any) -> None:
        super().__init__(quiet=quiet, stderr=stderr, markup=False, highlight=False, **options)

    def on_broken_pipe(self) -> None:
        """Fall silent where the reader has gone, `head` perhaps: what is shown is not what is done."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text of a line or of a table's cell; line breaks stay."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)


def print_json(value: Any) -> None:
    """Print a value as indented JSON, in which all that a terminal would act on is escaped."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    print("".join(sign if sign.isprintable() or sign == "\n" else _escaped(sign) for sign in text))


def _escaped(sign: str) -> str:
    """Return a character as JSON escapes it: in UTF-16, of which some take two units."""
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
