import json
import math

import pytest

from trl_suite.errors import InputError
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import probe_prediction
from trl_suite.evidence.results.experiment_results import load
from trl_suite.evidence.statistics.similarity import Pair

from .conftest import Grid


def test_every_probe_is_correlated_with_the_measured_speed_up(grid: Grid):
    probes = [{"env": env, "source": "", "probes": {"zero_shot": 0.1, "dynamics": float(i)}}
              for i, env in enumerate(Grid.TARGETS)]  # fmt: skip
    (grid.root / "probes.json").write_text(json.dumps(probes))
    results = load(grid.root)
    found = {(one.probe, one.method): one for one in probe_prediction.predictions(results)}
    assert found["return at step 0", "finetune"].correlation.n == 8  # two sources, four targets
    assert found["dynamics", "partial-freeze-1"].correlation.n == 4
    assert math.isnan(found["zero_shot", "partial-freeze-1"].correlation.value)  # a constant predicts nothing
    assert ("critic", "finetune") not in found


def test_a_score_does_not_depend_on_what_else_is_scored():
    pairs = [Pair(float(i), float(i % 5)) for i in range(12)]
    first = probe_prediction.prediction("zero-shot", "finetune", pairs)
    probe_prediction.prediction("critic", "finetune", pairs[:9])
    assert probe_prediction.prediction("zero-shot", "finetune", pairs) == first
    assert first.correlation.has_interval


@pytest.mark.usefixtures("unillustrated")
def test_the_page_says_what_was_known_before_and_how_well_it_predicted(tmp_path):
    grid = Grid(tmp_path, seeds=3, methods=["scratch", "finetune"])
    probes = [{"env": env, "source": "half-cheetah", "probes": {"zero_shot": 0.3, "layers": [0.5, 0.6]}}
              for env in Grid.TARGETS[:3]]  # fmt: skip
    (grid.root / "probes.json").write_text(json.dumps(probes))
    page = report_files.render(load(grid.root))
    for text in ("What was known before training", "critic-warmup, the first 1 layer may be held",
                 "How well probes predicted the speed-up"):  # fmt: skip
        assert text in page, text


def test_probes_that_cannot_be_read_are_refused(grid: Grid):
    (grid.root / "probes.json").write_text('[{"env": 3}]')
    with pytest.raises(InputError, match=r"probes\.json"):
        probe_prediction.predictions(load(grid.root))


def test_one_target_has_no_prediction(experiment):
    assert probe_prediction.predictions(load(experiment.root)) == []
