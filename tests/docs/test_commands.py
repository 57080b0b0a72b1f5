"""Commands in pages: all are parsed by the program's own options, and those that show what they print are run."""

import doctest
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from landed_jax.cli.commands import commands
from tests.docs.pages import PAGES, ROOT, Block, blocks_of

SHELL = ("sh", "console", "text", "json")


def written() -> list[tuple[str, str]]:
    """Every command line of `landed` in a block of code, with its page."""
    found = []
    for page in PAGES:
        for block in blocks_of(page):
            lines = block.text.replace("\\\n", " ").splitlines() if block.language in SHELL else ()
            starts = (line.strip().removeprefix("$ ") for line in lines)
            found += [(page, line) for line in starts if line.startswith("landed ")]
    return list(dict.fromkeys(found))


def arguments(line: str) -> list[str]:
    """A command's arguments up to a pipe or the end of the command."""
    words = shlex.split(line, comments=True)[1:]
    ends = [place for place, word in enumerate(words) if word in ("|", ">", "&&", ";")]
    return words[: ends[0]] if ends else words


@pytest.mark.parametrize(("page", "line"), written())
def test_a_command_has_these_options(page: str, line: str) -> None:
    command: click.Command = commands
    words = arguments(line)
    while isinstance(command, click.Group):
        words = [word for word in words if word != "--no-cache"]
        found = command.commands.get(words[0])
        assert found is not None, f"{page}: there is no command {words[0]}"
        command, words = found, words[1:]
    command.make_parser(click.Context(command)).parse_args(words)  # raises on an option that is not there


SHOWN = [(page, block) for page in PAGES for block in blocks_of(page) if block.language == "console"]


@pytest.mark.parametrize(("page", "block"), SHOWN, ids=[f"{page}:{block.line}" for page, block in SHOWN])
def test_a_command_prints_what_is_shown(
    page: str, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")  # pages have lines of that length
    (tmp_path / "conversion").symlink_to(ROOT / "conversion")
    program = [sys.executable, "-c", "from landed_jax.cli import main; main()"]
    for part in ("\n" + block.text).split("\n$ ")[1:]:
        line, _, shown = part.partition("\n")
        done = subprocess.run([*program, *arguments(line)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert doctest.OutputChecker().check_output(shown, done.stdout, doctest.ELLIPSIS), done.stdout
