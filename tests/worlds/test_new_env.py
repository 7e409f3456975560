"""A robot of the user's own: a first table is written from its model, certifies, and follows what is edited."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

import trl_suite
from trl_suite import content
from trl_suite.cli.main import main
from trl_suite.errors import InputError
from trl_suite.worlds import registration
from trl_suite.worlds.certificate import certify
from trl_suite.worlds.env_schema import SCHEMA_FILE, env_schema
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.model import mjcf
from trl_suite.worlds.new_env import new_env
from trl_suite.worlds.stepping.env import RobotEnv

ZOO = Path(__file__).parent / "zoo"
ASSETS = Path(gymnasium.__file__).parent / "envs/mujoco/assets"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace; the models are ours, and no child looks at them first."""
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    monkeypatch.setattr(mjcf, "vet", lambda path: None)
    return tmp_path


def called(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_first_table_is_written_certifies_and_is_made(workspace: Path, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    shutil.copy(ASSETS / "hopper.xml", "mine.xml")
    assert called("new", "my-hopper", "--from", "mine.xml", "--json") == 0
    written = json.loads(capsys.readouterr().out)
    assert written["files"] == ["mine.xml"]
    assert {"gravity-1.5", "mass-1.5", "friction-0.5", "inverted-actions"} <= set(written["variants"])
    text = Path(written["table"]).read_text()
    assert text.startswith("#:schema ../env.schema.json\n")
    assert "thigh_joint.control: -1 to 1, gear 200" in text
    assert json.loads((workspace / "envs" / SCHEMA_FILE).read_text()) == json.loads(json.dumps(env_schema()))
    spec = load("my-hopper")
    assert [(term.term, term.of) for term in spec.reward] == [("forward", "rootx"), ("alive", ""), ("effort", "")]
    assert "rootx" not in spec.observation[0].of
    assert spec.camera.body == "torso"
    assert certify("my-hopper", "gravity-1.5").proved
    trl_suite.register()
    observation, _ = gymnasium.make("trl_suite/MyHopper-v0", variant="mass-1.5").reset(seed=0)
    assert observation.shape == (11,)


def test_words_for_a_reader_say_what_comes_next(workspace: Path, capsys):
    assert called("new", "arm", "--from", str(ZOO / "actuator_unlimited.xml")) == 0
    out = capsys.readouterr().out
    assert "no ctrlrange: m. Training refuses an action without limits" in out
    assert "trl-suite verify arm" in out


@pytest.mark.slow
def test_a_standing_robot_is_healthy_at_first_and_a_fixed_one_never_ends(workspace: Path):
    for name in ("ant", "humanoid"):
        new_env(f"my-{name}", ASSETS / f"{name}.xml")
        env = RobotEnv(f"my-{name}")
        env.reset(seed=0)
        still = env.action_space.sample() * 0
        assert not any(env.step(still)[2] for _ in range(10))
    new_env("my-reacher", ASSETS / "reacher.xml")
    assert load("my-reacher").healthy == ()


@pytest.mark.slow
def test_files_of_the_model_come_along(workspace: Path):
    for name in ("mesh_file", "include", "attach"):
        written = new_env(name.replace("_", "-"), ZOO / f"{name}.xml")
        assert len(written.files) > 1
        assert all((written.table.parent / place).is_file() for place in written.files)


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        ("My Robot", "plain.xml", "'My Robot' is no name for an env: small letters, digits and single hyphens alone"),
        ("../up", "plain.xml", "is no name for an env"),
        ("hopper", "plain.xml", "'hopper' is the name of a shipped env"),
        ("mine", "nowhere.xml", "no such file; --from names an MJCF file"),
        ("mine", ".", "no such file; --from names an MJCF file"),
        ("mine", "no_actuator.xml", "it has no actuator"),
        ("mine", "robot.urdf", "<robot> is no MJCF"),
        ("mine", "broken.xml", "not XML"),
        ("mine", "outside.xml", "leaves the model's folder"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_nothing_is(workspace: Path, capsys, name, model, message):
    models = workspace / "models"
    models.mkdir()
    for file in ("plain.xml", "no_actuator.xml"):
        shutil.copy(ZOO / file, models / file)
    (models / "robot.urdf").write_text('<robot name="x"/>')
    (models / "broken.xml").write_text("<mujoco><worldbody>")
    (models / "outside.xml").write_text('<mujoco><asset><mesh name="m" file="../m.obj"/></asset></mujoco>')
    assert called("new", name, "--from", str(models / model)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert [path.name for path in workspace.iterdir()] == ["models"]


def test_an_env_that_is_there_is_not_touched(workspace: Path, capsys):
    written = new_env("mine", ZOO / "plain.xml")
    written.table.write_text("mine")
    assert called("new", "mine", "--from", str(ZOO / "plain.xml")) == 2
    assert "exists already" in capsys.readouterr().err
    assert written.table.read_text() == "mine"


def test_an_empty_study_has_an_experiment_that_can_be_planned(workspace: Path, monkeypatch, capsys):
    assert called("new", "study") == 0
    monkeypatch.chdir(workspace / "study")
    monkeypatch.delenv(content.WORKSPACE)
    assert called("run", "experiments/first", "--plan") == 0
    assert "15 runs" in capsys.readouterr().out
    assert called("new", "..") == 2


@pytest.fixture
def registry() -> Iterator[None]:
    """Gymnasium's list of envs, as it was afterwards: a second version of an env makes it warn of the first."""
    before = dict(gymnasium.registry)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.mark.usefixtures("registry")
def test_a_table_that_changes_is_seen_where_it_was_registered_before(workspace: Path):
    written = new_env("mine", ZOO / "plain.xml")
    trl_suite.register()

    def edited(path: Path, old: str, new: str) -> None:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    def made() -> gymnasium.Env:
        return gymnasium.make("trl_suite/Mine-v0")

    before = made().unwrapped
    edited(written.table, "frame_skip    = ", "frame_skip    = 1")
    assert made().unwrapped.table.frame_skip > before.table.frame_skip
    edited(written.table.parent / "plain.xml", 'size=".05"', 'size=".06"')
    assert made().unwrapped.model.geom_size.tolist() != before.model.geom_size.tolist()

    edited(written.table, "episode_steps = 1000", "episode_steps = 300")
    with pytest.raises(
        InputError, match=r"env.toml: has changed .* trl_suite/Mine-v0 now, of 300 steps. Make it again"
    ):
        made()
    assert made().spec.max_episode_steps == 300

    edited(written.table, "version       = 0", "version       = 1")
    with pytest.raises(InputError, match=r"it is trl_suite/Mine-v1 now"):
        gymnasium.make_vec("trl_suite/Mine-v0", num_envs=2, vectorization_mode="vector_entry_point")
    assert "trl_suite/Mine-v0" not in gymnasium.registry
    assert gymnasium.make("trl_suite/Mine-v1").spec.max_episode_steps == 300

    edited(written.table, 'kind = "position"', 'kind = "positon"')
    with pytest.raises(InputError, match=r"unknown kind 'positon' \(did you mean 'position'\?\)"):
        gymnasium.make("trl_suite/Mine-v1")
    edited(written.table, 'kind = "positon"', 'kind = "position"')
    registration.register()
    assert gymnasium.make("trl_suite/Mine-v1").reset(seed=0)[0].shape == before.observation_space.shape


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(ZOO.glob("*.xml")), ids=lambda path: path.stem)
def test_a_first_table_of_an_awkward_model_certifies_or_is_refused(workspace: Path, path: Path):
    name = path.stem.replace("_", "-")
    try:
        written = new_env(name, path)
    except InputError:
        assert path.stem in {"actuator_two_controls", "flag_sleep", "no_actuator"}
        return
    problems = {variant: certify(name, variant).problems for variant in written.variants}
    assert not any(problems.values()), problems


@pytest.mark.slow
def test_a_first_table_can_be_trained_on(workspace: Path):
    new_env("mine", ZOO / "plain.xml")
    assert trl_suite.train("mine", steps=2_048).card.training.steps == 2_048
