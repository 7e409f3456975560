"""Certificates of an env's variants as a page of the site, to which the table of variants links."""

import re
from collections.abc import Mapping

from trl_suite.evidence.results.number_format import number
from trl_suite.worlds import certificate
from trl_suite.worlds.certificate import Certificate, Difference, Severity

FIELDS_MAX = 4  # of a compiled model that stand in a cell
_INTRODUCTION = """---
orphan: true
---

# Certificates of {env}

What each variant changes in the compiled model, and how far its motion, or what it acts on, parts from the env's under
the same controls. `trl-suite verify` computes them; `certificates.json` beside the env's table has them in full.
[Back to {env}](README.md).
"""
_HEAD = (
    "variant", "acts on", "in the compiled model: base → variant", "apart after 1, 10, 100, 1,000 steps",
    "from its nearest neighbour", "random policy's return", "proved", "digest",
)  # fmt: skip


def page(env: str) -> str:
    """Return the certificates of an env's variants as a table in Markdown."""
    rows = ["| " + " | ".join(_HEAD) + " |", "|---" * len(_HEAD) + "|"]
    for variant, certified in certificate.stored(env).items():
        rows.append("| " + " | ".join((f'<a id="{variant}"></a>`{variant}`', *_cells(certified))) + " |")
    return "\n".join((_INTRODUCTION.format(env=env), *rows, ""))


def linked(env: str, text: str) -> str:
    """Return an env's page, the names in its table of variants leading to their certificates."""
    for variant in certificate.stored(env):
        link = f'| <a href="certificates.html#{variant}"><code>{variant}</code></a> |'
        text = re.sub(rf"^\| `{re.escape(variant)}` \|", lambda _, link=link: link, text, flags=re.MULTILINE)
    return text


def _cells(certified: Certificate) -> tuple[str, ...]:
    returned = certified.random
    return (
        certified.acts_on,
        _differences(certified.fields),
        ", ".join(f"{apart:.2g}" for apart in certified.parted.values()),
        _severity(certified.severity),
        f"{number(returned.mean)} [{number(returned.low)}, {number(returned.high)}]",
        "yes" if certified.proved else "; ".join(certified.problems),
        f"`{certified.digest}`",
    )


def _differences(fields: Mapping[str, Difference]) -> str:
    lines = [f"`{name}`: {_difference(field)}" for name, field in list(fields.items())[:FIELDS_MAX]]
    more = [f"and {len(fields) - FIELDS_MAX} more fields"] if len(fields) > FIELDS_MAX else []
    return "<br>".join([*lines, *more]) or "nothing"


def _difference(field: Difference) -> str:
    base, variant = (", ".join(f"{value:.4g}" for value in values) for values in (field.base, field.variant))
    more = f" and {field.changed - len(field.base)} more" if field.changed > len(field.base) else ""
    return f"{base} → {variant}{more}"


def _severity(severity: Severity | None) -> str:
    if severity is None:
        return ""
    return f"{severity.nearest:.2g} among {len(severity.among)}, {'in order' if severity.ordered else 'not in order'}"
