"""The page that browses runs: its data, and, where a Chromium is installed, what it shows."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.evidence.report import browse_page
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.statistics import claim, estimates, measures

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
ENV = "half-cheetah.gravity-1.5"
TRIES = 3  # of a measurement that other work of the machine can only lengthen


def page_of(folder: Path, *experiments: Path) -> Path:
    return browse_page.write([experiment_results.load(path) for path in experiments], folder / "browse.html")


def embedded(page: Path) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def shown(page: Path, state: Mapping[str, Any], wait_ms: int = 10_000) -> str:
    """The page's elements after its script has run, for a state in its address.

    With a wait the browser's clock stands still while a script runs; without, it is real and the page just loaded.
    """
    wait = (f"--virtual-time-budget={wait_ms}",) if wait_ms else ()
    address = f"file://{page}#{quote(json.dumps(state))}"
    words = (str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", *wait, "--dump-dom")
    return subprocess.run([*words, address], capture_output=True, text=True, timeout=120, check=True).stdout


def test_every_planned_run_stands_on_the_page(experiment: Any, tmp_path: Path):
    data = embedded(page_of(tmp_path, experiment.root))
    assert len(data["runs"]) == len(experiment.planned)
    folders = {data["texts"][row[11]] for row in data["runs"]}
    assert folders == {planned.folder for planned in experiment.planned}


def test_names_cannot_end_the_script(experiment: Any, tmp_path: Path):
    experiment.write_plan(question="</script><script>alert(1)</script>")
    page = page_of(tmp_path, experiment.root)
    assert page.read_text().count("</script>") == 2
    assert embedded(page)["experiments"][0]["question"] == "</script><script>alert(1)</script>"


def test_another_ending_is_refused(experiment: Any, tmp_path: Path):
    with pytest.raises(InputError, match=r"browse.pdf: .* ends in .html"):
        browse_page.write([experiment_results.load(experiment.root)], tmp_path / "browse.pdf")


@needs_chromium
@pytest.mark.parametrize("seeds", [5, 10])
def test_two_selections_are_compared_by_the_claim_rule(build: Callable[..., Any], tmp_path: Path, seeds: int):
    root = build(seeds=seeds).root
    sides = {side: {"method": [method]} for side, method in (("a", "random-frozen"), ("b", "scratch"))}
    dom = shown(page_of(tmp_path, root), sides)
    said = re.search(r'<b id="claim">A is ([a-z ]+): (\S+) \[(\S+), (\S+)\] .*p = (\S+)\)</b>', dom)
    assert said is not None
    curves = experiment_results.load(root).curves
    areas = [measures.area(c.steps, c.returns) for c in (curves[ENV, "random-frozen"], curves[ENV, "scratch"])]
    effect = estimates.effect(areas[0] - areas[1])
    assert said[1] == claim.claim(effect, effect.p)
    numbers = [float(said[place].replace(",", "").replace("+", "")) for place in range(2, 6)]
    np.testing.assert_allclose(numbers, [effect.value, effect.low, effect.high, effect.p], rtol=5e-3)


@needs_chromium
def test_a_filter_and_a_run_are_in_the_address(experiment: Any, tmp_path: Path):
    page = page_of(tmp_path, experiment.root)
    place = next(i for i, row in enumerate(embedded(page)["runs"]) if "feature" in embedded(page)["texts"][row[11]])
    dom = shown(page, {"filter": {"method": ["finetune"]}, "run": place})
    assert "Runs 1 to 5 of 5" in dom
    assert "feature-extraction, seed 0" in dom
    assert "Hashes of what was frozen" in dom


@pytest.fixture
def ten_thousand_runs(build: Callable[..., Any], tmp_path: Path) -> str:
    """A page of so many runs, as text."""
    page = page_of(tmp_path, build(seeds=100).root)
    data = embedded(page)
    data["runs"] = (data["runs"] * (10_000 // len(data["runs"]) + 1))[:10_000]
    return browse_page.TEMPLATE.read_text().replace(browse_page.DATA_MARK, json.dumps(data).replace("<", "\\u003c"))


@needs_chromium
@pytest.mark.slow
def test_ten_thousand_runs_are_shown_within_two_seconds(ten_thousand_runs: str, tmp_path: Path):
    (tmp_path / "page.html").write_text(ten_thousand_runs)
    tries = [shown(tmp_path / "page.html", {"filter": {}}, wait_ms=0) for _ in range(TRIES)]
    ready = [int(milliseconds) for dom in tries for milliseconds in re.findall(r'data-ready="(\d+)"', dom)]
    assert min(ready) < 2_000, ready  # from the page's start


# In one task, whose end is before the page counts as loaded: what an act blocks is its script, its drawing, its layout.
ACTS = """
<script>
{
const blocked = {};
const act = async (name, does) => {
  const begun = performance.now();
  does();
  await null;  // panels are drawn in microtasks that stand before this one
  document.body.getBoundingClientRect();
  blocked[name] = Math.round(performance.now() - begun);
};
const boxes = () => [...document.querySelectorAll("#facets input")];
const box = word => boxes().find(input => input.parentElement.textContent.startsWith(word));
const choose = (menu, value) => { menu.value = value; menu.dispatchEvent(new Event("change")); };
const output = Object.assign(document.createElement("output"), { id: "blocked" });
const tell = text => { output.textContent = text; document.body.append(output); };
(async () => {
  document.body.getBoundingClientRect();  // the first layout is the page's own
  await act("show all", () => document.getElementById("clear").click());
  await act("filter by a method", () => box("finetune").click());
  await act("filter by another method", () => box("feature-extraction").click());
  await act("take a filter back", () => box("feature-extraction").click());
  await act("keep as A", () => document.getElementById("setA").click());
  await act("no filter", () => document.getElementById("clear").click());
  await act("filter by scratch", () => box("scratch").click());
  await act("keep as B", () => document.getElementById("setB").click());
  await act("every run", () => choose(document.getElementById("draw"), "seeds"));
  await act("colour by method", () => choose(document.getElementById("colour"), "method"));
  await act("sort", () => document.querySelector("#head button").click());
  await act("next page", () => document.getElementById("later").click());
  await act("a run", () => document.querySelector("#rows tr").click());
  tell(JSON.stringify(blocked));
})().catch(error => tell(String(error)));
}
</script>
</body>"""


@needs_chromium
@pytest.mark.slow
def test_ten_thousand_runs_can_be_used(ten_thousand_runs: str, tmp_path: Path):
    (tmp_path / "page.html").write_text(ten_thousand_runs.replace("</body>", ACTS))
    tries = [shown(tmp_path / "page.html", {}, wait_ms=0) for _ in range(TRIES)]
    told = [json.loads(text) for dom in tries for text in re.findall(r'<output id="blocked">(.*?)</output>', dom)]
    blocked = {act: min(times[act] for times in told) for act in told[0]}
    assert len(blocked) == 13
    assert max(blocked.values()) < 300, blocked  # milliseconds in which the page answers nobody
    dom = tries[0]
    assert 'id="claim">A is ' in dom
    assert re.search(r"<h2>[^<]*, scratch, seed \d+</h2>", dom)
    assert "Runs 101 to" in dom
