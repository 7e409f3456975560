"""Pictures for a paper: vectors with their fonts, colours that everybody tells apart, and no label under a curve."""

import itertools
import re
import zlib
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from trl_suite.cli.main import main
from trl_suite.errors import InputError
from trl_suite.evidence.figures.style import INK, LOOKS, STYLE_FILE, drawn_for_cards
from trl_suite.evidence.report import paper_figures, plots
from trl_suite.evidence.results.experiment_results import Results, load

from .conftest import ENV, Grid

KINDS = (
    "curves", "speed-up", "survival", "components", "forest", "map", "matrix", "severity", "freeze-depth", "profile",
    "total-steps",
)  # fmt: skip


@pytest.fixture(scope="module")
def results(standing: Grid) -> Results:
    return load(standing.root)


def drawn(results: Results, kind: str, width: float) -> Figure:
    with drawn_for_cards(width):
        return plots.plot(results, kind, results.envs[1] if kind in plots.OF_A_TARGET else None)


# --- Legible: nothing is cut off, no line runs under a word ---


@pytest.mark.parametrize("kind", KINDS)
def test_no_word_is_cut_off_or_under_a_curve(results: Results, kind: str):
    figure = drawn(results, kind, 5.5)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    box, page = figure.get_tightbbox(renderer), figure.bbox_inches
    assert page.x0 - 0.02 <= box.x0
    assert box.x1 <= page.x1 + 0.02
    assert page.y0 - 0.02 <= box.y0
    assert box.y1 <= page.y1 + 0.02
    for axis in figure.axes:
        ticks = {id(label) for label in (*axis.get_xticklabels(which="both"), *axis.get_yticklabels(which="both"))}
        words = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        for word in (word for word in words if id(word) not in ticks):
            extent = word.get_window_extent(renderer).padded(-1)
            for line in axis.get_lines():
                path = line.get_path().transformed(line.get_transform())
                inside = path.clip_to_bbox(axis.bbox, inside=False) if len(path.vertices) > 1 else path
                assert not inside.intersects_bbox(extent, filled=False), (kind, word.get_text())


# --- Colours: apart under the dichromacies of Machado, Oliveira & Fernandes 2009, table 1, severity 1 ---

DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip  # noqa: E501
WHITE = TO_XYZ.sum(axis=1)  # D65
TOLD_APART = 15.0  # CIE 1976 difference; 2.3 is just noticeable side by side


def seen(colour: object, deficiency: str) -> np.ndarray:
    """CIELAB of a colour as it is seen."""
    rgb = np.array(mpl.colors.to_rgb(colour))  # type: ignore[arg-type]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    ratio = TO_XYZ @ np.clip(DEFICIENCIES[deficiency] @ linear, 0, 1) / WHITE
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_everybody_tells_the_colours_apart(deficiency: str):
    colours = [INK, *(look.colour for look in LOOKS)]
    for first, second in itertools.combinations(colours, 2):
        assert np.linalg.norm(seen(first, deficiency) - seen(second, deficiency)) > TOLD_APART, (first, second)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_gain_and_loss_of_a_map_are_told_apart(deficiency: str):
    for strength in (0.25, 0.5, 1.0):
        better, worse = (mpl.colormaps["PuOr_r"](0.5 - 0.42 * sign * strength) for sign in (1, -1))
        assert np.linalg.norm(seen(better, deficiency) - seen(worse, deficiency)) > TOLD_APART


def test_the_simulation_finds_what_it_should():
    red, green = "#c00000", "#5a6a00"
    assert np.linalg.norm(seen(red, "none") - seen(green, "none")) > 80
    assert np.linalg.norm(seen(red, "deuteranopia") - seen(green, "deuteranopia")) < 20
    assert seen("white", "tritanopia") == pytest.approx([100, 0, 0], abs=0.1)


# --- Files ---


def objects(pdf: bytes) -> str:
    """Everything that a PDF says, its compressed streams unpacked."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    unpacked: list[bytes] = []
    for stream in streams:
        try:
            unpacked.append(zlib.decompress(stream))
        except zlib.error:
            continue
    return (pdf + b"".join(unpacked)).decode("latin-1")


def test_a_pdf_is_of_vectors_and_brings_its_fonts(results: Results, tmp_path: Path):
    picture, table = paper_figures.write(results, "map", tmp_path / "fig.pdf")
    said = objects(picture.read_bytes())
    assert "/FontFile2" in said  # TrueType, embedded
    assert "/Type3" not in said.replace(" ", "")
    assert "/Subtype/Image" not in said.replace(" ", "")
    assert table.read_text().startswith(r"\begin{tabular}")
    assert table.read_text().rstrip().endswith(r"\end{tabular}")


def test_an_svg_needs_no_font(results: Results, tmp_path: Path):
    picture, _ = paper_figures.write(results, "profile", tmp_path / "fig.svg")
    text = picture.read_text()
    assert "<text" not in text
    assert "<image" not in text
    again, _ = paper_figures.write(results, "profile", tmp_path / "again.svg")
    assert again.read_text() == text  # the same runs, the same bytes


def test_a_table_has_the_numbers_of_its_picture(results: Results, tmp_path: Path):
    table = paper_figures.write(results, "map", tmp_path / "fig.png")[1].read_text()
    body = [line.split(" & ") for line in table.splitlines() if line.endswith(r"\\")]
    assert [line[0] for line in body[1:]] == list(results.envs)
    rows = {(row.env, row.method): row.area_gain.value for row in results.measures() if row.area_gain.n}
    for line in body[1:]:
        for method, cell in zip(body[0][1:], line[1:], strict=True):
            said = float(cell.split(" [")[0].replace("$-$", "-"))
            assert said == pytest.approx(rows[line[0], method.removesuffix(r" \\")], abs=0.006)


@pytest.mark.parametrize(
    ("kind", "name", "env", "width", "said"),
    [
        ("curve", "fig.pdf", None, 5.5, "did you mean 'curves'"),
        ("forest", "fig.gif", None, 5.5, "a figure ends in .eps, .pdf, .svg, .png"),
        ("curves", "fig.pdf", None, 5.5, "which of half-cheetah.gravity-0.5"),
        ("curves", "fig.pdf", "half-cheetah.gravity-1.6", 5.5, "did you mean 'half-cheetah.gravity-1.5'"),
        ("forest", "fig.pdf", None, 0.0, "3 to 20 expected"),
        ("forest", "fig.pdf", None, float("nan"), "3 to 20 expected"),
    ],
)
def test_bad_input_is_named(results: Results, tmp_path: Path, kind: str, name: str, env: str, width: float, said: str):
    with pytest.raises(InputError, match=re.escape(said)):
        paper_figures.write(results, kind, tmp_path / name, env, width)
    assert not list(tmp_path.iterdir())


def test_one_target_has_no_map(build):
    with pytest.raises(InputError, match="no picture 'map'"):
        plots.plot(load(build(seeds=3).root), "map")


def test_the_verb_writes_both(build, tmp_path: Path, capsys):
    root = build(seeds=3).root
    with pytest.raises(SystemExit) as left:
        main(["figure", str(root), "-o", str(tmp_path / "paper" / "fig.pdf")])
    assert left.value.code == 0
    assert "fig.tex" in capsys.readouterr().out
    assert ENV in (tmp_path / "paper" / "fig.tex").read_text()


def test_the_style_is_a_users_too():
    with mpl.style.context("trl_suite.paper"):
        assert mpl.rcParams["pdf.fonttype"] == 42
        assert [line["color"] for line in mpl.rcParams["axes.prop_cycle"]] == [look.colour for look in LOOKS]
    assert STYLE_FILE.is_file()
