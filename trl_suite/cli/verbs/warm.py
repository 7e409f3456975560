"""`trl-suite warm`: Warp's kernels, compiled before a run needs them."""

from collections.abc import Mapping
from typing import Any

from rich.progress import track

from trl_suite.cli.arguments import Warm
from trl_suite.errors import InputError
from trl_suite.terminal import Terminal, print_json
from trl_suite.worlds.identity import identity
from trl_suite.worlds.warp import kernels


def execute(arguments: Warm) -> int:
    """Compile the kernels, say where they lie and how large they are; return 0, or 1 where one does not compile."""
    if not arguments.robots:
        raise InputError("warm: name a robot at least: trl-suite warm half-cheetah")
    architecture = arguments.arch or kernels.architecture_here()
    if architecture is None:
        raise InputError("warm: there is no GPU here to compile for; name its kind: --arch 90 is H100's and H200's")
    kernels.refuse_unknown(architecture)
    for robot in arguments.robots:
        identity(robot)  # one that does not exist is said before anything is compiled
    modules, errors = kernels.modules_of(arguments.robots), Terminal(stderr=True)
    compiling = track(
        kernels.compile_for(modules, architecture), "compiling", len(modules), console=errors, transient=True
    )
    compiled = list(compiling)
    failed = [module for module in compiled if module.error]
    report = {
        "architecture": architecture,
        "modules": len(compiled),
        "new": sum(module.new for module in compiled),
        "failed": {module.name: module.error for module in failed},
        "cache": str(kernels.cache_folder()),
        "bytes": kernels.cache_bytes(),
    }
    _print(report, arguments.json)
    return 1 if failed else 0


def _print(report: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    terminal = Terminal()
    terminal.print(
        f"{report['modules']} modules of kernels for sm_{report['architecture']}, {report['new']} of them new: "
        f"{report['cache']}, {report['bytes'] / 2**20:.0f} MB"
    )
    for name, error in report["failed"].items():
        terminal.print(f"FAILED {name}: {error}", soft_wrap=True)
