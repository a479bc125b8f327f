"""Which frpc runs: the one that the settings name, or Prime's, loaded when it is first needed."""

import shutil

from prime_tunnel import BinaryDownloadError
from prime_tunnel.binary import FRPC_VERSION, get_frpc_path

from rolldock.errors import UnavailableError, UsageError
from rolldock.tunnel.config import FRPC_VARIABLE


def frpc_command(given: tuple[str, ...] | None) -> tuple[str, ...]:
    """The command, its program as a path.

    Raises:
        UsageError: the program that the settings name does not exist.
        UnavailableError: Prime's could not be loaded.
    """
    if given is not None:
        program = shutil.which(given[0])
        if program is None:
            raise UsageError(
                f"{FRPC_VARIABLE}: no program {given[0]!r} here: set it to the path of an frpc, or "
                "unset it for Prime's"
            )
        return (program, *given[1:])
    try:
        return (str(get_frpc_path()),)
    except (BinaryDownloadError, OSError) as error:
        said = " ".join(str(error).split())
        raise UnavailableError(
            f"frpc {FRPC_VERSION} could not be loaded: {said}: bring one onto this machine and set "
            f"{FRPC_VARIABLE} to its path"
        ) from error
