"""A history so far as bytes: what is not numbers as JSON, the points of the newest window as they are.

"TBH2"; the lengths of two texts, 4 bytes each; the texts, which are JSON: what the history is about, and what was
found before the newest window, or nothing; 8 bytes for each point; and, where hosts are told, 2 bytes for each point:
which of the names in the first text. Numbers are little endian.
"""

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tesserabench.analysis.changepoints.assembly import Assembly
from tesserabench.analysis.changepoints.model import (
    ChangePoint,
    Drift,
    Kind,
    NoiseClass,
    Segment,
    Settings,
    Status,
    Transient,
)

_MARK = b"TBH2"
_HEAD = struct.Struct("<4sII")
_NUMBER, _HOST = "<f8", "<u2"


@dataclass(slots=True, kw_only=True)
class State:
    """What is kept of a history."""

    settings: Settings
    count: int
    """Points, with those that have no value."""
    begin: int
    """How many points with a value there are before the window."""
    places: list[int]
    """The index in the history of each point of the window."""
    raw: list[float]
    hosts: list[str] | None
    frozen: Assembly
    frozen_text: bytes
    """`frozen` as it is written."""


def text_of(frozen: Assembly) -> bytes:
    """What was found before the newest window, as JSON; empty when nothing was before."""
    if not frozen.segments and not frozen.open_from and not frozen.transients:
        return b""
    text = json.dumps(
        {
            "segments": [asdict(one) for one in frozen.segments],
            "changes": [asdict(one) for one in frozen.changes],
            "drifts": [asdict(one) for one in frozen.drifts],
            "transients": [asdict(one) for one in frozen.transients],
            "open_from": frozen.open_from,
        },
        separators=(",", ":"),
    )
    return text.encode()


def pack(state: State) -> bytes:
    """The bytes of a state; a history of 256 points has about 2300."""
    head: dict[str, Any] = {
        "settings": [state.settings.smallest_change, state.settings.strictness],
        "count": state.count,
        "begin": state.begin,
        "points": len(state.raw),
    }
    if state.places and state.places[-1] - state.places[0] + 1 == len(state.places):
        head["first"] = state.places[0]
    else:
        head["places"] = state.places
    numbers = [np.array(state.raw, dtype=_NUMBER).tobytes()]
    if state.hosts is not None:
        names = {name: number for number, name in enumerate(dict.fromkeys(state.hosts))}
        head["hosts"] = list(names)
        numbers.append(np.array([names[name] for name in state.hosts], dtype=_HOST).tobytes())
    told = json.dumps(head, separators=(",", ":")).encode()
    return b"".join((_HEAD.pack(_MARK, len(told), len(state.frozen_text)), told, state.frozen_text, *numbers))


def unpack(packed: bytes) -> State:
    """What `pack` wrote.

    Raises:
        ValueError: it is of another version or damaged; the whole history must be analysed again.
    """
    if packed[: len(_MARK)] != _MARK or len(packed) < _HEAD.size:
        raise ValueError(f"state of a history begins with {packed[:4]!r}, not {_MARK!r}; analyse it anew")
    _, told, found = _HEAD.unpack_from(packed)
    text, end = packed[_HEAD.size + told : _HEAD.size + told + found], _HEAD.size + told + found
    head: dict[str, Any] = json.loads(packed[_HEAD.size : _HEAD.size + told])
    points, names = head["points"], head.get("hosts")
    if len(packed) != end + points * (8 if names is None else 10):
        raise ValueError(f"state of a history has {len(packed)} bytes, not those of {points} points; analyse it anew")
    raw: list[float] = np.frombuffer(packed, _NUMBER, points, end).tolist()
    hosts = None
    if names is not None:
        hosts = [names[number] for number in np.frombuffer(packed, _HOST, points, end + 8 * points).tolist()]
    places = head["places"] if "places" in head else list(range(head["first"], head["first"] + points))
    smallest, strictness = head["settings"]
    return State(
        settings=Settings(smallest_change=smallest, strictness=strictness),
        count=head["count"],
        begin=head["begin"],
        places=places,
        raw=raw,
        hosts=hosts,
        frozen=_frozen(json.loads(text)) if text else Assembly(),
        frozen_text=text,
    )


def _frozen(read: dict[str, Any]) -> Assembly:
    return Assembly(
        segments=[Segment(**{**one, "noise": NoiseClass(one["noise"])}) for one in read["segments"]],
        changes=[
            ChangePoint(**{**one, "status": Status(one["status"]), "kind": Kind(one["kind"])})
            for one in read["changes"]
        ],
        drifts=[Drift(**one) for one in read["drifts"]],
        transients=[Transient(**one) for one in read["transients"]],
        open_from=read["open_from"],
    )
