"""Faults in Apple's own words; slow and dropped answers are in `vault_asc.lab.faults`."""

from typing import Final
from uuid import uuid4

from vault_asc.lab.apple import answers
from vault_asc.lab.faults import Fault, plain_text

FALSE_401: Final = Fault("false 401", instead=answers.not_authorized())
"""401 whatever the token is: Apple does this to good tokens now and then."""

FORBIDDEN_ROLE: Final = Fault("role 403", instead=answers.forbidden_role())
AGREEMENT_MISSING: Final = Fault("agreement 403", instead=answers.agreement_missing())
RATE_LIMITED: Final = Fault("429", instead=answers.rate_limited())
SERVER_ERROR: Final = Fault("500", instead=answers.server_error())

UNAUTHENTICATED_TEXT: Final = plain_text(401, f"Unauthenticated\n\nRequest ID: {uuid4()}\n")
"""A gateway's plain text, as the notary service answers."""
