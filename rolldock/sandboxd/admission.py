"""What a create may ask of this server. Everything else is refused, with what to do instead."""

from rolldock.errors import UsageError
from rolldock.sandboxd.network import GATEWAY_HOST, is_closed
from rolldock.sandboxd.records import HOST_IMAGE, CreateRequest


class RequestRefusedError(UsageError):
    """Raised when a request is understood and this server cannot do what it asks."""


def check_request(request: CreateRequest) -> None:
    """Accept a create, or say why not.

    Raises:
        RequestRefusedError: it asks for what this server does not have.
    """
    for is_asked, detail in (
        (
            request.checkpoint_id is not None and request.docker_image is not None,
            "checkpoint_id and docker_image: a sandbox is made of one of them, leave out the other",
        ),
        (request.gpu_count > 0, f"gpu_count {request.gpu_count}: there are no GPUs: leave it at 0"),
        (bool(request.volumes), "volumes are not supported: leave them out"),
        (request.start_command is not None, "start_command is not supported: start a process"),
        (request.idle_timeout_minutes is not None, "idle_timeout_minutes is not supported"),
        (
            not (request.network_allowlist is None or is_closed(request.network_allowlist))
            or request.network_denylist is not None,
            "network lists are not supported: give network_allowlist [] for no network beside "
            f"the gateway, which is at {GATEWAY_HOST} in every sandbox and not behind a tunnel, or "
            "neither list for a public one",
        ),
    ):
        if is_asked:
            raise RequestRefusedError(detail)
    if request.checkpoint_id is None and request.docker_image != HOST_IMAGE:
        raise RequestRefusedError(
            f"image {request.docker_image!r}: this sandboxd has only the root of its machine: "
            "pass `--image host` to run there instead"
        )
