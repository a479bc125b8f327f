"""What Temporal is told of a rollout: summaries, details and heartbeats, read over its API."""

import asyncio
import json
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from rolldock.gateway.progress import Progress
from tests.temporal_ui.conftest import Scene

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def details(scene: Scene, rollout: str) -> str:
    """The current details, as the UI asks for them."""
    handle = scene.client.temporal.get_workflow_handle(rollout)
    found = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return found.current_details


async def test_a_running_rollout_tells_its_turns(scene: Scene) -> None:
    """The heartbeat of await_agent carries turns, tokens and the last tool call."""
    handle = scene.client.temporal.get_workflow_handle(scene.running.id)
    told: Any = {}
    async with asyncio.timeout(60):
        while told.get("turns") != 3:
            await asyncio.sleep(0.2)
            pending = (await handle.describe()).raw_description.pending_activities
            sent = [payload for one in pending for payload in one.heartbeat_details.payloads]
            told = json.loads(sent[0].data) if sent else {}
    progress = Progress.model_validate(told)
    assert progress.last_tool_call is not None
    assert progress.last_tool_call.startswith('bash {"command": "while [ ! -e /app/go ]')
    assert min(progress.input_tokens, progress.output_tokens) > 0
    assert (progress.errors, progress.unanswered, progress.slots) == (0, (), 3)


async def test_the_details_say_where_a_rollout_is(scene: Scene) -> None:
    """Stage, attempt, the stages behind it, and the commands that show more."""
    said = await details(scene, scene.running.id)
    assert said.startswith("**await\\_agent** · attempt 1 of 3")
    assert "- create\\_sandbox: " in said
    assert f"`rolldock show {scene.running.id}`" in said


async def test_the_details_say_how_a_rollout_ended(scene: Scene) -> None:
    """Reward and turns of a graded one; stage, cause and message of a failed one."""
    graded, failed = [
        await details(scene, result.rollout) for result in (scene.graded, scene.failed)
    ]
    assert "**completed** · reward 1, agent\\_completed, " in graded
    assert "**failed** · failed in grade\\: reward\\_invalid\\: the tests wrote neither" in failed


async def test_a_replay_says_of_what(scene: Scene) -> None:
    """Its summary and its details name the rollout that it replays, and from where."""
    said = f"replay of {scene.graded.rollout} from start"
    handle = scene.client.temporal.get_workflow_handle(scene.replayed.rollout)
    assert said in str(await (await handle.describe()).static_summary())
    assert said in (await details(scene, scene.replayed.rollout)).replace("\\", "")
