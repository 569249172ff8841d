"""--help, the man page and the examples page list the same options in the same words, and every command that
a page shows prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.tools.runs import ROOT, TOOLS, command_of, run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _params(tool: str) -> list[click.Option]:
    command = command_of(tool)
    context = click.Context(command, info_name=tool, **command.context_settings)
    return [one for one in command.get_params(context) if isinstance(one, click.Option)]


def _in_help(tool: str) -> dict[tuple[str, ...], str]:
    """{names: meaning} as --help has it, with a default as the pages write it."""
    found = {}
    for one in _params(tool):
        default = f" Default: {one.default}." if one.show_default is True and not one.is_flag else ""
        found[tuple(one.opts)] = (one.help or "") + default
    return found


def _in_man(tool: str) -> dict[tuple[str, ...], str]:
    text = (ROOT / "man" / "man8" / f"{tool}.8").read_text().replace("\\-", "-")
    section = text.partition(".SH OPTIONS\n")[2].partition(".SH ")[0]
    found = {}
    for entry in section.split(".TP\n")[1:]:
        head, _, meaning = entry.partition("\n")
        found[tuple(re.findall(r"(?<![\w-])--?[A-Za-z0-9][a-z0-9-]*", head))] = meaning.strip().replace("\n", " ")
    return found


def _in_page(tool: str) -> dict[tuple[str, ...], str]:
    text = (ROOT / "docs" / "examples" / f"{tool}.md").read_text()
    rows = re.findall(r"^\| (`-.*?) \| (.*) \|$", text, re.M)
    return {tuple(re.findall(r"`(-[^`]*)`", names)): meaning for names, meaning in rows}


@pytest.mark.parametrize("tool", TOOLS)
def test_help_man_page_and_examples_agree(tool: str) -> None:
    assert _in_help(tool) == _in_page(tool) == _in_man(tool)
    printed = run(tool, "--help").stdout
    assert all(name in printed for names in _in_help(tool) for name in names)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_man_page_is_well_formed(tool: str) -> None:
    path = ROOT / "man" / "man8" / f"{tool}.8"
    text = path.read_text()
    assert text.startswith(f".TH {tool.upper()} 8 ")
    sections = re.findall(r"^\.SH (.*)$", text, re.M)
    assert sections[:5] == ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COLUMNS"]
    if (groff := shutil.which("groff")) is not None:
        got = subprocess.run([groff, "-man", "-Tascii", "-ww", "-z", str(path)], capture_output=True, text=True, check=True)
        assert got.stderr == ""


def _consoles() -> list[tuple[Path, str, str]]:
    """(page, command, output) of every command of ours that runs on a kernel which is the same everywhere."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.S):
            for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
                command, _, output = part.partition("\n")
                if command.split()[0] in TOOLS and "--kernel linux" not in command:
                    found.append((page, command, output))
    return found


CONSOLES = _consoles()


@pytest.mark.parametrize(("page", "command", "output"), CONSOLES, ids=[f"{page.stem}: {command}" for page, command, _ in CONSOLES])
def test_what_a_page_shows_is_what_is_printed(page: Path, command: str, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line "..." stands for rows left out at the end."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("BCC_PY_KERNEL", raising=False)
    tool, *options = shlex.split(command)
    printed = run(tool, *options).stdout.rstrip("\n")
    expected = output.rstrip("\n")
    if expected.endswith("\n..."):
        assert printed.startswith(expected.removesuffix("..."))
    else:
        assert printed == expected


def test_every_page_shows_its_tool() -> None:
    assert {page.stem for page, _, _ in CONSOLES} >= set(TOOLS)


def test_the_example_of_the_readme_runs() -> None:
    """The first Python block prints what the block after it shows."""
    text = (ROOT / "README.md").read_text()
    match = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", text, re.S)
    assert match is not None
    code, expected = match.groups()
    assert len(code.splitlines()) <= 20
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT,
                         stdin=subprocess.DEVNULL)
    assert (got.returncode, got.stdout) == (0, expected), got.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda one: one.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_layout_names_every_module() -> None:
    """docs/architecture.md keeps up with the files that there are."""
    layout = (ROOT / "docs" / "architecture.md").read_text().partition("## Layout")[2].partition("## The way")[0]
    named = set(re.findall(r"[a-z_0-9]+\.py", layout))
    modules = {path.name for folder in ("cfront", "bcc_py") for path in (ROOT / folder).rglob("*.py") if path.name != "__init__.py"}
    assert modules - named == set()
    assert named - modules == {"__init__.py"}


@pytest.mark.parametrize("page", ["execution.md", "tables.md", "coming_from_bcc.md"])
def test_a_page_of_python_runs(page: str) -> None:
    """Its Python blocks in one session: each prints what the block after it shows."""
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"```python\n(.*?)```\s+(?:.*?)```text\n(.*?)```", text, re.S)
    assert len(blocks) == text.count("```python")
    session: dict[str, object] = {}
    for code, expected in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, session)
        assert printed.getvalue() == expected
