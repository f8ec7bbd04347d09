"""The sending half of `vault_asc.engine.calls`: answers within the windows that the peer leaves, in few writes.

What is added within one turn of the event loop goes out in one write: TLS and the kernel cost more than the answer.
"""

import asyncio
from typing import Final

from h2.connection import H2Connection

from vault_asc.engine import frames

_LATE: Final = 0.02  # seconds
_WINDOW_MAX: Final = 2**31 - 1


class _Waiting:
    """An answer of which a part has no window yet."""

    __slots__ = ("at", "data", "window")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.window = 0  # beyond the one that each stream begins with


class Sending:
    """What goes out on one connection, beside what h2 sends itself."""

    def __init__(self, h2: H2Connection, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._h2 = h2
        self._transport = transport
        self._loop = loop
        self._out: list[bytes] = []
        self._late: list[bytes] = []
        self._waiting: dict[int, _Waiting] = {}

    def add(self, data: bytes) -> None:
        """Send whole frames that need no window, with whatever else goes out in this turn."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def add_soon(self, data: bytes) -> None:
        """Send whole frames with the next ones, at the latest in 20 ms.

        For answers to PINGs: Go sends one after each of our answers unless one is open, and each would cost as much as
        a call does.
        """
        self._late.append(data)
        if len(self._late) == 1:
            self._loop.call_later(_LATE, self._send_late)

    def _send_late(self) -> None:
        if self._late:
            self.add(b"")

    def answer(self, stream: int, message: bytes) -> None:
        """Send the answer of a unary call."""
        data = b"\x00" + len(message).to_bytes(4, "big") + message
        size, h2 = len(data), self._h2
        window = min(h2.outbound_flow_control_window, h2.remote_settings.initial_window_size)
        if size <= min(window, h2.max_outbound_frame_size):
            h2.outbound_flow_control_window -= size
            whole = frames.opening(stream), frames.frame(frames.DATA, 0, stream, data), frames.closing(stream)
            self.add(b"".join(whole))
            return
        self.add(frames.opening(stream))
        self._waiting[stream] = _Waiting(data)
        self.go_on()

    def go_on(self) -> None:
        """Send what waits, as far as there is a window for it now."""
        for stream, waiting in list(self._waiting.items()):
            self._send_part(stream, waiting)
            if waiting.at == len(waiting.data):
                del self._waiting[stream]
                self.add(frames.closing(stream))

    def widen_connection(self, payload: bytes) -> bool:
        """The peer leaves more window for all; False when it is none that h2 would take."""
        size = int.from_bytes(payload, "big") & _WINDOW_MAX
        if not size or len(payload) != 4 or self._h2.outbound_flow_control_window + size > _WINDOW_MAX:  # noqa: PLR2004 - bytes
            return False
        self._h2.outbound_flow_control_window += size
        self.go_on()
        return True

    def widen(self, stream: int, size: int) -> None:
        """The peer leaves more window for an answer that is under way."""
        if stream in self._waiting:
            self._waiting[stream].window += size
            self.go_on()

    def forget(self, stream: int) -> None:
        """The peer wants no more of this stream."""
        self._waiting.pop(stream, None)

    def close(self) -> None:
        """The connection is gone."""
        self._waiting.clear()
        self._out.clear()
        self._late.clear()

    def _send_part(self, stream: int, waiting: _Waiting) -> None:
        h2 = self._h2
        while waiting.at < len(waiting.data):
            own = h2.remote_settings.initial_window_size + waiting.window - waiting.at
            size = min(own, h2.outbound_flow_control_window, h2.max_outbound_frame_size, len(waiting.data) - waiting.at)
            if size <= 0:  # negative when the peer has made all windows smaller
                return
            part = waiting.data[waiting.at : waiting.at + size]
            self.add(frames.frame(frames.DATA, 0, stream, part))
            waiting.at += size
            h2.outbound_flow_control_window -= size

    def _flush(self) -> None:
        out = b"".join(self._late + self._out)
        self._late.clear()
        self._out.clear()
        if out and not self._transport.is_closing():
            self._transport.write(out)
