import msgspec
import pytest

from tools.site import env_pages, env_table_page
from trl_suite import content, tables
from trl_suite.errors import InputError
from trl_suite.table_schema import sentences, structs_of
from trl_suite.worlds import catalogue
from trl_suite.worlds.axes.variation import Fluid, Gear, Gravity, Mass, Noise, Size, Timestep, Variation
from trl_suite.worlds.env_spec import EnvSpec, load
from trl_suite.worlds.terms.rewards import REWARD_TERMS
from trl_suite.worlds.terms.sensors import QUANTITIES


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return env_pages.pages()


def test_the_pages_are_what_the_tables_say(pages):
    """If this fails: python -m tools.site.env_pages."""
    for place, text in pages.items():
        assert (content.shipped() / "envs" / place).read_text(encoding="utf-8") == text, place


def test_rows_name_every_env_and_variant():
    found = catalogue.rows()
    assert [row.address for row in found if not row.variant] == content.names("envs")
    row = next(row for row in found if row.address == "half-cheetah.gravity-1.5")
    assert row.id == "trl_suite/HalfCheetah-v0"
    assert row.change == "gravity x 1.5"
    assert len(catalogue.rows("hopper")) == 1 + len(load("hopper").variants)
    with pytest.raises(InputError, match="unknown env 'hoper'"):
        catalogue.rows("hoper")


@pytest.mark.parametrize(
    ("variation", "words"),
    [
        (Variation(gravity=0.5, friction=2.0), "gravity x 0.5, friction x 2"),
        (Variation(mass=Mass(body="torso", scale=2.0)), "mass of torso x 2"),
        (Variation(mass=(Mass(body="torso", scale=2.0), Mass(scale=0.5))), "mass of torso x 2, mass x 0.5"),
        (Variation(gear=Gear(actuator="thigh", value=3.0)), "gear of thigh = 3.0"),
        (Variation(gravity=Gravity(value=(0.0, 0.0, -1.6))), "gravity = (0.0, 0.0, -1.6)"),
        (Variation(reward={"effort": 2.0}, terminates=False), "reward of effort x 2, goes on when unhealthy"),
        (Variation(size=Size(body="foot", scale=0.5, only="radius")), "radius of foot x 0.5"),
        (
            Variation(observation_noise=Noise(std=0.1, slots=("a", "b"))),
            "observation noise of standard deviation 0.1 on a, b",
        ),
        (Variation(timestep=Timestep(scale=0.5, frame_skip=3)), "timestep x 0.5, 3 of them a control step"),
        (Variation(fluid=Fluid(density=1.2, wind=(1.0, 0.0, 0.0))), "density = 1.2, wind = (1, 0, 0)"),
        (Variation(shape={"legs": 5}, cripple=("hip_1",)), "legs = 5, no force from hip_1"),
        (Variation(gravity=Gravity(tilt=10.0)), "gravity tilted by 10°"),
        (Variation(action_inversion=True, action_delay=2), "acts 2 steps late, every action inverted"),
        (Variation(direction=-1), "paid for running backwards"),
    ],
)
def test_a_variation_in_words(variation: Variation, words: str):
    assert catalogue.described(variation) == words


def test_an_axis_that_does_not_apply_is_listed_with_its_reason():
    found = env_pages.refusals(load("inverted-pendulum"))
    assert {"friction", "direction", "target_speed", "goal", "stiffness"} <= set(found)
    assert found["friction"] == "no two of its geoms can touch with friction"
    assert set(env_pages.refusals(load("hopper"))) == {"stiffness", "goal"}


def test_pages_are_written_where_they_are_asked_for(tmp_path, pages, monkeypatch):
    monkeypatch.setattr(env_pages, "pages", lambda: pages)
    for name in content.names("envs"):
        (tmp_path / name).mkdir()
    written = env_pages.write(tmp_path)
    assert (tmp_path / "README.md") in written
    assert (tmp_path / "hopper" / "README.md").read_text() == env_pages.readme("hopper")


def test_the_reference_of_tables_and_the_schema_are_current():
    remedy = "run python -m tools.site.env_table_page"
    assert env_table_page.PAGE.read_text() == env_table_page.page(), remedy
    assert env_table_page.SCHEMA.read_text() == env_table_page.schema(), remedy


def test_every_key_of_a_table_has_a_sentence_and_a_type():
    page = env_table_page.page()
    for struct in structs_of(EnvSpec):
        documented = sentences(struct)
        for field in msgspec.structs.fields(struct):
            assert documented.get(field.encode_name), f"{struct.__name__}.{field.name}"
            assert f"| `{field.encode_name}` |" in page
    for name in (*QUANTITIES, *REWARD_TERMS):
        assert f"| `{name}` |" in page


def test_the_schema_takes_what_the_shipped_tables_say():
    """Every key of every table is one of the schema's; that of JSON Schema itself is no dependency of ours."""
    schema = env_table_page.env_schema()

    def follow(node, value, place):
        if node is True:  # JSON Schema's word for whatever there is
            return
        node = node["anyOf"][0] if "anyOf" in node else node  # the other is null: not given
        node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if isinstance(value, list):
            for index, element in enumerate(value):
                follow(node["items"] if isinstance(node.get("items"), dict) else {}, element, f"{place}[{index}]")
        elif isinstance(value, dict):
            for key, inner in value.items():
                options = node.get("properties", {})
                assert key in options or "additionalProperties" in node, f"{place}.{key}"
                if key in options or node["additionalProperties"]:
                    follow(options.get(key) or node["additionalProperties"], inner, f"{place}.{key}")
        elif "enum" in node:
            assert value in node["enum"], f"{place}: {value}"

    for name in content.names("envs"):
        table = tables.load(content.find("envs", name) / "env.toml")
        table.pop("variants", None)  # unions: a bare number or a table
        follow(schema, table, name)
