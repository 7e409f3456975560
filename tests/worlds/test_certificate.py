"""Every shipped variant is proved, and its certificate is of the world that ships."""

import msgspec
import numpy as np
import pytest

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds import certificate
from trl_suite.worlds.axes.variation import Variant
from trl_suite.worlds.env_spec import load

ALL = [(name, variant) for name in content.names("envs") for variant in load(name).variants]
FAST = {"gravity-1.5", "range-0.5", "carry-stuff", "hugefoot", "backwards", "inverted-actions"}
LONG = ("ant", "humanoid", "swimmer")  # a random policy runs for a thousand steps


@pytest.mark.parametrize("name", content.names("envs"))
def test_every_variant_has_a_certificate_of_what_ships(name: str):
    """If this fails: trl-suite verify --missing."""
    kept = certificate.stored(name)
    assert list(kept) == list(load(name).variants)
    for variant, one in kept.items():
        assert one.problems == (), variant
        assert one.digest == certificate.digest(name, variant), variant
    assert not certificate.outdated(name)


def same(name: str, variant: str) -> None:
    """What does not depend on the machine is equal; what chaos touches is of the same kind."""
    kept, now = certificate.stored(name)[variant], certificate.certify(name, variant)
    assert now.proved
    assert now.fields.keys() == kept.fields.keys()
    for field, difference in now.fields.items():
        assert difference.changed == kept.fields[field].changed
        assert difference.variant == pytest.approx(kept.fields[field].variant, rel=1e-6, abs=1e-9)
    assert now.acts_on == kept.acts_on
    first = min(now.parted)
    assert now.parted[first] == pytest.approx(kept.parted[first], rel=1e-3, abs=1e-9)
    wide = kept.random.high - kept.random.low + abs(kept.random.mean) * 0.05
    assert kept.random.low - wide <= now.random.mean <= kept.random.high + wide


@pytest.mark.parametrize(
    ("name", "variant"), [pair for pair in ALL if pair[1] in FAST and not any(name in pair[0] for name in LONG)]
)
def test_some_certificates_are_computed_anew(name: str, variant: str):
    same(name, variant)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), ALL)
def test_all_certificates_are_computed_anew(name: str, variant: str):
    same(name, variant)


@pytest.fixture
def shift(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """An env `mine` with one variant."""

    def make(toml: str) -> None:
        folder = tmp_path / "envs" / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        text = (content.shipped() / "envs/hopper/env.toml").read_text()
        (folder / "env.toml").write_text(text[: text.index("[variants]")] + "[variants]\n" + toml)
        monkeypatch.setenv(content.WORKSPACE, str(tmp_path))

    return make


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("same = { gravity = 1.0 }", "the compiled model is the base's"),
        ("same = { observation_mask = [] }", "its observation is the base's"),
        ("same = { terminates = true }", "its termination is the base's"),
        ("same = { gear = 1e6 }", "no world to learn in: MuJoCo calls "),
        ('"same" = { gear = 1.5 }\n"gear-1" = { gear = 1.5 }\n"gear-2" = { gear = 1.5 }', None),
    ],
)
def test_a_shift_that_does_not_happen_is_told(shift, toml: str, problem: str | None):
    shift(toml)
    found = certificate.certify("mine", "same")
    assert found.proved is (problem is None)
    if problem:
        assert problem in " ".join(found.problems)
    else:
        twin = certificate.certify("mine", "gear-1")
        assert "it cannot be told from its neighbour" in twin.problems


def test_neighbours_out_of_order_are_told(shift):
    shift('"gear-1" = { gear = 3.0 }\n"gear-2" = { gear = 1.5 }\n"gear-3" = { gear = 2.0 }')
    assert "gear-1, gear-2, gear-3 are not ordered" in certificate.certify("mine", "gear-1").problems


def test_a_certificate_is_stored_beside_the_table(shift):
    shift("strong = { gear = 1.5 }")
    one = certificate.certify("mine", "strong")
    path = certificate.write("mine", [one])
    assert path == content.find("envs", "mine") / certificate.CERTIFICATES_FILE
    assert certificate.stored("mine") == {"strong": one}
    path.write_text("{")
    with pytest.raises(InputError, match=r"certificates.json"):
        certificate.stored("mine")
    with pytest.raises(InputError, match="unknown variant 'weak'"):
        certificate.certify("mine", "weak")


def test_what_a_variant_acts_on():
    spec = load("half-cheetah")

    def acts(**axes) -> str:
        return certificate.acting(msgspec.structs.replace(spec, variants={"one": Variant(**axes)}), "one")

    assert acts(gravity=2.0, direction=-1) == "motion"
    assert acts(direction=-1) == "reward"
    assert acts(observation_noise=0.1, reward={"effort": 2.0}) == "observation"
    assert acts(observe={"place": True}) == "slots"


def test_a_random_return_has_an_interval_around_its_mean():
    found = certificate.random_return("inverted-pendulum", "", episodes=20)
    assert found.low < found.mean < found.high
    assert found == certificate.random_return("inverted-pendulum", "", episodes=20)
    assert np.isfinite([found.low, found.high]).all()
