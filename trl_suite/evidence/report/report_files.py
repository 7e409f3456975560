"""The report: what was found, how sure it is, and how to make it again; as one HTML page, Markdown, or a folder."""

import base64
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trl_suite import content, files
from trl_suite.errors import InputError
from trl_suite.evidence.figures.gallery import CaptionedFigure
from trl_suite.evidence.figures.style import svg
from trl_suite.evidence.report import table_files
from trl_suite.evidence.report.contents import ReportContents, contents
from trl_suite.evidence.results import number_format
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.film_cast import FilmFile
from trl_suite.evidence.results.number_format import printable
from trl_suite.evidence.results.return_scale import FRACTION, LATE
from trl_suite.evidence.statistics.similarity import suggest
from trl_suite.record import SCRATCH

REPORT_PAGE = "report.html"
MARKDOWN = "report.md"
FIGURES = "figures"
TABLES = "tables"
FILTERS = ("number", "times", "estimate", "bounds", "ratio", "speed_up", "probability", "steps", "duration", "plural",
           "percent", "targets", "setting")  # fmt: skip


def write(runs: Path) -> Path:
    """Write `report.html` into the experiment's folder and return its path.

    Raises:
        InputError: the folder holds no plan that can be read.
    """
    return save(Results.read(runs), runs / REPORT_PAGE)


def save(results: Results, path: Path) -> Path:
    """Write the report and return where it is; the path's ending says how.

    `.html`: one page that stands alone. `.md`: Markdown with `figures/*.svg` beside it. `.csv`, `.tex`, `.parquet`: the
    table of measures. None: a folder of all of them, with every run's numbers and every evaluation under `tables/`.

    Raises:
        InputError: another ending.
        StorageError: it cannot be written.
        NotInstalledError: Parquet without pyarrow.
    """
    writers: dict[str, Callable[[Results, Path], None]] = {".html": _html, ".md": _markdown, "": _folder}
    writers |= dict.fromkeys(table_files.ENDINGS, table_files.write)
    if path.suffix not in writers:
        raise InputError(f"{path}: a report ends in {', '.join(sorted(writers)[1:])}, or is a folder")
    content.refuse_installed(path)
    with files.storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.sweep(path.parent)
        writers[path.suffix](results, path)
    return path


def file_name(name: str) -> str:
    """Return a name as one part of a path that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def render(results: Results) -> str:
    """Return the page as HTML; every name in it is escaped."""
    draw = {"draw": lambda picture: Markup(svg(picture.figure, picture.name)), "play": _inline}
    return _fill("report.html.jinja", contents(results), draw, True)


def markdown(results: Results, figures: Path, detailed: int | None = None) -> str:
    """Return the report as Markdown and write its pictures into a folder, which is named by its last part."""
    figures.mkdir(parents=True, exist_ok=True)

    def draw(picture: CaptionedFigure) -> str:
        name = f"{file_name(picture.name)}.svg"
        files.write_atomically(figures / name, standalone(svg(picture.figure, picture.name)).encode())
        return f"{figures.name}/{name}"

    def play(film: FilmFile) -> str:
        shutil.copyfile(film.path, figures / film.path.name)
        return f"{figures.name}/{film.path.name}"

    return _fill("report.md.jinja", contents(results, detailed), {"draw": draw, "play": play}, False)


def _inline(film: FilmFile) -> str:
    """Return a film as an address that holds all of it, so that the page stands alone."""
    return f"data:image/gif;base64,{base64.b64encode(film.path.read_bytes()).decode()}"


def _fill(template: str, report: ReportContents, pictures: Mapping[str, Any], escape: bool) -> str:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update({name: getattr(number_format, name) for name in FILTERS})
    filters: dict[str, Any] = {**pictures, "cell": _cell, "suggest": suggest}
    templates.filters.update(filters)
    fields: dict[str, Any] = msgspec.structs.asdict(report)
    constants = {"fraction": FRACTION, "late": LATE, "scratch": SCRATCH}
    return templates.get_template(template).render(fields | constants)


def _cell(text: Any) -> str:
    """Return a text that can stand in a Markdown table: names hold no markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", str(text)).replace("\n", " ")


def standalone(body: str) -> str:
    """Return an svg element as a file with a white ground, so that it can be read on a dark page."""
    opened = body.index(">") + 1
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body[:opened]}{ground}{body[opened:]}'


def _html(results: Results, path: Path) -> None:
    replace_text(path, render(results))


def _markdown(results: Results, path: Path) -> None:
    replace_text(path, markdown(results, path.parent / FIGURES))


def _folder(results: Results, path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    _html(results, path / REPORT_PAGE)
    replace_text(path / MARKDOWN, markdown(results, path / FIGURES, detailed=len(results.envs)))
    table_files.write_all(results, path / TABLES)


def replace_text(path: Path, text: str) -> None:
    """Write a page whole or not at all, without signs that a viewer would obey."""
    files.write_atomically(path, "".join(map(_visible, text.removesuffix("\n").split("\n"))).encode())


def _visible(line: str) -> str:
    """Return a line of a page without signs that a viewer would obey: names may hold any."""
    return f"{printable(line)}\n"
