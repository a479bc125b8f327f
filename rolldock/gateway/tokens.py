"""Session tokens: signed, expiring, and the agent's API key. Checked without shared memory."""

import re
import time
from datetime import datetime
from functools import lru_cache
from typing import Final

import jwt

_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "rolldock-session"
_ATTEMPT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def sign_session(secret: bytes, attempt: str, expires_at: datetime) -> str:
    """The token that opens an attempt's session until `expires_at`."""
    claims = {"sub": attempt, "exp": expires_at, "aud": _AUDIENCE}
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def session_of(secret: bytes, token: str) -> str | None:
    """The attempt whose session a token opens; None: forged, expired or not ours."""
    try:
        attempt, expires = _checked(secret, token)
    except jwt.InvalidTokenError:
        return None
    return attempt if expires > time.time() else None


@lru_cache(maxsize=4096)
def _checked(secret: bytes, token: str) -> tuple[str, float]:
    """Attempt and expiry of a token whose signature is good: an agent sends it with every call."""
    claims = jwt.decode(
        token,
        secret,
        algorithms=[_ALGORITHM],
        audience=_AUDIENCE,
        options={"require": ["sub", "exp"], "verify_exp": False},
    )
    attempt: object = claims["sub"]
    expires: object = claims["exp"]
    if not isinstance(attempt, str) or not isinstance(expires, int | float):
        raise jwt.InvalidTokenError
    if not _ATTEMPT.fullmatch(attempt):
        # It becomes a part of names in the store.
        raise jwt.InvalidTokenError
    return attempt, float(expires)
