"""A YAML document whose every value knows its line and its field, so that a mistake can be shown where it stands."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from tesserabench.analysis.rules.errors import PolicyError, Problem

LARGEST_FILE_BYTES = 256 * 1024
_LONGEST_SHOWN = 60


class Mistake(Exception):  # noqa: N818 - it is one of many, and never leaves the package
    """A value is wrong."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value with its place. `content` is a text, number, truth value, None, tuple of values, or mapping of them."""

    field: str
    line: int
    content: Any

    def mistake(self, remedy: str) -> Mistake:
        """The mistake that this value is: names it, and what to write instead."""
        return Mistake(Problem(line=self.line, field=self.field, message=f"{self.shown()}: {remedy}"))

    def shown(self) -> str:
        """The value as an error shows it."""
        if isinstance(self.content, dict):
            return "a mapping" if self.content else "an empty mapping"
        if isinstance(self.content, tuple):
            return f"a list of {len(self.content)}"
        text = "nothing" if self.content is None else repr(self.content)
        return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"

    def mapping(self) -> dict[str, "Value"]:
        """Its values by key.

        Raises:
            Mistake: it is no mapping.
        """
        if not isinstance(self.content, dict):
            raise self.mistake("write 'key: value' lines here")
        return self.content

    def items(self) -> tuple["Value", ...]:
        """Its items; one that stands alone counts as a list of one.

        Raises:
            Mistake: it is a mapping or nothing.
        """
        if isinstance(self.content, tuple):
            return self.content
        if self.content is None or isinstance(self.content, dict):
            raise self.mistake("give one value, or a list of them")
        return (self,)


def near(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that looks most like this one; what is known when none does."""
    words = list(known)
    plain = word.replace("_", "-").lower()
    close = [plain] if plain in words else difflib.get_close_matches(plain, words, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(words)}"


def read_document(text: str, *, source: str) -> Value:
    """The document in a YAML text.

    Raises:
        PolicyError: it is no single YAML document, or too large for a policy.
    """
    if len(text) > LARGEST_FILE_BYTES:
        message = f"{len(text)} characters are more than a policy has; at most {LARGEST_FILE_BYTES} are read"
        raise PolicyError(source, (Problem(line=0, field="", message=message),))
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            message = "it is empty; begin with 'apiVersion', 'kind: Policy' and 'rules'"
            raise PolicyError(source, (Problem(line=1, field="", message=message),))
        problems: list[Problem] = []
        document = _value(node, "", loader, problems, depth=0)
    except yaml.YAMLError as error:
        raise PolicyError(source, (_syntax(error),)) from error
    except RecursionError as error:
        message = "brackets are nested too deep for a policy"
        raise PolicyError(source, (Problem(line=0, field="", message=message),)) from error
    if problems:
        raise PolicyError(source, tuple(problems))
    return document


class _Loader(yaml.SafeLoader):
    """Reads dates and times as the texts that they are: no date of this file is to be guessed."""

    values = 0
    """How many were read, each alias with all that it stands for: a few lines of aliases can stand for billions."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

_DEEPEST = 8
_MOST_ITEMS = 2000
_MOST_VALUES = 50_000


def _value(node: yaml.Node, field: str, loader: _Loader, problems: list[Problem], *, depth: int) -> Value:
    line = node.start_mark.line + 1
    loader.values += 1
    too_long = len(node.value) > (_MOST_ITEMS if not isinstance(node, yaml.ScalarNode) else 10_000)
    if depth > _DEEPEST or too_long or loader.values > _MOST_VALUES:
        raise PolicyError("policy", (Problem(line=line, field=field, message="too deep or too long for a policy"),))
    if isinstance(node, yaml.MappingNode):
        return Value(field=field, line=line, content=dict(_pairs(node, field, loader, problems, depth)))
    if isinstance(node, yaml.SequenceNode):
        items = tuple(
            _value(item, f"{field}[{index}]", loader, problems, depth=depth + 1)
            for index, item in enumerate(node.value)
        )
        return Value(field=field, line=line, content=items)
    return Value(field=field, line=line, content=_scalar(node, field, loader, problems))


def _scalar(node: yaml.Node, field: str, loader: _Loader, problems: list[Problem]) -> Any:
    try:
        return loader.construct_object(node)
    except (ValueError, KeyError, AttributeError):
        # What the library raises for numbers of thousands of digits, and for tags that the text does not bear out.
        shown = node.value if len(node.value) <= _LONGEST_SHOWN else node.value[:_LONGEST_SHOWN] + "…"
        message = f"{shown!r} cannot be read as {node.tag.rpartition(':')[2]}; put it in quotes if it is a text"
        problems.append(Problem(line=node.start_mark.line + 1, field=field, message=message))
        return None


def _pairs(
    node: yaml.MappingNode, field: str, loader: _Loader, problems: list[Problem], depth: int
) -> Iterator[tuple[str, Value]]:
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(Problem(line=line, field=field, message="a key is no text; write 'key: value' lines"))
            continue
        key = str(key_node.value)
        path = f"{field}.{key}" if field else key
        if key in seen:
            message = f"it stands in line {seen[key]} already; keep one of the two"
            problems.append(Problem(line=line, field=path, message=message))
            continue
        seen[key] = line
        value = _value(value_node, path, loader, problems, depth=depth + 1)
        # An empty value has its mark where the next key begins.
        yield key, Value(field=path, line=line if value.content is None else value.line, content=value.content)


def _syntax(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    place = f" at column {mark.column + 1}" if mark else ""
    message = f"no valid YAML{place}: {problem}; correct the line, and put texts with * ? ! : in quotes"
    return Problem(line=mark.line + 1 if mark else 0, field="", message=message)
