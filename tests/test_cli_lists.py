"""Lists in terminals of any width, and help that names what it asks for."""

import json
import re

import pytest

from trl_suite import content
from trl_suite.cli.arguments import Arguments
from trl_suite.cli.main import main
from trl_suite.worlds.env_spec import load

WIDTHS = (60, 80, 120, 200)


def printed(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", WIDTHS)
def test_no_name_of_an_env_or_a_variant_is_broken(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    words = set(printed(capsys, "envs").replace(",", " ").split())
    for name in content.names("envs"):
        assert {name, *load(name).variants} <= words


def test_one_env_has_a_line_per_variant_with_what_it_is(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    lines = printed(capsys, "envs", "half-cheetah").splitlines()
    assert lines[0] == "half-cheetah  trl_suite/HalfCheetah-v0"
    assert "  model: gymnasium:half_cheetah.xml" in lines
    assert any(line.startswith("  gravity-1.5") for line in lines)
    assert list(json.loads(printed(capsys, "envs", "half-cheetah", "--json"))) == ["half-cheetah"]


@pytest.mark.parametrize(
    ("address", "change"),
    [
        ("half-cheetah.gravity-1.5", "gravity = 1.5"),
        ("half-cheetah?gravity=1.5", "gravity = 1.5"),
        ("arm-lift.slope", 'gravity = {"tilt":5.0}'),
    ],
)
def test_an_address_has_a_line_per_axis_with_its_value(address, change, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    lines = printed(capsys, "envs", address).splitlines()
    assert lines[3:] == [f"  {address} changes:", f"  {change}"]


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("half-chetah", "half-cheetah"), ("half-chetah.moon", "half-cheetah"), ("half-cheetah.gravty-1.5", "gravity-1.5")],
)
def test_an_unknown_env_or_variant_names_the_nearest(wrong, nearest, capsys):
    for verb in ("envs", "verify"):
        with pytest.raises(SystemExit) as end:
            main([verb, wrong])
        assert end.value.code == 2
        assert f"did you mean '{nearest}'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("hopper.gravity-1.5", "gravity-2.0"), "has its variant already, and another is given: 'gravity-2.0'"),
        (("hopper?gravity=1.2",), "certificates are of the variants that the table of 'hopper' names"),
    ],
)
def test_verify_says_what_it_has_no_certificate_of(words, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(["verify", *words, "--dry"])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_verify_takes_a_variants_address_and_breaks_no_name(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert "hopper.gravity-1.5 " in printed(capsys, "verify", "hopper.gravity-1.5", "--dry")


@pytest.mark.parametrize("width", WIDTHS)
def test_experiments_are_listed_with_their_question(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    text = printed(capsys, "experiments")
    assert "How much sooner does HalfCheetah learn to run" in " ".join(text.split())
    assert "1 target, 4 methods, 5 seeds" in text
    tables = json.loads(printed(capsys, "experiments", "--json"))
    assert tables["quickstart"]["methods"] == 4


def test_an_experiment_that_cannot_be_read_says_so_and_hides_no_other(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "experiments" / "wrong"
    folder.mkdir(parents=True)
    (folder / "experiment.toml").write_text("question = 1")
    monkeypatch.chdir(tmp_path)
    text = printed(capsys, "experiments")
    assert "wrong" in text
    assert "question" in text
    assert "quickstart" in text


@pytest.mark.parametrize("verb", [name for kind in Arguments.__args__ for name in [kind.__metadata__[0].name]])
def test_help_calls_what_it_asks_for_by_its_name(verb, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "120")
    text = printed(capsys, verb, "--help")
    asked = re.findall(r"^│ (\S+)", text.partition("positional arguments")[2].partition("╰")[0], re.M)
    assert not {"STR", "PATH", "INT", "FLOAT"} & {name.strip("[]") for name in asked}
