import json
import math

import pytest

from trl_suite.errors import InputError
from trl_suite.evidence import prediction, report
from trl_suite.evidence.results import load

from .conftest import Grid


def test_every_probe_is_correlated_with_the_measured_speed_up(grid: Grid):
    probes = [{"env": env, "source": "", "probes": {"zero_shot": 0.1, "dynamics": float(i)}}
              for i, env in enumerate(Grid.TARGETS)]  # fmt: skip
    (grid.root / "probes.json").write_text(json.dumps(probes))
    results = load(grid.root)
    found = {(one.probe, one.method): one for one in prediction.predictions(results)}
    assert found["return at step 0", "finetune"].correlation.n == 8  # two sources, four targets
    assert found["dynamics", "partial-freeze-1"].correlation.n == 4
    assert math.isnan(found["zero_shot", "partial-freeze-1"].correlation.value)  # a constant predicts nothing
    assert ("critic", "finetune") not in found
    assert "How well probes predicted the speed-up" in report.render(results)


def test_probes_that_cannot_be_read_are_refused(grid: Grid):
    (grid.root / "probes.json").write_text('[{"env": 3}]')
    with pytest.raises(InputError, match=r"probes\.json"):
        prediction.predictions(load(grid.root))


def test_one_target_has_no_prediction(experiment):
    assert prediction.predictions(load(experiment.root)) == []
