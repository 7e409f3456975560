"""What reaches a terminal: texts as they are, and nothing that it would act on."""

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from trl_suite.terminal import Terminal, print_json

CLI = Path(__file__).parent.parent / "trl_suite" / "cli" / "verbs"
SIGNS = st.text(st.sampled_from("ab[]/ \x07\x1b\x7f\x9b\u202e\u2066\u200b\ud800\U000e0001é字"), max_size=12)


def shown(monkeypatch, *printed) -> str:
    terminal = Terminal()
    terminal._file = out = io.StringIO()
    for thing in printed:
        terminal.print(thing, soft_wrap=True)
    return out.getvalue()


@given(text=SIGNS)
def test_lines_and_cells_print_as_they_are_or_spelt_out(text):
    table = Table(text, title=text)
    table.add_row(text)
    terminal = Terminal()
    terminal._file = out = io.StringIO()
    terminal.print(text, soft_wrap=True)
    terminal.print(table)
    assert all(sign.isprintable() or sign == "\n" for sign in out.getvalue())


def test_brackets_are_no_markup(monkeypatch):
    assert shown(monkeypatch, "pip install 'trl-suite[gpu]' [bold]x[/]") == "pip install 'trl-suite[gpu]' [bold]x[/]\n"
    assert shown(monkeypatch, Text("[x]")) == "[x]\n"


@given(text=SIGNS.filter(lambda text: "\ud800" not in text))
def test_json_is_printable_and_means_the_same(text):
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        print_json({text: [text]})
    assert all(sign.isprintable() or sign == "\n" for sign in out.getvalue())
    assert json.loads(out.getvalue()) == {text: [text]}


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.name)
def test_every_verb_prints_through_the_terminal(path):
    source = path.read_text()
    assert not re.search(r"\bConsole\(", source), "use trl_suite.terminal.Terminal"
    assert "json.dumps" not in source, "use trl_suite.terminal.print_json"
    assert "msgspec.json.format" not in source, "use trl_suite.terminal.print_json"
