"""Papers of methods and algorithms as the site prints them; `papers.toml` is the list of them."""

import re
from pathlib import Path

import msgspec

from trl_suite import tables
from trl_suite.algorithms.registry import DESCRIPTORS
from trl_suite.errors import unknown
from trl_suite.mechanisms import methods

PAPERS = Path(__file__).with_name("papers.toml")
NONE = "none: "  # begins what a method without a paper says instead


class Paper(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One paper of the list."""

    title: str
    url: str


def papers() -> dict[str, Paper]:
    """Return the list of papers by their short names: `Li et al. 2018`."""
    return {name: tables.convert(entry, Paper, f"{PAPERS.name}: {name}") for name, entry in tables.load(PAPERS).items()}


def cited(text: str) -> str:
    """Return what a `paper` key names, with links: `[Li et al. 2018](https://...), section 3`.

    Raises:
        InputError: a paper is not in the list.
    """
    if text.startswith(NONE):
        return text
    listed = papers()

    def link(source: str) -> str:
        name, comma, place = source.partition(", ")
        if name not in listed:
            raise unknown("paper", name, listed)
        return f'[{name}]({listed[name].url} "{listed[name].title}"){comma}{place}'

    return "; ".join(map(link, text.split("; ")))


def page() -> str:
    """Return the list of papers, each with the methods and algorithms that follow it."""
    sources = {f"[{name}](../methods/{name}.md)": method.paper for name, method in methods.shipped().items()}
    sources |= {f"[{name}](../algorithms/{name}.md)": one.paper for name, one in DESCRIPTORS.items()}
    rows = ["| paper | title | followed by |", "|---|---|---|"]
    for name, paper in papers().items():
        users = [link for link, text in sources.items() if re.search(rf"(?:^|; ){re.escape(name)}(?:[,;]|$)", text)]
        rows.append(f"| [{name}]({paper.url}) | {paper.title} | {', '.join(users)} |")
    return "\n".join(["# Papers", "", "Papers that methods and algorithms follow.", "", *rows, ""])
