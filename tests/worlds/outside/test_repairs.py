"""Repairs act while their fault is there, on versions that they know, and say so."""

from importlib import metadata

import pytest

from trl_suite.errors import NotInstalledError
from trl_suite.worlds.outside import outside_env, repairs, suite_table


def planted(broken: list[bool], versions: tuple[str, ...]) -> repairs.Repair:
    def mend():
        broken[0] = False

    return repairs.Repair("numpy", versions, "a planted fault", lambda: broken[0], mend)


def repaired(monkeypatch, repair: repairs.Repair) -> str:
    monkeypatch.setitem(repairs.REPAIRS, "numpy", repair)
    return repairs.repair("numpy")


def test_a_package_without_a_repair_is_left_alone():
    assert repairs.repair("scipy") == ""


def test_a_fault_that_is_gone_is_not_mended_whatever_the_version(monkeypatch):
    def refuse():
        raise AssertionError("mended")

    gone = repairs.Repair("numpy", (), "a planted fault", lambda: False, refuse)
    assert "not needed any more" in repaired(monkeypatch, gone)


def test_a_fault_is_mended_in_a_version_that_the_repair_knows(monkeypatch):
    broken = [True]
    assert "mended" in repaired(monkeypatch, planted(broken, (metadata.version("numpy"),)))
    assert broken == [False]


def test_a_fault_in_another_version_is_one_line_with_the_fix(monkeypatch):
    broken = [True]
    with pytest.raises(NotInstalledError, match=r"pip install --no-deps numpy==0\.1$") as refusal:
        repaired(monkeypatch, planted(broken, ("0.1",)))
    assert broken == [True]
    assert "\n" not in str(refusal.value)


def test_a_repair_that_mends_nothing_is_found_out(monkeypatch):
    vain = repairs.Repair("numpy", (metadata.version("numpy"),), "a planted fault", lambda: True, lambda: None)
    with pytest.raises(NotInstalledError, match="a planted fault"):
        repaired(monkeypatch, vain)


@pytest.mark.parametrize("package", repairs.REPAIRS)
def test_a_fault_of_the_pinned_version_is_still_there_or_its_repair_is_to_be_deleted(package):
    pytest.importorskip(package)
    repair = repairs.REPAIRS[package]
    suite = next(suite for suite in suite_table.suites() if suite.package == package)
    done = outside_env.prepare(suite)
    assert "mended" in done, f"{repair.distribution} {metadata.version(repair.distribution)}: delete its repair: {done}"
    assert not repair.is_broken()


def test_a_missing_package_is_one_line_with_the_command(monkeypatch):
    monkeypatch.setattr(outside_env, "is_installed", lambda _: False)
    with pytest.raises(NotInstalledError, match=r"Meta-World: pip install --no-deps metaworld==3\.1\.1$"):
        outside_env.OutsideEnv("gymnasium:Meta-World/reach-v3")
