"""What a supervised process is: its command, its variables, and how it shows that it is ready."""

from pydantic import Field

from rolldock.models.base import Contract


class Program(Contract):
    """A process of the stack, not yet running."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str] = Field(repr=False)
    """All its variables; configuration with secrets is here, never in the command."""
    ready_line: str | None = None
    """How the line begins that it prints once it serves; None: its port accepts."""
    port: int | None = None
    stop_seconds: float = 10
    """How long it may take to end after SIGTERM."""
