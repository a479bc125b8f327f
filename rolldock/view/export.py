"""One rollout as one HTML file that needs nothing else: no server, no network, no script."""

from rolldock.errors import UsageError
from rolldock.store.store import Store
from rolldock.view import words
from rolldock.view.library import Library, recorded_by
from rolldock.view.rendering import render, style_for_a_file
from rolldock.view.rollout import show_rollout
from rolldock.view.session import SessionShown, show_all


async def export_html(store: Store, rollout: str) -> str:
    """The page of a rollout with every attempt's conversation, and the texts that it left.

    Raises:
        UsageError: the store has no result of this rollout.
        UnavailableError: the store does not answer.
    """
    library = Library(store)
    result = await library.result(rollout)
    if result is None:
        raise UsageError(
            f"rollout {rollout!r} has no result in {store.where}: wait for its end, or see "
            "`rolldock ls` for the ids that there are"
        )
    shown = await show_rollout(library, result, with_logs=True)
    sessions: dict[int, SessionShown] = {}
    gone: dict[int, str] = {}
    for attempt in result.attempts:
        session = recorded_by(attempt)
        recorded = await library.recorded(session)
        if recorded is not None:
            sessions[attempt.number] = await show_all(library, recorded)
        elif (deleted := await library.deleted(session)) is not None or attempt.trace is not None:
            gone[attempt.number] = words.gone(deleted)
    style, source = style_for_a_file()
    return render(
        "export.html",
        served=False,
        store=store.where,
        shown=shown,
        sessions=sessions,
        gone=gone,
        temporal_ui=None,
        style=style,
        policy=f"default-src 'none'; style-src {source}; base-uri 'none'; form-action 'none'",
    )
