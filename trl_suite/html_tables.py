"""Tables as HTML, for notebooks; every text in them is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

ROWS_MAX = 60  # that a notebook shows


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a title; beyond `ROWS_MAX` rows it says how many there are.

    Args:
        title: above the table; may be a sentence.
        header: names of the columns; empty where the first cell of each row names it.
        rows: cells, shown as `str` does.
    """
    listed = [list(map(str, row)) for row in rows]
    head = f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in header)}</tr></thead>" if header else ""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in listed[:ROWS_MAX])
    more = f"<p>and {len(listed) - ROWS_MAX:,} more rows</p>" if len(listed) > ROWS_MAX else ""
    return f"<div><p><b>{escape(title)}</b></p><table>{head}<tbody>{body}</tbody></table>{more}</div>"


def _cell(text: str) -> str:
    return f"<td style='text-align:left'>{escape(text)}</td>"
