"""Which engine asks for which call."""

from rolldock.gateway.dialects.base import Dialect
from rolldock.gateway.dialects.base_native import NativeDialect
from rolldock.gateway.engines.base import Engine
from rolldock.gateway.engines.chat import ChatEngine
from rolldock.gateway.engines.native import NativeEngine
from rolldock.gateway.engines.tokens import TokensEngine
from rolldock.models.endpoint import Endpoint, EngineMode
from rolldock.store.store import Store


class Engines:
    """The engines of one gateway process."""

    def __init__(self, store: Store) -> None:
        self._chat = ChatEngine()
        self._tokens = TokensEngine(store)

    def of(self, endpoint: Endpoint, dialect: Dialect) -> Engine:
        """The engine for a call of an agent that speaks `dialect`."""
        if isinstance(dialect, NativeDialect):
            return NativeEngine(dialect)
        return self._tokens if endpoint.mode is EngineMode.TOKENS else self._chat
