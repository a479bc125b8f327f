"""What a live call has passed on so far; whoever delivers it reads from the start."""

import asyncio


class Relay:
    """A growing list of pieces with any number of readers."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._growth: asyncio.Future[None] | None = None

    def push(self, piece: bytes) -> None:
        """Add a piece and wake the readers."""
        self.pieces.append(piece)
        if self._growth is not None:
            self._growth.set_result(None)
            self._growth = None

    def grown(self) -> asyncio.Future[None]:
        """Done at the next push."""
        if self._growth is None or self._growth.done():
            self._growth = asyncio.get_running_loop().create_future()
        return self._growth
