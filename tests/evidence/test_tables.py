import csv
import importlib.util
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trl_suite.errors import InputError, NotInstalledError, StorageError
from trl_suite.evidence.report import contents, report_files, table_files
from trl_suite.evidence.results.experiment_results import load

from .conftest import ENV, STEPS, Grid

pytestmark = pytest.mark.xdist_group("reported")  # one worker writes the report that they read


def test_the_frame_has_one_row_per_run_and_evaluation(experiment):
    frame = load(experiment.root).frame()
    assert len(frame) == 4 * 5 * len(STEPS)
    assert list(frame.columns) == [
        "env", "method", "source", "seed", "run", "complete", "mode", "step", "return", "score",
    ]  # fmt: skip
    one = frame[(frame["method"] == "finetune") & (frame["seed"] == 2)]
    assert one["step"].tolist() == STEPS.tolist()
    np.testing.assert_array_equal(one["return"], load(experiment.root).curves[ENV, "finetune"].returns[2])
    assert set(one["source"]) == {"half-cheetah"}
    reference = load(experiment.root).scales[ENV]
    expected = (one["return"] - reference.random) / (reference.reference - reference.random)
    np.testing.assert_allclose(one["score"], expected)


def test_a_run_that_stopped_has_the_rows_that_it_lived_to_see(experiment):
    experiment.write(experiment.target("finetune", 0), np.arange(4.0), status="failed")
    spoilt = np.where(STEPS >= 50_000, np.nan, 1.0)
    experiment.write(experiment.target("finetune", 1), spoilt)
    frame = load(experiment.root).frame()
    assert (frame["seed"].eq(0) & frame["method"].eq("finetune")).sum() == 4
    mine = frame[frame["seed"].eq(1) & frame["method"].eq("finetune")]
    assert (len(mine), int(mine["return"].isna().sum())) == (len(STEPS), 6)


def test_both_ways_of_evaluating_are_in_the_frame(standing: Grid):
    frame = load(standing.root).frame()
    assert frame["mode"].value_counts().to_dict() == {"deterministic": len(frame) // 2, "stochastic": len(frame) // 2}


def test_runs_and_summary(experiment):
    results = load(experiment.root)
    runs = results.runs().set_index("run")
    assert len(runs) == len(experiment.planned)
    assert runs.loc["half-cheetah/source/seed-0", "steps"] == 400_000
    row = next(row for row in results.measures() if row.method == "finetune")
    mine = runs[runs["method"] == "finetune"]
    assert mine["area"].mean() == pytest.approx(row.area.value)
    assert mine["time_to_threshold"].mean() == pytest.approx(row.time.value)
    summary = results.summary().set_index("method")
    assert summary.loc["finetune", "speed_up_low"] == row.speed_up.low
    assert summary.loc["scratch", "speed_up_n"] == 0


def test_an_experiment_without_a_curve_has_empty_frames(experiment):
    for planned in experiment.planned:
        (experiment.root / planned.folder / "run.json").unlink()
    results = load(experiment.root)
    assert len(results.frame()) == 0
    assert set(results.runs()["status"]) == {"missing"}


def test_csv_says_what_the_measures_say(experiment, tmp_path):
    path = load(experiment.root).report(tmp_path / "new" / "t.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["method"] for row in rows] == ["scratch", "finetune", "feature-extraction", "random-frozen"]
    assert float(rows[1]["speed_up"]) == pytest.approx(load(experiment.root).measures()[1].speed_up.value)


def test_latex_escapes_names(experiment, tmp_path):
    text = load(experiment.root).report(tmp_path / "t.tex").read_text()
    assert text.startswith(r"\begin{tabular}{llrrrrr}")
    assert r"$\times$" in text
    assert "\u2212" not in text
    assert table_files._escape(r"a_b & 50 % \ ~") == r"a\_b \& 50 \% \textbackslash{} \textasciitilde{}"


def test_parquet_is_an_extra(experiment, tmp_path, monkeypatch):
    path = load(experiment.root).report(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), load(experiment.root).summary())
    monkeypatch.setattr(table_files, "find_spec", lambda name: None)
    with pytest.raises(NotInstalledError, match=r"trl-suite\[parquet\]"):
        load(experiment.root).report(tmp_path / "t.parquet")
    table_files.write_all(load(experiment.root), tmp_path / "all")
    assert (tmp_path / "all" / "summary.csv").is_file()
    assert not list((tmp_path / "all").rglob("*.parquet"))
    assert importlib.util.find_spec("pyarrow")


def test_a_folder_holds_everything(standing: Grid, reported: Path):
    assert {path.name for path in reported.iterdir()} == {"report.html", "report.md", "figures", "tables"}
    names = ("summary", "runs", "evaluations", "irregularities")
    expected = {f"{name}.{ending}" for name in names for ending in ("csv", "parquet")} | {"summary.tex", "matrix.csv"}
    assert {path.name for path in (reported / "tables").iterdir()} == expected
    frame = pd.read_parquet(reported / "tables" / "evaluations.parquet")
    assert len(frame) == len(load(standing.root).frame())


def test_markdown_shows_its_pictures(reported: Path):
    text = (reported / "report.md").read_text()
    shown = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(shown) == 7 + 4 * len(Grid.TARGETS)
    for name in shown:
        assert ElementTree.parse(reported / name).getroot().tag.endswith("svg")
    assert "| partial-freeze-1 | 6 of 6 |" in text
    assert "## What failed, is missing or odd" in text
    widths = {line.count("|") for line in text.split("## Over all")[1].split("\n\n")[1].splitlines()}
    assert len(widths) == 1  # every row of a table has as many cells as its head


def test_names_are_no_markup_in_markdown(build, tmp_path):
    experiment = build(methods=["scratch", "finetune"], seeds=3)
    experiment.write_plan(name="a|b <i>*x*</i>", question="[q](http://x)")
    text = load(experiment.root).report(tmp_path / "r.md").read_text()
    assert r"a\|b \<i\>\*x\*\</i\>" in text
    assert r"\[q\](http://x)" in text


def test_the_page_holds_all_that_a_grid_has(reported: Path):
    contents = (reported / "report.html").read_text()
    assert contents.count("<svg ") == 7 + 4 * len(Grid.TARGETS)
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!#|data:)[^"'>\s]*//""", contents), "it opens offline"
    for text in ("Over all 4 targets", "From each source to each target", "Both ways of evaluating", "frozen layers",
                 "Benefit against the shift in gravity", "What each component adds", "Scores of all runs"):  # fmt: skip
        assert text in contents, text


def test_another_ending_is_refused(experiment, tmp_path):
    with pytest.raises(InputError, match=r"a report ends in \.csv, \.html"):
        load(experiment.root).report(tmp_path / "report.docx")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file.*(Not a directory|File exists)"):
        load(experiment.root).report(tmp_path / "file" / "report.html")


@pytest.mark.usefixtures("unillustrated")
def test_a_page_of_many_runs_holds_no_single_ones(experiment, monkeypatch):
    experiment.write(experiment.target("finetune", 0), np.arange(3.0), status="interrupted")
    experiment.write(experiment.target("finetune", 1), np.arange(3.0), status="interrupted")
    monkeypatch.setattr(contents, "MOST_LISTED_RUNS", 1)
    monkeypatch.setattr(contents, "EXAMPLES", 1)
    monkeypatch.setattr(contents, "LARGE", 1)
    text = report_files.render(load(experiment.root))
    assert "Every run" not in text
    assert "sha256 of every frozen component" not in text
    assert "and 1 more of 2" in text  # two unfinished runs


@pytest.mark.slow
def test_a_page_of_a_thousand_runs_is_small(tmp_path):
    grid = Grid(tmp_path, seeds=24)  # 912 runs
    path = load(grid.root).report(tmp_path / "report.html")
    assert len(grid.planned) > 900
    assert path.stat().st_size < 5_000_000
