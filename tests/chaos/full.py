"""All chaos scenes, one after another on one stack, and on one more: what `make chaos` runs.

    python -m tests.chaos.full [--only EXPRESSION] [--report FILE]

It goes on after a failure, starts a new stack when a scene leaves one that cannot be used, and
writes its table to docs/chaos.md. Exit code 0 only where every scene was ok.
"""

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from temporalio.service import RPCError

from rolldock.cli.perform import perform_in_order
from rolldock.errors import RolldockError
from tests.chaos.arena import Arena, arena
from tests.chaos.scenes import Scene, all_scenes
from tests.chaos.table import Played, report
from tests.chaos.tunnelled import tunnelled_arena
from tests.chaos.verdict import Outcome

ROOT: Final = Path(__file__).parents[2]
SCENE_SECONDS: Final = 150.0
"""More than any scene's own patience: what takes longer hangs in the harness."""


async def main() -> int:
    """Read the command line and play."""
    parser = argparse.ArgumentParser(description="The full chaos product")
    parser.add_argument("--only", default="", help="only scenes whose name has this expression")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "chaos.md")
    asked = parser.parse_args()
    scenes = [scene for scene in all_scenes() if re.search(asked.only, scene.name)]
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="rolldock-full-chaos-"))
    played = await play_all(scenes, directory)
    asked.report.write_text(report(played, time.monotonic() - began))
    failed = [scene.name for scene, outcome in played if not outcome.ok]
    _say(f"{len(played)} scenes, {len(failed)} failed; the table is in {asked.report}")
    if failed:
        _say(f"the stack's state and logs are in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


async def play_all(scenes: list[Scene], directory: Path) -> list[Played]:
    """Play scenes in order; a new stack whenever one cannot be used any more."""
    scripts = directory / "scripts"
    await asyncio.to_thread(shutil.copytree, ROOT / "tests" / "scripts", scripts)
    played: list[Played] = []
    n_stacks = 0
    while len(played) < len(scenes):
        n_stacks += 1
        needed = tunnelled_arena if scenes[len(played)].tunnel else arena
        async with needed(directory / f"home-{n_stacks}", scripts, _say) as running:
            await _play_on(running, scenes, played)
    return played


async def _play_on(running: Arena, scenes: list[Scene], played: list[Played]) -> None:
    """Play what is left, until the end, a scene for another stack, or one that breaks this one."""
    for scene in scenes[len(played) :]:
        if scene.tunnel is not (running.tunnel is not None):
            return
        outcome, usable = await _play_one(running, scene)
        played.append((scene, outcome))
        verdict = "ok" if outcome.ok else "; ".join(outcome.problems)
        _say(f"{len(played)}/{len(scenes)} {scene.name} {outcome.seconds:.1f} s: {verdict}")
        if not usable:
            return


async def _play_one(running: Arena, scene: Scene) -> tuple[Outcome, bool]:
    """What came of a scene, and whether its stack can be used again."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(SCENE_SECONDS):
            return await scene.play(running), True
    except TimeoutError:
        problem = "the moment was not reached, or the stack did not come back"
    except (RolldockError, RPCError, OSError) as error:
        problem = f"the harness could not go on: {error}"
    return Outcome(problems=(problem,), seconds=time.monotonic() - began), False


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    perform_in_order(main())
