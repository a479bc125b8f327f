"""The pages' addresses: one place that joins them, and one that reads what they ask for."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode


def rollout(id: str) -> str:
    """A rollout's page."""
    return f"/rollout/{_path(id)}"


def trace(attempt: str, leaf: int | None = None, page: int = 1) -> str:
    """An attempt's conversation, by the branch that ends in `leaf`."""
    return _asking(f"/trace/{_path(attempt)}", leaf=leaf, page=None if page == 1 else page)


def turn(attempt: str, slot: int) -> str:
    """A turn as JSON, whole."""
    return f"/turn/{_path(attempt)}/{slot}"


def tokens(attempt: str, slot: int) -> str:
    """The sampled tokens of a turn."""
    return f"/tokens/{_path(attempt)}/{slot}"


def file(id: str, attempt: int, name: str, form: str = "") -> str:
    """A file that an attempt left: a page, or with a form `raw` or `download` the file itself."""
    return _asking(f"/file/{_path(id)}", attempt=attempt, name=name, form=form or None)


def rollouts(**asked: str | int | None) -> str:
    """The list, filtered and sorted."""
    return _asking("/", **asked)


def temporal(ui: str | None, namespace: str, id: str) -> str | None:
    """A rollout in the Temporal UI; None: nobody has said where that is."""
    if ui is None or not ui.startswith(("http://", "https://")):
        return None
    return f"{ui.rstrip('/')}/namespaces/{quote(namespace)}/workflows/{quote(id, safe='')}"


def whole_number(query: Mapping[str, str], name: str, otherwise: int) -> int:
    """A number of a query, 0 or more; what is none is as good as not given."""
    value = query.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else otherwise


def _path(name: str) -> str:
    return quote(name, safe="/@")


def _asking(place: str, **asked: str | int | None) -> str:
    given = {name: value for name, value in asked.items() if value not in (None, "")}
    return f"{place}?{urlencode(given)}" if given else place
