"""The few HTTP/2 frames of a unary gRPC call, as bytes. Pure functions.

Header blocks are written as literals that no side remembers (RFC 7541, 6.2.2), so they are the same for every call and
change no state that the `h2` library keeps for the same connection.
"""

import struct
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

PREFACE: Final = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
HEADER: Final = struct.Struct(">HBBBL")
"""A frame's head: length in two parts (16 and 8 bits), type, flags, stream."""

DATA: Final = 0
HEADERS: Final = 1
RST_STREAM: Final = 3
PING: Final = 6
WINDOW_UPDATE: Final = 8

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20

INDEXED: Final = 0x80
"""The bit of a header field that is nothing but an index into the tables of both sides."""

REFUSED_STREAM: Final = 7

_ONE_BYTE: Final = 127  # lengths from here on take more
_LOW: Final = 127  # bits of a length in each further byte; the highest tells that another follows
_STATUS_200: Final = b"\x88"  # indexed: an entry of the static table
_CONTENT_TYPE: Final = b"content-type", b"application/grpc"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    length = len(payload)
    return HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def literal(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A header block of plain literals."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)


def _text(text: bytes) -> bytes:
    size = bytearray((min(len(text), _ONE_BYTE),))
    if len(text) >= _ONE_BYTE:
        rest = len(text) - _ONE_BYTE
        while rest > _LOW:
            size.append(rest & _LOW | ~_LOW & 0xFF)
            rest >>= 7
        size.append(rest)
    return bytes(size) + text


_ANSWER: Final = _STATUS_200 + literal([_CONTENT_TYPE])
_DONE: Final = literal([(b"grpc-status", b"0")])


def opening(stream: int) -> bytes:
    """The headers before an answer's message."""
    return frame(HEADERS, END_HEADERS, stream, _ANSWER)


def closing(stream: int) -> bytes:
    """The trailers after an answer's message."""
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _DONE)


def failing(stream: int, status: int, message: str) -> bytes:
    """The whole answer of a call that failed."""
    told = quote(message, safe=" ").encode("ascii")
    block = _ANSWER + literal([(b"grpc-status", b"%d" % status), (b"grpc-message", told)])
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block)


def reset(stream: int, code: int) -> bytes:
    """The end of a stream without an answer."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def window_update(size: int) -> bytes:
    """Leave for the peer to send more on this connection."""
    return frame(WINDOW_UPDATE, 0, 0, size.to_bytes(4, "big"))
