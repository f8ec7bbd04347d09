"""Who minted a token, according to Vault's audit log.

    leak         reading the token
    entry        one line of the log
    token_reads  the lines about tokens of the engine
    search       one pass over the lines of a log
    log          reading the lines
    marks        what a token leaves in the calls that sign or answer it
    known        which key of the store has its key ID
    signers      which versions in Transit may have signed it
    engine_keys  which versions in the engine may have
    unwrapped    what came out of wrapping tokens, and which call that was the answer of
    proof        which calls have made a signature
    given        which calls have read the token from the engine
    trace        all of that together
    verdict      what is proved, and why it may not be

Not here: how the log is set up (docs/audit.md).
"""

from vault_asc.audit.engine_keys import EngineSigner
from vault_asc.audit.entry import Caller, Entry
from vault_asc.audit.known import KnownKey
from vault_asc.audit.leak import leaked_token
from vault_asc.audit.search import Findings, Reader, Reads
from vault_asc.audit.signers import Signer
from vault_asc.audit.token_reads import TokenRead
from vault_asc.audit.trace import Signed, Similar, Trace, Tracer
from vault_asc.audit.verdict import Reason, presigned, reasons, verdict

__all__ = [
    "Caller",
    "EngineSigner",
    "Entry",
    "Findings",
    "KnownKey",
    "Reader",
    "Reads",
    "Reason",
    "Signed",
    "Signer",
    "Similar",
    "TokenRead",
    "Trace",
    "Tracer",
    "leaked_token",
    "presigned",
    "reasons",
    "verdict",
]
