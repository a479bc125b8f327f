"""An agent in one file: chat completions with a single tool that runs bash commands.

It runs inside the sandbox on whatever Python 3.8 or later it finds there, so it imports nothing
but the standard library. The API key comes in ROLLDOCK_API_KEY and is kept from the commands.

Exit codes: 0 the model is done; 2 wrong usage; 3 the model could not be had.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from typing import IO, Any

SYSTEM_PROMPT = """You are an agent that completes tasks on a Linux machine by running commands.
Use the bash tool; every call starts a new shell in the same work directory. Start services in the
background with their output redirected. Nobody answers questions: decide yourself. Check your
work, and when the task is done, say so without calling a tool."""

BASH_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "bash",
        "description": "Run a command with bash; returns its exit code, stdout and stderr.",
        "parameters": {
            "type": "object",
            "properties": {"command": {"type": "string", "description": "The command."}},
            "required": ["command"],
        },
    },
}

PATIENCE_SECONDS = 90.0
"""How long one request is tried again while no answer can be had."""
FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 10.0
RETRIED_STATUSES = (408, 425, 429)
OUTPUT_HEAD_BYTES = 8_000
OUTPUT_TAIL_BYTES = 16_000
KEPT_FIELDS = ("role", "content", "reasoning_content", "reasoning", "tool_calls")
"""What of a reply goes back to the model; servers refuse other fields of their own."""


class ModelFailure(Exception):
    """Raised when the model server refuses, or does not answer for long."""


class Model:
    """A chat completions endpoint."""

    def __init__(self, base_url: str, name: str, api_key: str, timeout_seconds: float) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._name = name
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds

    def reply(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The assistant message that continues a conversation."""
        body = {"model": self._name, "messages": messages, "tools": [BASH_TOOL]}
        answer = self._post(json.dumps(body).encode(), str(uuid.uuid4()))
        choices = answer.get("choices")
        if not choices:
            raise ModelFailure(f"the reply has no choices: {json.dumps(answer)[:500]}")
        message: dict[str, Any] = choices[0]["message"]
        kept = {key: message[key] for key in KEPT_FIELDS if message.get(key)}
        return {**kept, "role": "assistant", "content": message.get("content")}

    def _post(self, body: bytes, idempotency_key: str) -> dict[str, Any]:
        """One logical request: tried again under the same key while its server is away."""
        delay = FIRST_DELAY_SECONDS
        give_up_at = None
        while True:
            try:
                return self._try(body, idempotency_key)
            except urllib.error.HTTPError as error:
                said = error.read(2000).decode(errors="replace")
                problem = f"HTTP {error.code}: {said}"
                if error.code < 500 and error.code not in RETRIED_STATUSES:
                    raise ModelFailure(problem) from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
            now = time.monotonic()
            give_up_at = give_up_at or now + PATIENCE_SECONDS
            if now >= give_up_at:
                raise ModelFailure(f"no answer for {PATIENCE_SECONDS:.0f} s: {problem}")
            say(f"model: {problem}; trying again in {delay:g} s")
            time.sleep(delay)
            delay = min(delay * 2, MAX_DELAY_SECONDS)

    def _try(self, body: bytes, idempotency_key: str) -> dict[str, Any]:
        request = urllib.request.Request(
            self._url,
            data=body,
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self._api_key}",
                "Idempotency-Key": idempotency_key,
            },
        )
        with urllib.request.urlopen(request, timeout=self._timeout_seconds) as response:
            answer: dict[str, Any] = json.loads(response.read())
            return answer


def run_command(command: str, timeout_seconds: float) -> str:
    """Run a command and describe what came of it.

    Output goes to a file: a service left in the background would keep a pipe open for ever.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            ending = f"exit code {process.wait(timeout_seconds)}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            ending = f"killed after {timeout_seconds:g} s"
        return f"{read_output(output)}\n[{ending}]"


def read_output(output: IO[bytes]) -> str:
    """A file's text, its middle left out where it is long."""
    size = output.seek(0, os.SEEK_END)
    output.seek(0)
    if size <= OUTPUT_HEAD_BYTES + OUTPUT_TAIL_BYTES:
        return output.read(size).decode(errors="replace")
    head = output.read(OUTPUT_HEAD_BYTES)
    output.seek(size - OUTPUT_TAIL_BYTES)
    tail = output.read(OUTPUT_TAIL_BYTES)
    left_out = f"\n[{size - len(head) - len(tail)} bytes left out]\n"
    return head.decode(errors="replace") + left_out + tail.decode(errors="replace")


def answer_call(call: dict[str, Any], timeout_seconds: float) -> str:
    """The result of a tool call; what is wrong with a call is told to the model."""
    function: dict[str, Any] = call.get("function") or {}
    if function.get("name") != "bash":
        return f"there is no tool {function.get('name')!r}: the only one is bash"
    try:
        command = json.loads(function.get("arguments") or "")["command"]
    except (ValueError, KeyError, TypeError):
        return 'the arguments must be a JSON object with "command"'
    if not isinstance(command, str):
        return '"command" must be a string'
    try:
        say(f"$ {command}")
        result = run_command(command, timeout_seconds)
    except (OSError, ValueError) as error:
        # More than the system takes as one argument, or what no argument can hold.
        return f"the command cannot be run: {error}"
    say(result)
    return result


def converse(
    model: Model, system: str, instruction: str, log: IO[str], timeout_seconds: float
) -> None:
    """Let the model act until it has nothing more to do."""
    messages: list[dict[str, Any]] = []

    def add(message: dict[str, Any]) -> None:
        messages.append(message)
        log.write(json.dumps({"at": time.time(), **message}) + "\n")
        log.flush()

    add({"role": "system", "content": system})
    add({"role": "user", "content": instruction})
    while True:
        reply = model.reply(messages)
        add(reply)
        if reply.get("content"):
            say(str(reply["content"]))
        if not reply.get("tool_calls"):
            return
        for call in reply["tool_calls"]:
            result = answer_call(call, timeout_seconds)
            add({"role": "tool", "tool_call_id": call.get("id"), "content": result})


def say(text: str) -> None:
    """Show progress on stdout, which is kept as a log."""
    print(text, flush=True)  # noqa: T201  a program's output


def read_text(path: str) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def main() -> int:
    """Read the command line and run the agent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--instruction", required=True)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--log-dir", required=True)
    parser.add_argument("--system")
    parser.add_argument("--command-timeout", type=float, default=600.0)
    parser.add_argument("--request-timeout", type=float, default=3600.0)
    options = parser.parse_args()
    api_key = os.environ.pop("ROLLDOCK_API_KEY", "")
    system = read_text(options.system) if options.system else SYSTEM_PROMPT
    instruction = read_text(options.instruction)
    model = Model(options.base_url, options.model, api_key, options.request_timeout)
    os.makedirs(options.log_dir, exist_ok=True)
    with open(os.path.join(options.log_dir, "messages.jsonl"), "w", encoding="utf-8") as log:
        try:
            converse(model, system, instruction, log, options.command_timeout)
        except ModelFailure as failure:
            say(f"model failure: {failure}")
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
