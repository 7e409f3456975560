"""The site is made without a warning and without network, and none of its links is broken."""

import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from trl_suite.algorithms.registry import DESCRIPTORS

pytest.importorskip("sphinx", reason="make site installs it")
pytest.importorskip("furo", reason="make site installs it")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
OFFLINE = """
import socket, sys, pathlib
def refuse(*_): raise OSError("no network in this test")
socket.socket.connect = refuse
from tools.site import build
sys.exit(build.main(pathlib.Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-c", OFFLINE, folder], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "html"


def test_no_link_is_broken(html):
    for page in html.rglob("*.html"):
        text = page.read_text()
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            place, _, anchor = unquote(unescape(link)).partition("#")
            if re.match(r"[a-z]+:", place):
                continue
            target = (page.parent / place.partition("?")[0]) if place else page
            assert target.exists(), f"{page.relative_to(html)}: {link}"
            if anchor and target.suffix == ".html":
                assert f'id="{anchor}"' in target.read_text(), f"{page.relative_to(html)}: {link}"


def test_nothing_is_loaded_from_elsewhere(html):
    for page in html.rglob("*.html"):
        assert not re.findall(r'(?:src|<link[^>]*href)="https?://[^"]*"', page.read_text()), page


def test_every_env_method_experiment_and_verb_has_its_page(html):
    for kind in ("envs", "experiments"):
        for page in (ROOT / kind).glob("*/README.md"):
            assert (html / page.relative_to(ROOT).with_suffix(".html")).is_file()
    assert (html / "methods/partial-freeze-K.html").is_file()
    assert "Where it helped" in (html / "methods/finetune.html").read_text()
    assert all((html / f"algorithms/{name}.html").is_file() for name in DESCRIPTORS)
    assert "None yet" in (html / "experiments/others.html").read_text()
    assert 'id="run"' in (html / "reference/commands.html").read_text()
    assert "Howard &amp; Ruder 2018" in (html / "methods/gradual-unfreeze.html").read_text()
    assert "Kirkpatrick et al. 2017" in (html / "reference/papers.html").read_text()
    assert 'id="gravity-1.5"' in (html / "envs/hopper/certificates.html").read_text()
    assert "trl_suite.training" in (html / "reference/python.html").read_text()
    assert (html / "searchindex.js").is_file()


def test_every_report_is_rendered_from_its_archive(html):
    for results in (ROOT / "experiments").glob("*/results"):
        report = html / "experiments" / results.parent.name / "report.html"
        assert "<h1>" in report.read_text()
        assert 'href="report.html"' in report.with_name("README.html").read_text()
    assert (html / "experiments/browse.html").is_file()


def test_machines_read_it_too(html):
    listed = re.findall(r"\]\(([^)]+)\)", (html / "llms.txt").read_text())
    assert "docs/methods.md" in listed
    assert all((html / page).is_file() for page in listed)
