"""Session tokens: signed, expiring, and the agent's API key. Checked without shared memory."""

from datetime import datetime
from typing import Final

import jwt

_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "rolldock-session"


def sign_session(secret: bytes, attempt: str, expires_at: datetime) -> str:
    """The token that opens an attempt's session until `expires_at`."""
    claims = {"sub": attempt, "exp": expires_at, "aud": _AUDIENCE}
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def session_of(secret: bytes, token: str) -> str | None:
    """The attempt whose session a token opens; None: forged, expired or not ours."""
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": ["sub", "exp"]},
        )
    except jwt.InvalidTokenError:
        return None
    attempt: object = claims["sub"]
    return attempt if isinstance(attempt, str) else None
