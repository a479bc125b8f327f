"""A rollout whose every text, name and file wants to be more than text. It never succeeds."""

from typing import Final

from rolldock.models.base import JsonObject
from rolldock.models.result import Stage, Status
from rolldock.models.spec import TaskRef
from rolldock.store.store import Store
from tests.view.records import Talk, assistant, attempt, call, failed, finish, keep, result_of

HOSTILE: Final = "evil/-/@.../0"

SCRIPT = "<script>alert('ran')</script>"
IMAGE = '"><img src=x onerror=alert("ran")>'
LINK = "[click](javascript:alert('ran')) javascript:alert('ran')"
ANSI = "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07 \x1b[2J"
BIDI = "user\u202e gpj.exe\u2066 \u200bhidden \U000e0041\ufeff"
TEMPLATE = "{{ 7 * 7 }} {% raw %} ${7*7} &lt;b&gt; </pre></textarea></title><!-- ]]>"
HOSTILE_TEXT = "\n".join((SCRIPT, IMAGE, LINK, ANSI, BIDI, TEMPLATE))
LONG_LINE = "<b>x</b>" * (5 * 1024 * 1024 // 8)

HOSTILE_TOOLS = (
    b'[{"type":"function","function":{"name":"</code><script>alert(1)</script>",'
    b'"description":"<img src=x onerror=alert(1)>"}}]'
)


async def _hostile_talk(store: Store) -> Talk:
    talk = Talk(store, HOSTILE)
    await talk.open()
    offered = await store.put_blob(HOSTILE_TOOLS)
    hostile_call = call(SCRIPT, IMAGE, **{IMAGE: HOSTILE_TEXT, "n": 1})
    broken: JsonObject = {"name": IMAGE, "arguments": "<not json>"}
    first = await talk.say(
        None,
        [
            {"role": "system", "content": HOSTILE_TEXT},
            {"role": SCRIPT, "name": IMAGE, "content": HOSTILE_TEXT, "extra": {IMAGE: [SCRIPT]}},
            {
                "role": "user",
                "content": [{"type": "text", "text": SCRIPT}, {"type": IMAGE}, SCRIPT],
            },
        ],
        assistant(
            HOSTILE_TEXT,
            hostile_call,
            {"id": "b", "type": "function", "function": broken},
            reasoning_content=HOSTILE_TEXT,
            refusal=SCRIPT,
        ),
        tools_digest=offered,
        finish_reason=SCRIPT,
    )
    await talk.say(
        first,
        [result_of(IMAGE, HOSTILE_TEXT), result_of("b", LONG_LINE)],
        assistant(LONG_LINE),
    )
    await talk.fail(HOSTILE_TEXT)
    return talk


async def put_hostile(store: Store) -> Talk:
    """Write it; its session."""
    talk = await _hostile_talk(store)
    trace = await talk.seal()
    files = {
        f"agent/{IMAGE}.html": f"<html>{SCRIPT}</html>".encode(),
        "agent/../../../etc/passwd": HOSTILE_TEXT.encode(),
        "agent/long.txt": LONG_LINE.encode(),
        f"verifier/{SCRIPT}": HOSTILE_TEXT.encode(),
    }
    one = attempt(
        talk.attempt,
        trace=trace,
        artifacts=await keep(store, files),
        sandbox_id=IMAGE,
        agent_version=SCRIPT,
        failure=failed(Stage.GRADE, SCRIPT, HOSTILE_TEXT[:1900]),
    )
    await finish(
        store,
        HOSTILE,
        [one],
        status=Status.FAILED,
        task=TaskRef(name=IMAGE + SCRIPT, digest="2" * 64),
        experiment="evil",
        ended_after_seconds=60,
    )
    return talk
