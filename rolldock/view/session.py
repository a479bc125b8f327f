"""One session as a page shows it: a branch of its conversation, and the way to the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from pydantic import JsonValue

from rolldock.models.session import TurnError
from rolldock.view.branches import Segment, Tree
from rolldock.view.conversation import TurnShown, converse, with_errors
from rolldock.view.library import Library, Recorded

TURNS_A_PAGE: Final = 50
_MAX_SEGMENTS: Final = 400


@dataclass(frozen=True)
class Tool:
    """A tool that the agent offered to the model."""

    name: str
    description: str


@dataclass(frozen=True)
class Branch:
    """Turns of one branch, or a page of them."""

    segment: Segment | None
    """None: the branch is a whole path."""
    entries: Sequence[TurnShown | TurnError]


@dataclass(frozen=True)
class SessionShown:
    """A session."""

    recorded: Recorded
    branches: Sequence[Branch]
    outline: Sequence[Segment]
    """Where to find the other branches; empty where there is one only."""
    n_outline_left_out: int
    leaf: int | None
    on_path: frozenset[int]
    tools: Mapping[str, Sequence[Tool]]
    """By the digest that the turns name."""
    page: int = 1
    n_pages: int = 1

    @property
    def input_tokens(self) -> int:
        """Of all turns, as the model server counted them."""
        return sum(turn.usage.input_tokens for turn in self.recorded.trace.turns)

    @property
    def output_tokens(self) -> int:
        """Of all turns, as the model server counted them."""
        return sum(turn.usage.output_tokens for turn in self.recorded.trace.turns)


async def show_branch(
    library: Library, recorded: Recorded, leaf: int | None, page: int
) -> SessionShown:
    """One branch, so many turns of it; `leaf`: any turn of it, None: the main one."""
    tree = Tree(recorded.trace.turns, recorded.trace.auxiliary)
    end = tree.main_end
    if leaf is not None and leaf in tree.turns and leaf != end:
        end = tree.best_leaf(leaf)
    path = [] if end is None else tree.path(end)
    n_pages = max(1, -(-len(path) // TURNS_A_PAGE))
    page = min(max(page, 1), n_pages)
    part = range((page - 1) * TURNS_A_PAGE, min(page * TURNS_A_PAGE, len(path)))
    shown = converse(recorded, tree, path, part)
    first = path[part.start] if page > 1 else 0
    beyond = path[part.stop] if page < n_pages else None
    entries = with_errors(shown, recorded.trace.errors, first, beyond)
    outline = tree.outline()
    return SessionShown(
        recorded=recorded,
        branches=(Branch(None, entries),),
        outline=outline[:_MAX_SEGMENTS] if len(outline) > 1 else (),
        n_outline_left_out=max(0, len(outline) - _MAX_SEGMENTS),
        leaf=end,
        on_path=frozenset(path),
        tools=await _tools(library, shown),
        page=page,
        n_pages=n_pages,
    )


async def show_all(library: Library, recorded: Recorded) -> SessionShown:
    """Every branch, each turn once."""
    tree = Tree(recorded.trace.turns, recorded.trace.auxiliary)
    outline = tree.outline()
    branches: list[Branch] = []
    for segment in outline:
        shown = converse(recorded, tree, segment.slots)
        branches.append(Branch(segment if len(outline) > 1 else None, shown))
    errors = recorded.trace.errors
    if len(branches) == 1 and errors:
        turns = [entry for entry in branches[0].entries if isinstance(entry, TurnShown)]
        branches = [Branch(None, with_errors(turns, errors, 0, None))]
    elif errors:
        branches.append(Branch(None, errors))
    turns = [entry for one in branches for entry in one.entries if isinstance(entry, TurnShown)]
    return SessionShown(
        recorded=recorded,
        branches=tuple(branches),
        outline=outline if len(outline) > 1 else (),
        n_outline_left_out=0,
        leaf=tree.main_end,
        on_path=frozenset(),
        tools=await _tools(library, turns),
    )


async def _tools(library: Library, turns: Sequence[TurnShown]) -> dict[str, list[Tool]]:
    found: dict[str, list[Tool]] = {}
    for digest in dict.fromkeys(shown.turn.tools_digest for shown in turns):
        content = None if digest is None else await library.blob(digest)
        if digest is not None and content is not None:
            found[digest] = _read_tools(content)
    return found


def _read_tools(content: bytes) -> list[Tool]:
    try:
        read: JsonValue = orjson.loads(content)
    except orjson.JSONDecodeError:
        return []
    return [_tool(one) for one in read] if isinstance(read, list) else []


def _tool(tool: JsonValue) -> Tool:
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return Tool("?", "")
    description = function.get("description")
    named = function.get("name") or function.get("type") or "?"
    return Tool(str(named), description if isinstance(description, str) else "")
