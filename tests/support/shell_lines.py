"""Commands in lines of a shell, as far as documentation has them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ASSIGNMENT = re.compile(r"\w+=")
HEREDOC = re.compile(r"<<-?\s*'?(\w+)'?")
REDIRECTION = re.compile(r"[<>][<>&]*")
KEYWORDS = {"!", "if", "then", "else", "elif", "do", "while", "exec", "fi", "done", "{", "}"}


@dataclass(frozen=True)
class Command:
    """A program and what it is given."""

    program: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join([self.program, *self.arguments])


def commands_in(text: str) -> Iterator[Command]:
    """Yield the commands of a script, those in pipes and substitutions too, without redirections and variables."""
    for line in _whole_lines(text):
        words: list[str] = []
        for token in (*_tokens(line), ";"):
            if set(token) <= set("();|&"):
                if command := _command(words):
                    yield command
                words = []
            else:
                words.append(token)


def _tokens(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _whole_lines(text: str) -> Iterator[str]:
    """Join lines that are continued or end within quotes; leave out what is handed over as a document."""
    lines = iter(text.replace("\\\n", " ").splitlines())
    for line in lines:
        whole = line
        while not _is_closed(whole):
            whole += "\n" + next(lines)
        yield whole
        if found := HEREDOC.search(whole):
            while next(lines).strip() != found[1]:
                pass


def _is_closed(line: str) -> bool:
    try:
        _tokens(line)
    except ValueError:
        return False
    return True


def _command(words: list[str]) -> Command | None:
    kept = _without_redirections(words)
    while kept and (ASSIGNMENT.match(kept[0]) or kept[0] in KEYWORDS):
        kept.pop(0)
    if not kept:
        return None
    program = kept[0].rpartition("/")[2]
    if program == "uv" and kept[1:2] == ["run"]:
        rest = kept[2:]
        while rest and rest[0].startswith("-"):
            rest = rest[2:] if rest[0] in {"--group", "--extra"} else rest[1:]
        return _command(rest)
    return Command(program, tuple(kept[1:]))


def _without_redirections(words: list[str]) -> list[str]:
    kept: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if REDIRECTION.fullmatch(word):
            if kept and kept[-1].isdigit():
                kept.pop()
            next(waiting, None)
        else:
            kept.append(word)
    return kept
