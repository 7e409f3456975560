"""The matrix from each source to each target, of closed-form curves."""

import io
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trl_suite.evidence.figures import transfer_matrix
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import experiment_results, source_target_matrix
from trl_suite.evidence.results.headline import headline
from trl_suite.evidence.results.source_target_matrix import SourceTargetMatrix
from trl_suite.record import SOURCE_METHOD, Plan, PlannedRun, encode

from .conftest import STEPS, describe, write_run

RAMP = STEPS / 100.0  # scratch: 0 to 1000, area 500
# what a source gives at the start, (source, target): a helps b more than b helps a; c helps nobody
HEAD = {("a", "b"): 400.0, ("b", "a"): 100.0, ("c", "a"): -50.0, ("c", "b"): -50.0, ("a", "c"): 0.0, ("b", "c"): 20.0}
NAMES = ("a", "b", "c")


def make(root: Path, seeds: int = 8, names: tuple[str, ...] = NAMES, head: Any = None) -> Path:
    planned: list[tuple[PlannedRun, Any]] = []
    gain = head or HEAD
    for seed in range(seeds):
        noise = np.random.default_rng(seed).normal(0, 10, len(STEPS))
        for name in names:
            source = PlannedRun(folder=f"{name}/source/seed-{seed}", role="source", env=name, method=SOURCE_METHOD,
                                seed=seed)  # fmt: skip
            scratch = PlannedRun(folder=f"{name}/scratch/seed-{seed}", role="target", env=name, method="scratch",
                                 seed=seed)  # fmt: skip
            planned += [(source, RAMP), (scratch, RAMP + noise)]
            for home in names:
                if home != name:
                    run = PlannedRun(folder=f"{name}/finetune/{home}-seed-{seed}", role="target", env=name, seed=seed,
                                     method="finetune", source=f"{home}/source/seed-{seed}")  # fmt: skip
                    noisy = np.random.default_rng([seed, *map(ord, name + home)]).normal(0, 10)
                    planned.append((run, RAMP + noise + gain.get((home, name), 0.0) + noisy))
    root.mkdir()
    plan = Plan(name="matrix", command="x", runs=tuple(run for run, _ in planned), every=10_000, episodes=2,
                specification={}, question="What is each source worth on each target?")  # fmt: skip
    (root / "plan.json").write_bytes(encode(plan))
    for run, returns in planned:
        write_run(root / run.folder, describe(run), returns)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("m") / "matrix")


@pytest.fixture(scope="module")
def table(root: Path) -> SourceTargetMatrix:
    results = experiment_results.load(root)
    [only] = source_target_matrix.matrices(results, results.measures())
    return only


def test_a_cell_is_the_gain_of_its_source_on_its_target(table: SourceTargetMatrix):
    assert len(table.cells) == 6
    for (source, target), head in HEAD.items():
        cell = table.cell(source, target)
        assert cell is not None
        assert cell.area.value == pytest.approx(head / 950, abs=0.03)
        assert cell.zero_shot.value == pytest.approx(head, abs=25)
        assert cell.trained.value == pytest.approx(RAMP[-1] + head, abs=60)
        assert cell.zero_shot.low < cell.zero_shot.value < cell.zero_shot.high
    assert table.cell("a", "a") is None


def test_the_headline_counts_all_cells_of_the_matrix(root: Path, table: SourceTargetMatrix):
    results = experiment_results.load(root)
    said = headline(results, results.measures())
    assert said.sentence.startswith("Over 6 cells from 3 sources to 3 targets, finetune against scratch earns")
    claims = [cell.area_claim for cell in table.cells]
    assert said.kind == max(set(claims), key=claims.count)
    assert all(f"{claim} on {claims.count(claim)}" in said.sentence for claim in claims)


def test_p_is_adjusted_for_all_cells(table: SourceTargetMatrix):
    smallest = 2.0 ** (1 - 8)  # of the exact test of eight pairs
    cell = table.cell("a", "b")
    assert cell is not None
    assert cell.area.p == pytest.approx(smallest)
    assert cell.p_area == pytest.approx(6 * smallest)
    assert cell.area_claim == "better"
    null = table.cell("a", "c")
    assert null is not None
    assert null.area_claim == "not shown"


def test_the_best_source_and_the_gain_of_choosing_it(table: SourceTargetMatrix):
    assert table.best == {"a": "b", "b": "a", "c": "b"}
    assert table.reference_transfer.value == pytest.approx((400 + 100 + 20) / 3 / 950, abs=0.03)
    assert table.reference_transfer.n == 8


def test_asymmetry_is_paired_by_seed(table: SourceTargetMatrix):
    pair = next(pair for pair in table.asymmetries if {pair.first, pair.second} == {"a", "b"})
    assert abs(pair.difference.value) == pytest.approx(300 / 950, abs=0.03)
    assert pair.p < 0.05
    assert len(table.asymmetries) == 3


def test_choosing_among_sources_that_give_nothing_gains_nothing(tmp_path: Path):
    """The largest of several noisy means lies above 0; that of a source chosen on the other seeds does not."""
    root = make(tmp_path / "null", names=("a", "b", "c", "d", "e"), head={("x", "x"): 0.0})
    results = experiment_results.load(root)
    [table] = source_target_matrix.matrices(results, results.measures())
    largest = np.mean([max(c.area.value for c in table.cells if c.target == target) for target in table.targets])
    assert table.reference_transfer.value < largest
    assert table.reference_transfer.low < 0 < table.reference_transfer.high


def test_the_report_and_the_tables_have_the_matrix(root: Path, tmp_path: Path):
    results = experiment_results.load(root)
    folder = report_files.save(results, tmp_path / "report")
    assert "Reference transfer" in (folder / "report.md").read_text()
    page = (folder / "report.html").read_text()
    assert "From each source to each target: finetune" in page
    assert "return before any update" in page
    assert "return after training on the target" in page
    lines = (folder / "tables/matrix.csv").read_text().splitlines()
    assert lines[0].startswith("method,source,target,best,zero_shot")
    assert len(lines) == 7


def test_the_matrix_reaches_tensorboard_as_an_image(root: Path):
    events = EventAccumulator(str(experiment_results.load(root).tensorboard() / "experiment"))
    events.Reload()
    [event] = events.Images("figures/matrix-finetune")
    assert event.encoded_image_string.startswith(b"\x89PNG")
    pixels = matplotlib.image.imread(io.BytesIO(event.encoded_image_string))
    assert pixels.shape[:2] == (event.height, event.width)
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20, "something is drawn"


@pytest.mark.parametrize(("lines", "columns"), [(1, 1), (4, 12), (2, 8), (20, 20)])
@pytest.mark.parametrize("letters", [3, 36, 67])
def test_a_grid_has_room_for_its_names(lines: int, columns: int, letters: int):
    names = [f"{place:0{letters}d}" for place in range(20)]
    estimate = source_target_matrix.Estimate(value=0.5)
    cells = tuple(
        transfer_matrix.GainCell(line, column, estimate, True) for line in names[:lines] for column in names[:columns]
    )
    figure = transfer_matrix.gain_grid(transfer_matrix.GainGrid(tuple(names[:lines]), tuple(names[:columns]), cells))
    figure.draw_without_rendering()  # a layout that gives up warns, and a warning fails
    width, height = (figure.axes[0].get_position().size * figure.get_size_inches()).tolist()
    assert width > 0.4 * columns
    assert height > 0.18 * lines


@pytest.mark.parametrize("size", [3, 20])
def test_a_picture_of_twenty_by_twenty_is_drawn(size: int):
    cell = {"area": 0.5, "zero_shot": 0.5, "end": 0.5, "speed_up": 0.5}
    names = tuple(f"half-cheetah.gravity-{place}" for place in range(size))
    estimates = {name: source_target_matrix.Estimate(value=value) for name, value in cell.items()}
    cells = tuple(
        source_target_matrix.MatrixCell(source=source, target=target, **estimates)
        for source in names
        for target in names
    )
    table = SourceTargetMatrix(method="finetune", sources=names, targets=names, cells=cells, best={},
                               reference_transfer=source_target_matrix.Estimate())  # fmt: skip
    figure = transfer_matrix.gain_grid(transfer_matrix.by_source(table))
    assert len(figure.axes[0].patches) == size * size
