"""Who signed a token, according to Vault's audit log.

    leak       reading the token
    entry      one line of the log
    search     one pass over the lines of a log
    log        reading the lines
    marks      what a token leaves in the calls that sign it
    known      which key of the store has its key ID
    signers    which versions in Transit may have signed it
    unwrapped  what came out of wrapping tokens, and which call that was the answer of
    proof      which calls have made a signature
    trace      all of that together
    verdict    what is proved, and why it may not be

Not here: how the log is set up (docs/audit.md).
"""

from vault_asc.audit.entry import Caller, Entry
from vault_asc.audit.known import KnownKey
from vault_asc.audit.leak import leaked_token
from vault_asc.audit.search import Findings, Reader, Reads
from vault_asc.audit.signers import Signer
from vault_asc.audit.trace import Signed, Similar, Trace, Tracer
from vault_asc.audit.verdict import Reason, presigned, reasons, verdict

__all__ = [
    "Caller",
    "Entry",
    "Findings",
    "KnownKey",
    "Reader",
    "Reads",
    "Reason",
    "Signed",
    "Signer",
    "Similar",
    "Trace",
    "Tracer",
    "leaked_token",
    "presigned",
    "reasons",
    "verdict",
]
