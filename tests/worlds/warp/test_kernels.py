"""Warp's kernels compile for the GPUs that people have, on a machine without one."""

import json

import pytest

from trl_suite import content
from trl_suite.cli.main import main
from trl_suite.errors import InputError
from trl_suite.worlds.warp import kernels, warp_library


@pytest.mark.slow
@pytest.mark.xdist_group("warp")
@pytest.mark.parametrize("architecture", kernels.ARCHITECTURES)
def test_every_kernel_compiles(architecture):
    modules = kernels.modules_of(content.names("envs"))
    assert len(modules) > 50
    assert [(one.name, one.error) for one in kernels.compile_for(modules, architecture) if one.error] == []


def test_a_compilation_that_fails_is_named_and_the_others_go_on(monkeypatch):
    class Module:
        name = "steps"

    def fail(module, threads, architecture):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(warp_library, "compile_module", fail)
    (compiled,) = kernels.compile_for([kernels.KernelModule(Module(), 64)], 90)
    assert compiled == kernels.Compiled("steps", 90, False, "no such instruction")


def test_what_is_asked_wrongly_is_said(capsys, monkeypatch):
    with pytest.raises(InputError, match="kernels can be compiled for .*80.*90"):
        kernels.refuse_unknown(79)
    for words, message in (
        (["warm", "half-cheetah"], "no GPU here to compile for; name its kind: --arch 90"),
        (["warm", "half-chetah", "--arch", "90"], "did you mean 'half-cheetah'"),
        (["warm", "--arch", "90"], "name a robot"),
    ):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2
        assert message in capsys.readouterr().err


def test_the_command_says_where_kernels_lie_and_how_large_they_are(capsys, monkeypatch):
    monkeypatch.setattr(kernels, "modules_of", lambda robots: [kernels.KernelModule(None, 64)])
    monkeypatch.setattr(kernels, "compile_for", lambda *_: iter([kernels.Compiled("steps", 90, True)]))
    with pytest.raises(SystemExit) as left:
        main(["warm", "half-cheetah", "--arch", "90", "--json"])
    assert left.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["modules"], report["new"], report["failed"]) == (1, 1, {})
    assert report["cache"]
