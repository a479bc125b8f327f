"""One store with a rollout of every kind that the pages tell apart, hostile ones among them."""

from dataclasses import dataclass
from datetime import timedelta

from rolldock.models.base import JsonObject
from rolldock.models.replay import Divergence, Replayed, ReplayFrom, ReplayPoint
from rolldock.models.result import Stage, Status, StopReason
from rolldock.models.spec import AgentRef, TaskRef
from rolldock.store import keys
from rolldock.store.store import Store
from tests.recording import BODY
from tests.view.hostile import put_hostile
from tests.view.records import (
    BEGAN,
    Talk,
    assistant,
    attempt,
    call,
    failed,
    finish,
    keep,
    result_of,
    sampled,
)

GOOD = "grpo-7/12/fix-parser/0"
LOST = "grpo-7/12/fix-parser/1"
REPLAY = "grpo-7/12/fix-parser/0@replay-1"
PLAIN = "eval/hello-world/nop/0"

TEST_OUTPUT = (
    "\x1b[32m✓\x1b[0m parses an empty list\n"
    "\x1b[32m✓\x1b[0m parses nested lists\n"
    "\x1b[32m✓\x1b[0m keeps trailing commas\n\n"
    "3 passed in 0.41s\n"
)
SOURCE = '''def parse(text: str) -> list[object]:
    """Parse a list; a trailing comma is allowed."""
    tokens = tokenize(text)
    expect(tokens, "[")
    items: list[object] = []
    while peek(tokens) != "]":
        items.append(parse_value(tokens))
        if peek(tokens) != ",":
            break
        advance(tokens)
    expect(tokens, "]")
    return items
'''


BEGIN: tuple[JsonObject, ...] = (
    {"role": "system", "content": "You are a careful engineer.\n" + "Rules follow.\n" * 90},
    {
        "role": "user",
        "content": "The parser drops trailing commas. Mend it; tests are in\n`/app/tests`. Change "
        "nothing else.",
    },
)
DIFF = "--- recorded\n+++ asked\n@@ -1 +1 @@\n-It is 09:30.\n+It is 10:31.\n"
FINAL = "All three tests pass. A trailing comma is kept now, and nothing else changed."
TOOLS = (
    b'[{"type":"function","function":{"name":"bash","description":"Run a command."}},'
    b'{"type":"function","function":{"name":"edit","description":"Replace text."}}]'
)
LOST_TIMINGS = {
    "create_sandbox": 3.1,
    "set_up_sandbox": 7.4,
    "start_agent": 0.9,
    "await_agent": 21.2,
}


@dataclass(frozen=True)
class Shelf:
    """The filled store."""

    store: Store
    good: Talk
    """Sealed, with three branches, of which one stands beside the conversation."""
    hostile: Talk
    live: Talk
    """Not sealed; its last call has no answer."""
    diverged: Talk


async def fill(store: Store) -> Shelf:
    """Write everything."""
    good = await _good(store)
    hostile = await put_hostile(store)
    live = await _live(store)
    diverged = await _replay(store, good)
    await _lost(store)
    agent = AgentRef(name="nop")
    task = TaskRef(name="hello-world", digest="1" * 64)
    await finish(
        store,
        PLAIN,
        [attempt("0b7f2f0e-0000-4000-8000-000000000001")],
        rewards={"reward": 0.0},
        ended_after_seconds=10,
        agent=agent,
        task=task,
        endpoint=None,
        experiment="eval",
    )
    return Shelf(store, good, hostile, live, diverged)


async def _good_talk(store: Store) -> Talk:
    talk = Talk(store, GOOD)
    await talk.open()
    offered = await store.put_blob(TOOLS)
    tokens, reply = sampled("I", " will", " read", " the", " parser", " first", ".")
    body = BODY.model_copy(update={"fields": reply})
    await talk.say(
        None,
        [{"role": "user", "content": "Give this conversation a title of at most 6 words."}],
        assistant("Mending the parser's trailing commas"),
    )
    first = await talk.say(
        None,
        BEGIN,
        assistant(
            "I will read the parser first.",
            call("bash", "call_1", command="cd /app && ls -la && cat parser.py", timeout=120),
            reasoning_content="The tests name trailing commas. The loop most likely stops at `,` "
            "and expects a value after it. Read before writing.",
        ),
        tools_digest=offered,
        tokens=tokens,
        reply=body,
    )
    second = await talk.say(
        first,
        [result_of("call_1", "total 12\n-rw-r--r-- 1 root root 388 parser.py\n\n" + SOURCE)],
        assistant(
            "The loop breaks before the comma is taken.",
            call(
                "edit",
                "call_2",
                path="/app/parser.py",
                old='        if peek(tokens) != ",":\n            break\n        advance(tokens)',
                new='        if not accept(tokens, ","):\n            break',
            ),
            call("bash", "call_3", command="python -m pytest -q /app/tests"),
        ),
        tools_digest=offered,
    )
    await _end_in_two_ways(talk, second, offered)
    return talk


async def _end_in_two_ways(talk: Talk, second: int, offered: str) -> None:
    await talk.fail("the model server answered HTTP 500: CUDA out of memory")
    third = await talk.say(
        second,
        [result_of("call_2", "edited"), result_of("call_3", "3 passed in 0.41s")],
        assistant(FINAL),
        tools_digest=offered,
    )
    await talk.say(
        second,
        [result_of("call_2", "edited"), {"role": "user", "content": "Hold on: show me the diff."}],
        assistant("Here it is: two lines became one."),
        tools_digest=offered,
        replayed=Replayed(attempt="0b7f2f0e-0000-4000-8000-00000000000a", slot=7),
    )
    await talk.say(
        third,
        [{"role": "user", "content": "Thank you."}],
        assistant("You are welcome."),
        tools_digest=offered,
    )


async def _good(store: Store) -> Talk:
    talk = await _good_talk(store)
    trace = await talk.seal()
    files = {
        "agent/stdout.log": b"opencode 1.14.2\nsession began\n" * 40,
        "agent/core.bin": bytes(range(256)) * 8,
        "verifier/reward.txt": b"1\n",
        "verifier/test-stdout.txt": TEST_OUTPUT.encode(),
    }
    first_try = attempt(
        "0b7f2f0e-0000-4000-8000-000000000002",
        1,
        stage=Stage.AWAIT_AGENT,
        stop_reason=StopReason.INFRASTRUCTURE,
        agent_exit_code=None,
        timings=LOST_TIMINGS,
        ended_at=BEGAN + timedelta(seconds=34),
        failure=failed(
            Stage.AWAIT_AGENT, "sandbox_lost", "sandbox sbx-1f3a9c answered 404 while in use"
        ),
    )
    last = attempt(talk.attempt, 2, trace=trace, artifacts=await keep(store, files))
    await finish(store, GOOD, [first_try, last], group="12/fix-parser")
    return talk


async def _live(store: Store) -> Talk:
    talk = Talk(store, "grpo-7/13/fix-parser/0")
    await talk.open()
    first = await talk.say(
        None,
        [{"role": "user", "content": "Count the files."}],
        assistant("", call("bash", "call_1", command="ls | wc -l")),
    )
    await talk.say(first, [result_of("call_1", "17\n")], assistant("There are 17 files."))
    await talk.ask()
    return talk


async def _replay(store: Store, origin: Talk) -> Talk:
    talk = Talk(store, REPLAY)
    await talk.open()
    await talk.say(
        None,
        [{"role": "user", "content": "The parser drops trailing commas. It is 10:31."}],
        assistant("I will read the parser first."),
        replayed=Replayed(attempt=origin.attempt, slot=1),
    )
    await talk.fail(
        "the agent asked something else than was recorded, at messages[1].content",
        status=409,
        upstream_status=None,
        divergence=Divergence(
            slot=1,
            recorded_slot=2,
            turn=1,
            field="messages[1].content",
            recorded="It is 09:30.",
            asked="It is 10:31.",
            diff=DIFF,
        ),
    )
    one = attempt(
        talk.attempt,
        trace=await talk.seal(),
        failure=failed(
            Stage.AWAIT_AGENT, "replay_diverged", "turn 1 differs at messages[1].content"
        ),
    )
    await finish(
        store,
        REPLAY,
        [one],
        status=Status.FAILED,
        replay_of=GOOD,
        replay=ReplayPoint(kind=ReplayFrom.RECORDING, attempt=origin.attempt),
        ended_after_seconds=200,
    )
    await store.create(keys.replay(GOOD, REPLAY), REPLAY.encode())
    return talk


async def _lost(store: Store) -> None:
    tries = [
        attempt(
            f"0b7f2f0e-0000-4000-8000-00000000001{number}",
            number,
            stage=Stage.CREATE_SANDBOX,
            stop_reason=StopReason.INFRASTRUCTURE,
            sandbox_id=None,
            agent_exit_code=None,
            timings={"create_sandbox": 30.5},
            ended_at=BEGAN + timedelta(seconds=64 * number - 33),
            failure=failed(
                Stage.CREATE_SANDBOX, "sandbox_unavailable", "the sandbox API answered HTTP 503"
            ),
        )
        for number in (1, 2, 3)
    ]
    await finish(store, LOST, tries, status=Status.FAILED, ended_after_seconds=220)
