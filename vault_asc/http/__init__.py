"""The one HTTP policy, for Vault (through hvac) and for Nexla: what a call may cost, trust, follow and believe.

- Nothing comes from the environment: no proxy, netrc, CA or key-log variable, and *_SKIP_VERIFY has no effect.
- TLS 1.2 or later, always verified; no redirect is ever followed; no cookie is kept; no compressed answer is taken.
- A deadline for the whole call, which dripping servers cannot stretch; at most 1 MiB of answer; strict JSON.
- Retries with full jitter and Retry-After, never of a write that may have reached the server.
- Every error is a `CallError`, one safe line.
"""

from vault_asc.http.call import SAFE_METHODS, Limits, is_repeatable, repeatable
from vault_asc.http.deadline import Deadline, within
from vault_asc.http.errors import (
    AnswerTooLargeError,
    BadAnswerError,
    BadJSONError,
    CallError,
    CertificateError,
    DeadlineExceededError,
    RedirectRefusedError,
    RequestRefusedError,
    UnreachableError,
    explain,
    was_sent,
)
from vault_asc.http.session import quiet_loggers, session
from vault_asc.http.transport import base_url, endpoint
from vault_asc.http.watching import EndedCall, Watch, watching

__all__ = [
    "SAFE_METHODS",
    "AnswerTooLargeError",
    "BadAnswerError",
    "BadJSONError",
    "CallError",
    "CertificateError",
    "Deadline",
    "DeadlineExceededError",
    "EndedCall",
    "Limits",
    "RedirectRefusedError",
    "RequestRefusedError",
    "UnreachableError",
    "Watch",
    "base_url",
    "endpoint",
    "explain",
    "is_repeatable",
    "quiet_loggers",
    "repeatable",
    "session",
    "was_sent",
    "watching",
    "within",
]
