"""What the tap assumes of Sage's API, read from `assumptions.toml`. Nothing that a run needs loads it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Grade = Literal["A", "B", "C", "U"]
GRADES: dict[Grade, str] = {
    "A": "Sage's own guides or API description",
    "B": "recorded answers, or a client in production",
    "C": "others' statements, or an inference",
    "U": "unknown: the tap works either way",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """One fact of Sage's API that the tap relies on, or has to be prepared for.

    Attributes:
        id: topic and name, such as `pages.beyond_last`; comments in the code name it.
        statement: the fact, in one sentence.
        grade: how well it is known, a key of `GRADES`.
        source: where that comes from.
        otherwise: what the tap does where Sage behaves otherwise.
        switches: switches of the simulated Sage that make it behave otherwise.
        code: files of the repository that rely on it.
        undecidable: why looking at an account cannot decide it; "" where the doctor has an experiment.
    """

    id: str
    statement: str
    grade: Grade
    source: str
    otherwise: str
    switches: tuple[str, ...]
    code: tuple[str, ...]
    undecidable: str = ""

    @property
    def topic(self) -> str:
        """The first part of the id."""
        return self.id.partition(".")[0]


@cache
def assumptions() -> dict[str, Assumption]:
    """Return all assumptions by their id, in the order of the file."""
    topics = tomllib.loads((files(__package__) / "assumptions.toml").read_text(encoding="utf-8"))
    found = (
        Assumption(
            **{**fact, "id": f"{topic}.{name}", "switches": tuple(fact["switches"]), "code": tuple(fact["code"])}
        )
        for topic, facts in topics.items()
        for name, fact in facts.items()
    )
    return {each.id: each for each in found}
