"""Every command on a page exists and has the options that are shown, also where it cannot run in a test."""

from __future__ import annotations

import re
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

import sage_demo.cli
import sage_sandbox.cli
import tap_sage_accounting.airbyte.cli
from support.pages import BLOCK, PAGES, ROOT, blocks_of
from support.presence import present
from support.shell_lines import Command, commands_in
from tap_sage_accounting.commands.doctor.command import doctor
from tap_sage_accounting.commands.login import login
from tap_sage_accounting.commands.logout import logout
from tap_sage_accounting.commands.state import state
from tap_sage_accounting.commands.status import status
from tap_sage_accounting.tap import TapSageAccounting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROJECT = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
PLUGINS = {plugin["name"]: plugin for kind in PROJECT["plugins"].values() for plugin in kind}
OWN = "tap-sage-accounting"
CLICK: dict[str, click.Command] = {
    OWN: TapSageAccounting.cli,
    f"{OWN}-login": login,
    f"{OWN}-status": status,
    f"{OWN}-doctor": doctor,
    f"{OWN}-state": state,
    f"{OWN}-logout": logout,
}
ARGPARSE: dict[str, Callable[[list[str]], Any]] = {
    "sage-sandbox": sage_sandbox.cli.parser().parse_args,
    "sage-demo": sage_demo.cli._parser().parse_known_args,
    "source-sage-accounting": tap_sage_accounting.airbyte.cli._options,
}
IN_A_SENTENCE = re.compile(
    r"(?:uv run |meltano |dbt |just |source-sage\S+ |sage-(?:sandbox|demo) |tap-sage-accounting\S* -)"
)
"""How commands in sentences begin; a name alone is none."""
PLACEHOLDER = re.compile(r"[<$]|\.\.\.|…")
"""What a reader fills in."""


class WrongCommandError(Exception):
    """A command that does not work as it is shown."""


def all_commands(page: Path) -> Iterator[tuple[int, Command]]:
    """Yield the commands of a page's blocks, and those in its sentences."""
    for block in blocks_of(page):
        if block.language in {"sh", "bash"} and "--8<--" not in block.text:
            yield from ((block.line, command) for command in commands_in(block.text))
    text = BLOCK.sub(lambda found: "\n" * found[0].count("\n"), page.read_text("utf-8"))
    for found in re.finditer(r"`([^`]+)`", text):
        if IN_A_SENTENCE.match(found[1]):
            line = text.count("\n", 0, found.start()) + 1
            yield from ((line, command) for command in commands_in(found[1].replace("\n", " ")))


def check(command: Command, page: Path) -> None:
    """Let a command's own program read what it is given.

    Raises:
        WrongCommandError: it refuses that.
    """
    program, given = command.program, list(command.arguments)
    if program == "docker" and "run" in given:
        images = [place for place, word in enumerate(given) if word in CLICK or word in ARGPARSE]
        image = images[-1]
        program = given[image - 1] if len(images) > 1 else given[image]
        given = given[image + 1 :]
    if program in CLICK:
        read(CLICK[program], given, program)
    elif program in ARGPARSE:
        try:
            if given:
                ARGPARSE[program](given)
        except SystemExit as refusal:
            raise WrongCommandError("these arguments are refused") from refusal
    elif program.startswith((OWN, "sage-", "source-sage")):
        raise WrongCommandError("there is no such program")
    elif program in CHECKS:
        CHECKS[program](given, page)


def read(command: click.Command, given: list[str], name: str) -> tuple[str, dict[str, Any]]:
    """Read options and arguments as click does, but for their values; return the command found and what it gets.

    Raises:
        WrongCommandError: an option is unknown, or there are too many arguments.
    """
    if given and PLACEHOLDER.fullmatch(given[-1]):
        given = given[:-1]
    context = click.Context(command, info_name=name, **command.context_settings)
    try:
        options, rest, _ = command.make_parser(context).parse_args([*given])
        if isinstance(command, click.Group) and rest:
            below, subcommand, rest = command.resolve_command(context, rest)
            found, inner = read(present(subcommand), rest, present(below))
            return f"{name} {found}", {**options, **inner}
    except click.BadOptionUsage:
        return name, {}  # the name of an option in a sentence
    except click.UsageError as error:
        raise WrongCommandError(error.format_message()) from error
    if rest:
        raise WrongCommandError(f"too many arguments: {' '.join(rest)}")
    return name, {option: value for option, value in options.items() if isinstance(value, str | list | tuple)}


# Programs of others


def check_meltano(given: list[str], page: Path) -> None:
    """Read a command of Meltano's; what it names must be in the project, or on the page.

    Raises:
        WrongCommandError: it is not.
    """
    from meltano.cli.cli import cli  # noqa: PLC0415 - it is slow

    found, options = read(cli, given, "meltano")
    require(options.get("environment"), {each["name"] for each in PROJECT["environments"]})
    jobs = {job["name"] for job in PROJECT["jobs"]}
    if found == "meltano run":
        for block in options.get("blocks", ()):
            check_plugin(block, page, jobs)
    elif found == "meltano invoke" and "plugin_name" in options:
        check_plugin(options["plugin_name"], page)
        plugin, _, command = options["plugin_name"].partition(":")
        executable = PLUGINS[plugin]["commands"][command].get("executable") if command and plugin in PLUGINS else ""
        if executable:
            check(Command(executable, tuple(options.get("plugin_args", ()))), page)
    elif found == "meltano schedule run":
        require(options["name"], {schedule["name"] for schedule in PROJECT["schedules"]})
    elif found == "meltano select" and "extractor" in options:
        check_plugin(options["extractor"], page)
    elif found.startswith("meltano state") and "state_id" in options and not PLACEHOLDER.search(options["state_id"]):
        environment, _, pair = options["state_id"].partition(":")
        require(environment, {each["name"] for each in PROJECT["environments"]})
        for plugin in pair.split("-to-"):
            check_plugin(plugin, page)


def check_plugin(name: str, page: Path, others: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Look for a plugin, and its command, in the project and on the page.

    Raises:
        WrongCommandError: there is none.
    """
    if PLACEHOLDER.search(name):
        return
    plugin, _, command = name.partition(":")
    shown = re.findall(r"^ *- name: (\S+)", page.read_text("utf-8"), flags=re.MULTILINE)
    require(plugin, PLUGINS.keys() | others | {*shown})
    if command and plugin in PLUGINS:
        require(command, set(PLUGINS[plugin].get("commands", {})))


def check_dbt(given: list[str], _page: Path) -> None:
    """Read a command of dbt's; a macro that it runs must be in the package.

    Raises:
        WrongCommandError: it is not.
    """
    from dbt.cli.main import cli  # noqa: PLC0415 - it is slow

    found, options = read(cli, given, "dbt")
    if found == "dbt run-operation":
        texts = [path.read_text("utf-8") for path in (ROOT / "transform" / "macros").rglob("*.sql")]
        macros = {name for text in texts for name in re.findall(r"macro (\w+)\(", text)}
        require(options["macro"].removeprefix("sage_accounting."), macros)


def check_python(given: list[str], _page: Path) -> None:
    """Look for the script or module, and for the options in its text.

    Raises:
        WrongCommandError: there is none.
    """
    if given[:1] == ["-m"]:
        if given[1] in sys.stdlib_module_names:
            return
        place = ROOT / given[1].replace(".", "/")
        scripts = [place.with_suffix(".py"), place / "__main__.py"]
        given = given[1:]
    else:
        scripts = [ROOT / given[0]] if given and given[0].startswith(("scripts/", ".ci/")) else []
    if not scripts:
        return
    text = "".join(script.read_text("utf-8") for script in scripts if script.is_file())
    require(given[0], {given[0]} if text else set())
    for option in (word.partition("=")[0] for word in given if word.startswith("--")):
        require(option, set(re.findall(r"--[\w-]+", text)))


def check_just(given: list[str], _page: Path) -> None:
    """Look for the recipe."""
    recipes = set(re.findall(r"^([\w-]+)[^:\n]*:$", (ROOT / "justfile").read_text("utf-8"), flags=re.MULTILINE))
    for name in given[:1]:
        require(name, recipes)


def check_pip(given: list[str], _page: Path) -> None:
    """Look for the extras of what is installed from here."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for word in given:
        if found := re.search(r"(?:tap-sage-accounting|^\.)\[([\w,]+)\]$", word):
            for extra in found[1].split(","):
                require(extra, set(extras))


def require(name: str | None, known: set[str]) -> None:
    """Refuse a name that is not known.

    Raises:
        WrongCommandError: naming it.
    """
    if name is not None and not PLACEHOLDER.search(name) and name not in known:
        raise WrongCommandError(f"there is no {name!r} among {', '.join(sorted(known)) or 'nothing'}")


CHECKS: dict[str, Callable[[list[str], Path], None]] = {
    "meltano": check_meltano,
    "dbt": check_dbt,
    "python": check_python,
    "just": check_just,
    "pip": check_pip,
}


# Tests


@pytest.mark.parametrize("page", [each for each in PAGES if any(all_commands(each))], ids=lambda page: page.stem)
def test_commands_on_a_page_exist_with_their_options(page: Path) -> None:
    problems = []
    for line, command in all_commands(page):
        try:
            check(command, page)
        except WrongCommandError as problem:
            problems.append(f"{page.relative_to(ROOT)}:{line}: {command}: {problem}")
    assert problems == []


@pytest.mark.parametrize(
    "line",
    [
        "tap-sage-accounting --confg config.json",
        "tap-sage-accounting-doctor --config config.json --verbose",
        "tap-sage-accounting-stats --config config.json",
        "uv run meltano --environment=production run transactional",
        "meltano invoke tap-sage-accounting:doctor --deeper",
        "meltano run tap-sage-accounting target-postgre",
        "meltano schedule run monthly",
        "dbt run-operation sage_reports",
        "uv run python scripts/no_such.py",
        "source-sage-accounting read --config config.json",
        "docker run --rm tap-sage-accounting --discovered",
        "uv run sage-sandbox --size enormous",
        "just fixes",
        "pip install '/path/to/tap-sage-accounting[postgresql]'",
    ],
)
def test_a_command_that_does_not_work_as_it_is_shown_is_found(line: str) -> None:
    [command] = commands_in(line)
    with pytest.raises(WrongCommandError):
        check(command, ROOT / "README.md")
