"""Conversations as Terminus 2 has them: no tools, keystrokes in JSON or XML, and a screen."""

import json
import re
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

ROLE = "You are an AI assistant tasked with solving command-line tasks in a Linux environment.\n"
HELLO = ROLE + "Create a file named `hello.txt`."
XML = HELLO + "\nEnd with <task_complete>true</task_complete>."
PROMPT = "root@host:/app# "


class Terminal:
    """A conversation in which commands end when they are told to."""

    def __init__(self, client: AsyncOpenAI, opening: str, model: str = "any") -> None:
        self._client = client
        self._model = model
        self.messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": opening}]

    async def ask(self) -> str:
        """The next reply, which becomes part of the conversation."""
        reply = await self._client.chat.completions.create(
            model=self._model, messages=self.messages
        )
        said = reply.choices[0].message.content or ""
        self.messages.append({"role": "assistant", "content": said})
        return said

    def show(self, typed: str, *, ended: bool) -> None:
        """The screen after a command was typed, and after it has ended."""
        output = "".join(f"[{number} ended]\n" for number in re.findall(r"'\[(\d+)' ", typed))
        screen = f"{PROMPT}{typed}\n{output + PROMPT if ended else ''}"
        self.messages.append({"role": "user", "content": f"New Terminal Output:\n{screen}"})


def read(said: str) -> tuple[list[str], bool]:
    """What is typed, and whether the task is said to be done."""
    reply: Any = json.loads(said)
    return [command["keystrokes"] for command in reply["commands"]], reply["task_complete"]


async def test_a_command_is_waited_for(openai_client: AsyncOpenAI) -> None:
    """However often the screen shows that it still runs; then the next turn comes."""
    terminal = Terminal(openai_client, HELLO)
    ([first], done) = read(await terminal.ask())
    assert first.startswith("bash -c 'printf ")
    assert not done
    for _ in range(3):
        terminal.show(first, ended=False)
        assert read(await terminal.ask()) == ([""], False)
    terminal.show(first, ended=True)
    ([second], _) = read(await terminal.ask())
    assert second.startswith("bash -c 'od -c hello.txt'")
    terminal.show(second, ended=True)
    for _ in range(2):
        assert read(await terminal.ask()) == ([], True)
        terminal.messages.append({"role": "user", "content": "Are you sure?"})


async def test_answers_in_xml(openai_client: AsyncOpenAI) -> None:
    """The same for the other form that it may ask for."""
    terminal = Terminal(openai_client, XML)
    said = await terminal.ask()
    typed = re.findall(r'<keystrokes duration="1.0">(.*?)</keystrokes>', said, re.DOTALL)
    assert len(typed) == 1
    assert "<task_complete>false</task_complete>" in said
    terminal.show(typed[0], ended=False)
    assert '<keystrokes duration="1.0"></keystrokes>' in await terminal.ask()
    terminal.show(typed[0], ended=True)
    assert "od -c hello.txt" in await terminal.ask()


async def test_an_error_comes_after_the_command_before_it(openai_client: AsyncOpenAI) -> None:
    """A written error is answered once the screen shows that the turn before has ended."""
    terminal = Terminal(openai_client, HELLO, model="failing")
    ([first], _) = read(await terminal.ask())
    terminal.show(first, ended=False)
    assert read(await terminal.ask()) == ([""], False)
    terminal.show(first, ended=True)
    with pytest.raises(openai.NotFoundError, match="does not exist any more"):
        await terminal.ask()
