from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trl_suite.errors import InputError
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import film_cast
from trl_suite.evidence.results.experiment_results import load

from .conftest import ENV


def loop(path: Path, pictures: int = 3) -> None:
    images = [Image.fromarray(np.full((4, 4), 80 * i, np.uint8)) for i in range(pictures)]
    images[0].save(path, save_all=True, append_images=images[1:])


def test_the_best_methods_median_pair_is_shown(experiment):
    cast = film_cast.cast(load(experiment.root))
    assert (cast.env, cast.home, cast.method) == (ENV, "half-cheetah", "finetune")
    ends = [load(experiment.root).curves[ENV, "finetune"].returns[seed, -2:].mean() for seed in range(5)]
    assert cast.seed == int(np.argsort(ends)[2])
    assert (cast.best, cast.scratch) == (f"{ENV}/finetune/seed-{cast.seed}", f"{ENV}/scratch/seed-{cast.seed}")
    assert cast.source == f"half-cheetah/source/seed-{cast.seed}"


def test_a_run_without_its_scratch_run_is_not_shown(experiment):
    for seed in range(4):
        experiment.write(experiment.target("scratch", seed), np.arange(3.0), status="failed")
    assert film_cast.cast(load(experiment.root)).seed == 4
    experiment.write(experiment.target("scratch", 4), np.arange(3.0), status="failed")
    with pytest.raises(InputError, match="no run of finetune on .* has a scratch run of its seed"):
        film_cast.cast(load(experiment.root))


def test_what_cannot_be_cast_is_said(experiment, build):
    with pytest.raises(InputError, match=r"unknown target 'half-cheetah.gravity-1.6' \(did you mean"):
        film_cast.cast(load(experiment.root), "half-cheetah.gravity-1.6")
    alone = build(methods=["scratch"], seeds=3)
    with pytest.raises(InputError, match="no method with a source has finished"):
        film_cast.cast(load(alone.root))


@pytest.mark.usefixtures("unillustrated")
def test_a_page_takes_in_a_small_film_and_says_where_there_is_none(build, monkeypatch, tmp_path):
    experiment = build(methods=["scratch", "finetune"], seeds=3)
    assert "No film was made" in report_files.render(load(experiment.root))
    loop(experiment.root / film_cast.FILM_FILE)
    text = report_files.markdown(load(experiment.root), tmp_path / "figures")
    assert "](figures/film.gif)" in text
    assert (tmp_path / "figures" / "film.gif").is_file()
    page = report_files.render(load(experiment.root))
    assert '<img src="data:image/gif;base64,R0lGOD' in page
    assert "img-src data:" in page
    assert "No film" not in page
    monkeypatch.setattr(film_cast, "LARGEST", 10)
    page = report_files.render(load(experiment.root))
    assert "data:image" not in page
    assert "too large for this page" in page
