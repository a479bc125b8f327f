"""`rolldock export`: what is chosen, where it goes, and that it appears whole or not at all."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from rolldock.cli.export import ExportRequest, export
from rolldock.cli.filters import Filters
from rolldock.errors import UsageError
from rolldock.exports.documents import Format
from rolldock.models.failure import Failure
from rolldock.store.recordings import delete_recordings
from rolldock.store.store import Store
from tests.exports import filled

ROLLDOCK = Path(sys.executable).with_name("rolldock")
LOST = Failure(stage="grade", cause="sandbox_lost", message="it is gone", retryable=True)
LOGS = {
    "verifier/test-stdout.txt": b"1 passed\n",
    "verifier/reward.txt": b"1\n",
    "agent-stdout.log": b"working\n",
    "artifacts/report.txt": b"done\n",
}
HOSTILE = {
    "../../../escaped.txt": b"a",
    "/etc/escaped.txt": b"b",
    "verifier/../../../../escaped.txt": b"c",
    "result.json": b"not Harbor's",
    "agent/trajectory.json": b"the agent's own",
    "verifier": b"a file where a directory is",
}


def request(*rollouts: str, kind: Format, out: Path | None, **filters: str) -> ExportRequest:
    """An export as the command asks for it."""
    chosen = Filters.model_validate(filters)
    return ExportRequest(rollouts=rollouts, filters=chosen, kind=kind, out=out, as_json=True)


def contents(directory: Path) -> dict[str, bytes]:
    """All files of a directory by their paths in it."""
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def entries(directory: Path) -> set[str]:
    """What stands directly in a directory, hidden files too."""
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("kind", list(Format))
async def test_the_same_export_gives_the_same_bytes(
    store: Store, tmp_path: Path, kind: Format
) -> None:
    """A second export takes the place of the first and differs in nothing."""
    await filled.put(store, artifacts=LOGS)
    await filled.put(store, "grpo-7/12/hello-world/1", failure=LOST, earlier=True, artifacts=LOGS)
    out = tmp_path / ("out.jsonl" if kind is Format.JSONL else "out")
    read = (lambda: {"": out.read_bytes()}) if kind is Format.JSONL else (lambda: contents(out))
    await export(request(kind=kind, out=out, experiment="grpo-7"))
    first = read()
    await export(request(kind=kind, out=out, experiment="grpo-7"))
    assert read() == first
    assert sum(map(len, first.values())) > 1000
    assert entries(tmp_path) == {"store", "home", out.name}


async def test_harbor_has_a_trial_for_each_rollout(store: Store, tmp_path: Path) -> None:
    """Documents, logs and the trajectory stand where Harbor looks; earlier attempts beside them."""
    await filled.put(store, artifacts=LOGS)
    await filled.put(store, "grpo-7/12/hello-world/1", failure=LOST, earlier=True, artifacts=LOGS)
    out = tmp_path / "jobs"
    await export(request(kind=Format.HARBOR, out=out, experiment="grpo-7"))
    job = out / "grpo-7"
    assert (job / "config.json").is_file()
    results = [json.loads(path.read_bytes()) for path in sorted(job.glob("*/result.json"))]
    graded, failed = sorted(results, key=lambda result: result["exception_info"] is not None)
    trial = job / graded["trial_name"]
    assert (trial / "verifier/test-stdout.txt").read_bytes() == b"1 passed\n"
    assert (trial / "verifier/reward.txt").read_bytes() == b"1\n"
    assert (trial / "agent/stdout.log").read_bytes() == b"working\n"
    assert (trial / "artifacts/report.txt").read_bytes() == b"done\n"
    assert json.loads((trial / "agent/trajectory.json").read_bytes())["steps"]
    assert failed["exception_info"]["exception_type"] == "sandbox_lost"
    assert failed["verifier_result"] is None
    assert (job / failed["trial_name"] / "attempts/1/verifier/test-stdout.txt").is_file()
    assert b"of-the-agent" not in (trial / "config.json").read_bytes()


async def test_hostile_names_stay_inside(store: Store, tmp_path: Path) -> None:
    """Names that lead up, that are absolute, or that are ours, become files of the trial."""
    place = tmp_path / "a" / "b" / "c"
    await filled.put(store, task="../../..", artifacts=HOSTILE)
    await export(request("grpo-7/12/hello-world/0", kind=Format.HARBOR, out=place / "jobs"))
    assert entries(tmp_path) == {"store", "a"}
    assert entries(place) == {"jobs"}
    found = contents(place / "jobs")
    kept = [path for path, content in found.items() if content in HOSTILE.values()]
    assert len(kept) == len(HOSTILE)
    (result,) = (path for path in found if path.count("/") == 2 and path.endswith("/result.json"))
    assert json.loads(found[result])["task_name"] == "../../.."


@pytest.mark.parametrize("kind", [Format.ATIF, Format.HARBOR, Format.HTML])
async def test_a_directory_of_others_is_left_alone(
    store: Store, tmp_path: Path, kind: Format
) -> None:
    """An export never takes the place of files that it did not write."""
    await filled.put(store)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds files that no export wrote"):
        await export(request(kind=kind, out=tmp_path / "mine", experiment="grpo-7"))
    assert entries(tmp_path / "mine") == {"thesis.txt"}


async def test_an_export_that_fails_leaves_what_was_there(store: Store, tmp_path: Path) -> None:
    """An unknown id among known ones: the earlier export stands, and nothing half-written."""
    await filled.put(store)
    out = tmp_path / "out"
    await export(request("grpo-7/12/hello-world/0", kind=Format.ATIF, out=out))
    before = contents(out)
    asked = request("grpo-7/12/hello-world/0", "unknown", kind=Format.ATIF, out=out)
    with pytest.raises(UsageError, match="no result of rollout 'unknown'"):
        await export(asked)
    assert contents(out) == before
    assert entries(tmp_path) == {"store", "out"}


async def test_a_freed_artifact_is_counted(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log that the store no longer has is left out, and said to be."""
    result = await filled.put(store, artifacts=LOGS)
    (gone,) = (one.digest for one in result.artifacts if one.name == "artifacts/report.txt")
    (tmp_path / "store" / "blobs" / gone).unlink()
    await export(request(result.rollout, kind=Format.HARBOR, out=tmp_path / "jobs"))
    (missing,) = json.loads(capsys.readouterr().out)["missing"]
    assert missing.endswith("artifacts/report.txt")


async def test_deleted_recordings_are_counted_apart(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a file without a byte, nor silence: who has no conversation is said, and why."""
    gone = await filled.put(store, "x/gone")
    await filled.put(store, "x/silent", trace=False)
    await delete_recordings(store, gone, gone.ended_at)
    both = ("x/gone", "x/silent")
    out = tmp_path / "out.jsonl"
    await export(request(*both, kind=Format.JSONL, out=out))
    told = json.loads(capsys.readouterr().out)
    assert told["recording_deleted"] == ["x/gone"]
    assert told["without_turns"] == ["x/silent"]
    assert (told["rollouts"], told["out"], out.exists()) == (0, None, False)
    asked = request(*both, kind=Format.JSONL, out=out).model_copy(update={"as_json": False})
    await export(asked)
    assert "so " + str(out) + " was not written" in capsys.readouterr().out
    await export(asked.model_copy(update={"out": None}))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "left out, since no model was called: 1; left out, since the recording was deleted: 1\n"
    )
    await export(request(*both, kind=Format.HARBOR, out=tmp_path / "jobs"))
    told = json.loads(capsys.readouterr().out)
    assert (told["rollouts"], told["recording_deleted"]) == (2, ["x/gone"])
    await export(request("x/gone", kind=Format.HTML, out=tmp_path / "gone.html"))
    assert "its recording was deleted after 0 days" in (tmp_path / "gone.html").read_text()


async def test_what_is_chosen_has_to_be_said(store: Store, tmp_path: Path) -> None:
    """Neither ids nor filters, both, or filters that fit nothing: one line says what to do."""
    await filled.put(store)
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="nothing is chosen"):
        await export(request(kind=Format.ATIF, out=out))
    with pytest.raises(UsageError, match="either ids or filters"):
        await export(request("x", kind=Format.ATIF, out=out, experiment="grpo-7"))
    with pytest.raises(UsageError, match="no rollout that has ended fits"):
        await export(request(kind=Format.ATIF, out=out, experiment="another"))


async def test_the_command_writes_to_stdout(store: Store) -> None:
    """Without --out the lines of a chat export go to stdout, and nothing else does."""
    await filled.put(store)
    arguments = [ROLLDOCK, "export", "grpo-7/12/hello-world/0", "--format", "jsonl"]
    done = await asyncio.to_thread(
        subprocess.run, arguments, capture_output=True, timeout=60, check=True
    )
    assert [json.loads(line)["metadata"]["branch"] for line in done.stdout.splitlines()] == [
        *(4, 2, 3, 5)
    ]
