"""Log lines on stderr as the host reads them: hclog's JSON, one object a line.

What a request carried is in no line. Of an unexpected exception only its class and where it arose are told: its text
may quote what somebody sent.
"""

import json
import logging
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, TextIO

MODULE: Final = "vault-plugin-secrets-asc"

log: Final = logging.getLogger(MODULE)
"""What the engine's own modules write to."""

_LEVELS: Final = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error"}
_FRAMES: Final = 4  # innermost frames that a line names


class HclogFormatter(logging.Formatter):
    """One JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as hclog writes it, without the text of an exception."""
        line = {
            "@level": _LEVELS.get(record.levelno, "error"),
            "@message": record.getMessage(),
            "@module": record.name,
            "@timestamp": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            line |= {"error": kind.__qualname__, "at": _places(trace)}
        return json.dumps(line)


def log_to(stream: TextIO) -> None:
    """Send our own lines from debug upwards, and warnings of the libraries, to the host."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(HclogFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.raiseExceptions = False  # nobody reads stderr once the host is gone
    log.setLevel(logging.DEBUG)


def _places(trace: TracebackType | None) -> str:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return " > ".join(f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in frames)
