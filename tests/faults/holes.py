"""An address that takes no connection and says nothing: as a partition, or a firewall that drops."""

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_BACKLOG: Final = 4  # connections until the kernel answers no more; a few are let in beyond those asked for


@contextmanager
def black_hole() -> Iterator[str]:
    """Its URL. The backlog of a listener that never accepts is full, so that each further SYN is dropped."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(_BACKLOG):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/nexla-api"
