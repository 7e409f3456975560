"""Every verb takes `--json`: its standard output is one JSON document then, and nothing else."""

import json
from pathlib import Path

import pytest

from tests.experiment.conftest import TINY
from trl_suite.cli.arguments import Arguments
from trl_suite.cli.main import main
from trl_suite.errors import NotInstalledError
from trl_suite.training.acting import filming
from trl_suite.worlds.variant_picture import picture

pytestmark = pytest.mark.xdist_group("graphics")
ENV, VARIANT = "inverted-pendulum", "gravity-1.5"
TUNE = (
    "[tune]\ntrials = 2\nseeds = [900]\nat_once = 2\n\n[tune.ranges]\nn_epochs = { low = 1, high = 2 }\n\n[evaluation]"
)
MODEL = (
    '<mujoco><worldbody><body><joint name="j" type="slide" axis="1 0 0"/><geom size=".1"/></body></worldbody>'
    '<actuator><motor joint="j" ctrlrange="-1 1"/></actuator></mujoco>'
)

# words of each verb, and whether it takes more than a moment; {runs}, {policy}, {run}: see the fixture
VERBS: dict[str, tuple[str, bool]] = {
    "envs": (f"envs {ENV}", False),
    "verify": (f"verify {ENV} {VARIANT} --dry", False),
    "show": (f"show {ENV} {VARIANT} -o picture.png", True),
    "policies": ("policies", False),
    "inspect": ("inspect {policy}", False),
    "match": (f"match {{policy}} {ENV}.{VARIANT}", False),
    "probe": (f"probe {{policy}} {ENV} {VARIANT} --episodes 1", True),
    "import": (f"import exported.zip --env {ENV} --out policies/imported", False),
    "export": ("export {policy} out.zip", False),
    "push": ("push {policy} user/name --dry card", False),
    "train": (f"train {ENV} --steps 2048", True),
    "experiments": ("experiments", False),
    "run": ("run experiments/tiny --on here --seeds 0", True),
    "run --plan": ("run experiments/tiny --plan", False),
    "reference": ("reference {runs}", False),
    "tune": ("tune experiments/tuned --on here --runs tuned", True),
    "status": ("status {runs}", False),
    "rerun": ("rerun {run} --out again", True),
    "check": ("check {runs} --runs 1 --out checked", True),
    "report": ("report {runs}", False),
    "browse": ("browse {runs}", False),
    "figure": ("figure {runs} --kind curves -o fig.pdf", False),
    "submit": ("submit {runs} --author name --experiment experiments/tiny", False),
    "results": ("results fetch", False),
    "film": ("film {runs} --seconds 0.2", True),
    "watch": (f"watch {{policy}} --env {ENV} --seconds 0.2", True),
    "new": ("new mine --from robot.xml", False),
    "new STUDY": ("new study", False),
    "schema": ("schema experiment", False),
    "identify": ("identify log.csv hopper --fit damping", False),
    "warm": ("warm --arch 90", False),
    "doctor": ("doctor", True),
}
DRAWING = {"show", "film", "watch"}
# a refusal is no JSON, and stdout is empty: the tiny experiment is no reference, there is no log, and no robot is named
REFUSED = {"reference", "identify", "warm"}


@pytest.fixture
def place(tiny: Path, copied: Path, tmp_path: Path, monkeypatch) -> dict[str, str]:
    """A workspace with an experiment, its finished runs, an exported policy and a model."""
    monkeypatch.chdir(tmp_path)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    (tiny.parent / "tuned").mkdir()
    (tiny.parent / "tuned/experiment.toml").write_text(TINY.replace("[evaluation]", TUNE))
    (tmp_path / "robot.xml").write_text(MODEL)
    run = next(iter(sorted(copied.glob("**/source/seed-0*/policy")))).parent
    return {"runs": str(copied), "policy": str(run / "policy"), "run": str(run)}


def called(words: str, capsys) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([*words.split(), "--json"])
    printed = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, printed.out, printed.err


def test_no_verb_is_left_out():
    assert {kind.__metadata__[0].name for kind in Arguments.__args__} == {name.split()[0] for name in VERBS}


@pytest.mark.parametrize(
    "verb", [pytest.param(name, marks=[pytest.mark.slow] if slow else []) for name, (_, slow) in VERBS.items()]
)
def test_standard_output_is_one_json_document(verb: str, place: dict[str, str], capsys, monkeypatch):
    if verb in DRAWING:
        try:
            picture(ENV, 32, 32)
        except NotInstalledError as error:
            pytest.skip(str(error))
        monkeypatch.setattr(filming, "FRAME_PIXELS", (64, 48))
    if verb == "import":
        assert called(f"export {place['policy']} exported.zip", capsys)[0] == 0
    code, out, err = called(VERBS[verb][0].format(**place), capsys)
    if verb in REFUSED:
        assert (code, out) == (2, "")
        assert err.startswith("trl-suite: ")
        return
    assert code == 0, err
    assert json.loads(out) is not None
