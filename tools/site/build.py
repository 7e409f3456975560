"""The site: `python -m tools.site.build` lays its pages out in build/site/source and makes build/site/html of them.

Pages that are written by hand stand in the repository and are taken as they are. A page for each method, the reference
of the command line and that of the Python calls are written here, from the tables and the source. Nothing is fetched.
"""

import ast
import inspect
import multiprocessing
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import get_args

import trl_suite
from hatch_build import LINK
from tools.site import algorithm_pages, certificate_pages, paper_pages, submission_pages
from trl_suite.algorithms.registry import DESCRIPTORS
from trl_suite.cli.arguments import Arguments
from trl_suite.evidence.reading.run_archive import ARCHIVE_FILE
from trl_suite.evidence.report import browse_page, report_files
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.mechanisms import methods
from trl_suite.worlds.certificate import CERTIFICATES_FILE

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/site"
FOLDERS = ("docs", "envs", "policies", "experiments")
PICTURES = (".svg", ".png", ".gif", ".webp")
CONF = """
project, author, html_title = "trl_suite", "the trl_suite authors", "trl_suite"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme, html_show_sourcelink, html_copy_source = "furo", False, False
myst_heading_anchors, default_role, autodoc_typehints, autodoc_class_signature = 3, "code", "none", "separated"
html_static_path, html_css_files, html_show_copyright = ["_static"], ["site.css"], False
suppress_warnings = ["myst.header"]
"""
CSS = """
article img { background: #fff; border-radius: 0.25rem; }  /* axes and letters of pictures are dark */
article td { vertical-align: top; }
"""
REPORT, BROWSE, CERTIFICATES = "report.html", "browse.html", "certificates"
GUIDES = (
    "install", "transplant", "worlds", "outside-suites", "env-table", "policies", "methods", "experiments", "sequences",
    "cohorts",
    "gpu", "cluster", "tensorboard", "notebooks", "findings", "faq",
    "tutorial-policy", "tutorial-robot", "tutorial-method", "tutorial-report", "tutorial-cluster",
)  # fmt: skip


def repository() -> str:
    """The address that a link to a file leads to which is no page."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]


def staged(page: Path, source: Path) -> str:
    """The text of a page, its links to files that are no pages leading to the repository; copies its pictures."""

    def lead(link: re.Match[str]) -> str:
        path, _, anchor = link[3].partition("#")
        target = (page.parent / path).resolve()
        place = target.relative_to(ROOT)
        if target.suffix == ".md" and (place.parts[0] in FOLDERS or place == Path("README.md")):
            return link[0].replace("README.md", "index.md") if place == Path("README.md") else link[0]
        if target.suffix in PICTURES:
            (source / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(target, source / place)
            return link[0]
        kind = "tree" if target.is_dir() else "blob"
        return f"{link[1]}[{link[2]}]({repository()}/{kind}/main/{place}{'#' if anchor else ''}{anchor})"

    return LINK.sub(lead, page.read_text(encoding="utf-8"))


def toctree(entries: Iterable[str], caption: str = "") -> str:
    """A hidden table of contents, which the sidebar shows."""
    head = [f":caption: {caption}"] if caption else []
    return "\n".join(["```{toctree}", ":hidden:", *head, "", *entries, "```", ""])


def write(path: Path, text: str) -> None:
    """Write a page, with the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def method_page(name: str, text: str) -> str:
    """The page of one method: its sentence, what becomes of the statistics, what it does meanwhile, and its table."""
    method = methods.shipped()[name]
    paper = paper_pages.cited(method.paper)
    during = methods.label(method) or "nothing: it works in `trl_suite.transplant` too"
    return (
        f"# {name}\n\n{method.summary[0].upper()}{method.summary[1:]}.\n\n"
        f"Paper: {paper} ([all papers](../reference/papers.md)).\n\nDuring training: {during}.\n\n"
        f"```toml\n{text.strip()}\n```\n\n"
        f"## Where it helped\n\n{algorithm_pages.evidence(name)}\n"
        "[All methods](../docs/methods.md), and how to compose one of your own.\n"
    )


def method_tables() -> dict[str, str]:
    """The tables of `methods.toml` by the method's name, as they stand there."""
    parts = re.split(r"^(?=\[)", methods.SHIPPED_METHODS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {part[1:].partition("]")[0]: part for part in parts}


def command_page() -> str:
    """The reference of the command line: each verb with its arguments, from the classes that tyro reads."""
    tree = ast.parse((ROOT / "trl_suite/cli/arguments.py").read_text(encoding="utf-8"))
    names = {kind.__name__: name.name for kind, name in (get_args(option) for option in get_args(Arguments))}
    verbs = [node for node in tree.body if isinstance(node, ast.ClassDef) and "Verb" in map(ast.unparse, node.bases)]
    parts = [f"## {names[verb.name]}\n\n{ast.get_docstring(verb)}\n\n{_arguments(verb)}" for verb in verbs]
    return "# Command line\n\n`trl-suite VERB --help` says the same.\n\n" + "\n".join(parts)


def _arguments(verb: ast.ClassDef) -> str:
    rows = ["| argument | meaning | where not given |", "|---|---|---|"]
    for field, note in zip(verb.body, verb.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr):
            name, kind = ast.unparse(field.target), ast.unparse(field.annotation)
            shown = name.upper() if "Positional" in kind else f"--{name.replace('_', '-')}"
            default = f"`{ast.unparse(field.value)}`" if field.value else "needed"
            rows.append(f"| `{shown}` | {ast.literal_eval(note.value)} | {default.replace('|', '/')} |")
    return "\n".join(rows) + "\n"


def reference_page() -> str:
    """The reference of the public Python calls, from their docstrings."""
    parts = ["# Python\n"]
    for name in trl_suite.__all__:
        if inspect.ismodule(home := getattr(trl_suite, name)):
            parts.append(
                f"## trl_suite.{name}\n\n```{{eval-rst}}\n.. automodule:: {home.__name__}\n   :members:\n```\n"
            )
        else:
            kind = "autoclass" if inspect.isclass(home) else "autofunction"
            members = "\n   :members:\n   :undoc-members:" if inspect.isclass(home) else ""
            place = f"{import_module(home.__module__).__name__}.{home.__qualname__}"
            parts.append(f"## trl_suite.{name}\n\n```{{eval-rst}}\n.. {kind}:: {place}{members}\n```\n")
    return "\n".join(parts)


def lay_out(source: Path) -> None:
    """Write all pages of the site into a folder."""
    pages = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.md"))]
    tables = method_tables()
    for page in pages:
        text = staged(page, source)
        if (page.parent / "results/plan.json").is_file():
            text += f'\n<a href="{REPORT}">The report</a>, and <a href="../{BROWSE}">all runs of all experiments</a>.\n'
        if (page.parent / CERTIFICATES_FILE).is_file():
            text = certificate_pages.linked(page.parent.name, text)
            certificates = certificate_pages.page(page.parent.name)
            write(source / page.relative_to(ROOT).with_name(f"{CERTIFICATES}.md"), certificates)
        write(source / page.relative_to(ROOT), text)
    for name, text in tables.items():
        write(source / f"methods/{name}.md", method_page(name, text))
    for name in DESCRIPTORS:
        write(source / f"algorithms/{name}.md", algorithm_pages.page(name))
    write(source / "experiments/others.md", submission_pages.page())
    write(source / "reference/papers.md", paper_pages.page())
    write(source / "reference/commands.md", command_page())
    write(source / "reference/python.md", reference_page())
    code = [f"docs/{page.stem}" for page in pages if page.parent.name == "docs" and page.stem not in GUIDES]
    contents = [
        toctree([f"docs/{name}" for name in GUIDES], "Guides"),
        toctree(["envs/README", "policies/README", "experiments/README", "experiments/others"], "Catalogue"),
        toctree([f"algorithms/{name}" for name in DESCRIPTORS], "Algorithms"),
        toctree(["reference/commands", "reference/python", "reference/papers", *code], "Reference"),
    ]
    write(source / "index.md", staged(ROOT / "README.md", source) + "\n" + "\n".join(contents))
    for folder in ("envs", "experiments"):
        below = [path for path in pages if path.parent.parent == ROOT / folder]
        with (source / folder / "README.md").open("a") as file:
            file.write("\n" + toctree(f"{path.parent.name}/README" for path in below))
    with (source / "docs/methods.md").open("a") as file:
        file.write("\n" + toctree(f"../methods/{name}" for name in tables))
    write(source / "conf.py", CONF)
    write(source / "_static/site.css", CSS)


def views(html: Path) -> None:
    """Render what is a view of committed facts: each experiment's report, on all cores, and one page of all runs."""
    folders = [plan.parent for plan in sorted((ROOT / "experiments").glob("*/results/plan.json"))]
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        largest_first = sorted(folders, key=_archived_bytes, reverse=True)
        rendered = [pool.submit(_report, folder, html) for folder in largest_first]
        browse_page.write([Results.read(folder) for folder in folders], html / "experiments" / BROWSE)
        for report in rendered:
            report.result()


def _report(results: Path, html: Path) -> None:
    report_files.save(Results.read(results), html / "experiments" / results.parent.name / REPORT)


def _archived_bytes(results: Path) -> int:
    archive = results / ARCHIVE_FILE
    return archive.stat().st_size if archive.is_file() else 0


def twins(source: Path, html: Path) -> None:
    """Put the Markdown of each page beside its HTML, and a list of all pages into `llms.txt`."""
    lines = ["# trl_suite", "", "> Transfer reinforcement learning for robots, measured.", ""]
    for page in sorted(source.rglob("*.md")):
        place = page.relative_to(source)
        shutil.copy(page, html / place)
        title = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        lines.append(f"- [{title[1] if title else place.stem}]({place})")
    write(html / "llms.txt", "\n".join(lines) + "\n")


def main(build: Path = BUILD) -> int:
    """Make the site and return Sphinx's exit code; a warning fails it."""
    build_main: Callable[[list[str]], int] = import_module("sphinx.cmd.build").build_main  # of the group `site`
    source, html = build / "source", build / "html"
    shutil.rmtree(build, ignore_errors=True)
    lay_out(source)
    code = build_main(["-b", "html", "-q", "-W", "--keep-going", "-j", "auto", str(source), str(html)])
    if not code:
        views(html)
        twins(source, html)
        print(f"{html / 'index.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
