"""A strict parser of the few Dockerfile instructions that ours use; anything else is an error."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field

KNOWN = {"FROM", "ARG", "ENV", "LABEL", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "ENTRYPOINT"}


class DockerfileError(ValueError):
    """The file has an instruction or a form that is not supported here."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name, and what follows it on its (joined) line."""

    name: str
    text: str

    @property
    def pairs(self) -> dict[str, str]:
        """The key=value pairs of ENV, LABEL and ARG."""
        arguments = {}
        for word in shlex.split(self.text):
            key, equals, value = word.partition("=")
            if not equals and self.name != "ARG":
                raise DockerfileError(f"{self.name} {word}: only key=value is used here")
            arguments[key] = value
        return arguments

    @property
    def words(self) -> list[str]:
        """The words of COPY, EXPOSE, FROM; the JSON array of ENTRYPOINT."""
        if self.name == "ENTRYPOINT":
            try:
                parsed = json.loads(self.text)
            except ValueError as error:
                raise DockerfileError("ENTRYPOINT: only the exec form is used here") from error
            return [str(word) for word in parsed]
        return shlex.split(self.text)


@dataclass
class Stage:
    """One build stage."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, name: str) -> list[Instruction]:
        """Returns its instructions of one kind, in order."""
        return [instruction for instruction in self.instructions if instruction.name == name]

    def environment(self) -> dict[str, str]:
        """Returns every ENV pair."""
        return {key: value for one in self.all("ENV") for key, value in one.pairs.items()}

    def labels(self) -> dict[str, str]:
        """Returns every LABEL pair."""
        return {key: value for one in self.all("LABEL") for key, value in one.pairs.items()}


def parse(text: str) -> list[Stage]:
    """Returns the stages of a Dockerfile. Raises DockerfileError for an instruction that is not in KNOWN."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(kept))
    stages: list[Stage] = []
    for line in joined.splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        if name not in KNOWN:
            raise DockerfileError(f"{name} is not an instruction that is used here")
        if name == "FROM":
            words = rest.split()
            if len(words) == 3 and words[1] == "AS":
                stages.append(Stage(words[0], words[2]))
            elif len(words) == 1:
                stages.append(Stage(words[0], ""))
            else:
                raise DockerfileError(f"FROM {rest}")
        elif not stages:
            raise DockerfileError(f"{name} before FROM")
        else:
            stages[-1].instructions.append(Instruction(name, rest.strip()))
    return stages
