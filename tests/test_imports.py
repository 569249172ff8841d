"""Imports point down only. Every import statement of every module is parsed, wherever it stands, and held
against what that module may know; see docs/architecture.md."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What a module may import of ours: modules, or packages with all that is in them.
_FACTS = ("cfront.errors", "cfront.uapi")
_SPECS = ("bcc_py.errors", "bcc_py.isa", "bcc_py.spec", "cfront.uapi")
_KERNEL = (*_SPECS, "bcc_py.kernel", "bcc_py.rings", "cfront.tracepoint", "cfront.btf", "cfront.ctype")
_DATA = ("cfront.ctype", "cfront.errors", "cfront.fold", "cfront.source", "cfront.tree", "cfront.uapi")
_CHECKER = (*_DATA, "cfront.btf", "cfront.doubt", "cfront.preprocess")  # of preprocess, its Token
_FLOORS = ("check_type", "check_expr", "check_init", "builtin", "dialect", "packet", "check")  # each stands on those before
ALLOWED: dict[str, tuple[str, ...]] = {
    "cfront": ("cfront.btf", "cfront.driver", "cfront.errors", "cfront.pause", "cfront.source"),
    "cfront.pause": (),
    "cfront.__main__": ("cfront",),
    "cfront.driver": ("cfront",),
    "cfront.source": (),
    "cfront.uapi": (),
    "cfront.errors": ("cfront.source",),
    "cfront.ctype": (),
    "cfront.btf": ("cfront.ctype", "cfront.errors"),
    "cfront.tracepoint": ("cfront.btf", "cfront.ctype", "cfront.errors"),
    "cfront.tree": ("cfront.ctype", "cfront.source", "cfront.uapi"),
    "cfront.fold": ("cfront.ctype", "cfront.tree"),
    "cfront.preprocess": ("cfront.errors", "cfront.source"),
    "cfront.parse": ("cfront.errors", "cfront.source", "cfront.preprocess"),
    **{f"cfront.{name}": (*_CHECKER, *(f"cfront.{one}" for one in _FLOORS[:at])) for at, name in enumerate(_FLOORS)},
    "cfront.spell": _DATA,
    "cfront.doubt": _DATA,
    "cfront.provenance": (*_DATA, "cfront.spell"),
    "cfront.debug": _DATA,
    "cfront.lower": (*_DATA, "cfront.debug"),
    "cfront.emit": ("cfront.errors", "cfront.source"),
    "cfront.run": ("cfront.emit", "cfront.errors"),
    "bcc_py.errors": (*_FACTS, "bcc_py.spec"),
    "bcc_py.isa": _FACTS,
    "bcc_py.spec": ("bcc_py.isa", "cfront.uapi"),
    "bcc_py.elf": _SPECS,
    "bcc_py.cache": ("cfront",),
    "bcc_py.hist": (),
    "bcc_py.syscalls": (),
    "bcc_py.rings": (),
    "bcc_py.kernel": ("bcc_py.errors", "bcc_py.isa", "bcc_py.rings", "bcc_py.spec", "cfront.btf"),
    "bcc_py.load": (*_SPECS, "bcc_py.kernel"),
    "bcc_py.verifier": (*_SPECS, "bcc_py.verifier", "cfront.btf", "cfront.ctype", "cfront.pause"),
    "bcc_py.jit": (*_SPECS, "bcc_py.jit"),
    "bcc_py.sim": (*_KERNEL, "bcc_py.cache", "bcc_py.jit", "bcc_py.verifier", "bcc_py.syscalls", "bcc_py.sim", "cfront"),
    "bcc_py.linux": (*_KERNEL, "bcc_py.cache", "bcc_py.kallsyms", "bcc_py.linux"),
    "bcc_py.kallsyms": ("bcc_py.kernel",),
    "bcc_py.image": ("cfront.errors",),
    "bcc_py.process": (),
    "bcc_py.demangle": (),
    "bcc_py.search_path": ("bcc_py.process",),
    "bcc_py.symbols": ("bcc_py.demangle", "bcc_py.errors", "bcc_py.image", "bcc_py.kallsyms", "bcc_py.kernel", "bcc_py.process"),
    "bcc_py.user_function": ("bcc_py.errors", "bcc_py.image", "bcc_py.search_path", "bcc_py.process", "bcc_py.spec"),
    "bcc_py.usdt_argument": (),
    "bcc_py.usdt": ("bcc_py.errors", "bcc_py.image", "bcc_py.search_path", "bcc_py.process", "bcc_py.usdt_argument"),
    "bcc_py.user_space": ("bcc_py.asking", "bcc_py.attaching", "bcc_py.errors", "bcc_py.kernel", "bcc_py.search_path", "bcc_py.spec",
                          "bcc_py.symbols", "bcc_py.user_function"),
    "bcc_py.linux.syscall_probe": (*_KERNEL, "bcc_py.syscalls", "bcc_py.verifier"),
    "bcc_py.table": ("bcc_py.errors", "bcc_py.kernel", "bcc_py.rings", "bcc_py.spec", "bcc_py.hist", "bcc_py.table", "cfront.btf", "cfront.ctype", "cfront.uapi"),
    "bcc_py.listing": ("bcc_py.isa", "bcc_py.table", "cfront.uapi"),
    "bcc_py.testing": ("bcc_py.errors", "bcc_py.kernel", "bcc_py.sim", "bcc_py.syscalls"),
    "bcc_py.pytest_plugin": (),
    "bcc_py.compat": ("bcc_py", "cfront.tracepoint", "cfront.uapi"),  # a script's way in: whatever class BPF may know
    "bcc_py.asking": ("bcc_py.errors", "bcc_py.kernel", "bcc_py.spec", "cfront.ctype"),
    "bcc_py.attaching": (*_SPECS, "bcc_py.asking", "bcc_py.kernel"),
    "bcc_py.bpf": ("bcc_py", "cfront"),
    "bcc_py.verdict": (*_SPECS, "bcc_py.elf", "bcc_py.load", "bcc_py.verifier"),
    "bcc_py.conformance": (*_SPECS, "bcc_py.elf", "bcc_py.jit", "bcc_py.sim", "bcc_py.verifier"),
    "bcc_py.verify_command": ("bcc_py.errors", "bcc_py.verdict", "bcc_py.verifier"),
    "bcc_py": ("bcc_py.bpf", "bcc_py.errors", "bcc_py.symbols", "bcc_py.table", "bcc_py.usdt", "bcc_py.verdict"),
    "bcc_py.cli": ("bcc_py.bpf", "bcc_py.errors"),
    "bcc_py.tools": ("bcc_py.bpf", "bcc_py.cli", "bcc_py.errors", "bcc_py.syscalls"),
}

# Who may import what is not ours and not Python's own.
_PARSER = ("cfront.parse", *(f"cfront.{one}" for one in _FLOORS))
FOREIGN = {
    "cffi": ("bcc_py.linux.sys", "bcc_py.sim.memory", "bcc_py.jit.program"),
    "pytest": ("bcc_py.pytest_plugin",),
    "llvmlite": ("cfront.emit", "cfront.run", "bcc_py.jit.link"),
    "pycparser": _PARSER,
    "pycparserext": _PARSER,
    "click": ("bcc_py.cli", "bcc_py.conformance", "bcc_py.verify_command", "bcc_py.compat.check_command", "bcc_py.compat.run_command", "bcc_py.tools.execsnoop", "bcc_py.tools.exitsnoop", "bcc_py.tools.syscount", "bcc_py.tools.tcpstates"),
}


def _modules() -> dict[str, Path]:
    """Every module that is shipped, by name."""
    found = {}
    for folder, package in (("cfront", "cfront"), ("bcc_py", "bcc_py"), ("tools", "bcc_py.tools")):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


MODULES = _modules()


def _imports(path: Path, module: str) -> Iterator[tuple[str, int]]:
    """(the full name of what is imported, line); of `from a import b` it is a.b if that is a module, else a."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((one.name, node.lineno) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute"
            source = node.module or ""
            for one in node.names:
                full = f"{source}.{one.name}"
                yield (full if full in MODULES else source, node.lineno)


IMPORTS = {name: list(_imports(path, name)) for name, path in MODULES.items()}


def _rule(module: str) -> str:
    """The nearest entry of ALLOWED: of the module itself, or of a package around it."""
    name = module
    while name not in ALLOWED and "." in name:
        name = name.rpartition(".")[0]
    return name


def _is_within(module: str, name: str) -> bool:
    return module == name or module.startswith(name + ".")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    rule = _rule(module)
    assert rule != "bcc_py" or module == "bcc_py", f"{module} is new: give it a row in ALLOWED"
    for imported, line in IMPORTS[module]:
        top = imported.partition(".")[0]
        if top in ("bcc_py", "cfront"):
            allowed = ALLOWED[rule]
            exact = imported in ("bcc_py", "cfront") and imported not in allowed
            assert not exact and any(_is_within(imported, one) for one in allowed), f"{module}:{line} imports {imported}"
        elif top not in sys.stdlib_module_names and top != "__future__":
            assert module in FOREIGN.get(top, ()), f"{module}:{line} imports {imported}"


def test_the_compiler_does_not_know_bcc_py() -> None:
    assert not [one for name in IMPORTS if _is_within(name, "cfront") for one in IMPORTS[name] if _is_within(one[0], "bcc_py")]


def test_the_two_kernels_do_not_know_each_other() -> None:
    for one, other in (("bcc_py.sim", "bcc_py.linux"), ("bcc_py.linux", "bcc_py.sim")):
        assert not [name for name in IMPORTS if _is_within(name, one) for got, _ in IMPORTS[name] if _is_within(got, other)]


def test_only_bpf_names_the_kernels() -> None:
    names = {"LinuxKernel", "replay_kernel", "sim_kernel_from_spec", "SimKernel", "ReplayKernel"}
    for module, path in MODULES.items():
        # testing.py makes the events of simulated kernels: it is about them
        if _is_within(module, "bcc_py.sim") or _is_within(module, "bcc_py.linux") or module in ("bcc_py.bpf", "bcc_py.testing"):
            continue
        used = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not used & names, module


def test_nobody_asks_which_kernel_it_has() -> None:
    """Differences live behind Kernel: only what is printed for people may depend on is_simulated."""
    for module, path in MODULES.items():
        # run_command gives a script the kernel's clock and files where they are not this machine's
        asks = ("bcc_py.kernel", "bcc_py.cli", "bcc_py.compat.run_command")
        if _is_within(module, "bcc_py.sim") or _is_within(module, "bcc_py.linux") or module in asks:
            continue
        assert "is_simulated" not in {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}, module


def test_no_cycle() -> None:
    graph = {name: {one for one, _ in found if one in MODULES and one != name} for name, found in IMPORTS.items()}
    # a package's own namespace is imported with each of its modules; what counts is who asks for whom
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_stand_at_the_top(module: str) -> None:
    """No import inside a function: that is how cycles are hidden."""
    tree = ast.parse(MODULES[module].read_text())
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            inner = [one for one in ast.walk(function) if isinstance(one, (ast.Import, ast.ImportFrom))]
            assert not inner, f"{module}:{inner[0].lineno}: an import inside a function"


def test_the_declared_requirements_are_the_imported_ones() -> None:
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    declared = {line.split(">")[0].split("=")[0].strip() for line in config["options"]["install_requires"].split("\n") if line.strip()}
    imported = {got.partition(".")[0] for found in IMPORTS.values() for got, _ in found}
    # pytest imports its plugin, nothing else does
    assert declared == {one for one in imported if one in FOREIGN} - {"pytest"}


def test_every_package_is_in_the_wheel() -> None:
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    declared = set(config["options"]["packages"].split())
    # what stands on PYTHONPATH is data of the alias
    assert declared == {name for name, path in MODULES.items() if path.name == "__init__.py"} - {"bcc_py.compat.path.bcc"}
