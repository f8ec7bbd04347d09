"""Faults in Nexla's own words; transport faults (429, 5xx, slow, dropped, HTML) are in `vault_asc.lab.faults`."""

from typing import Final, Literal

from vault_asc.lab.faults import Fault
from vault_asc.lab.nexla.answers import RefusedError, edit_object, error_answer

SESSION_LOST: Final = Fault("401", instead=error_answer(RefusedError(401), "rails", 0.0))
"""An empty 401 for a session that is good."""

EMPTY_CONNECTOR: Final = Fault("empty connector", edit=lambda answer: edit_object(answer, connector={}))
"""Carried out, but the answer has `connector: {}`, which the official SDK cannot read."""

NULL_NAME: Final = Fault("null name", edit=lambda answer: edit_object(answer, name=None))
"""Carried out, but the answer has `name: null`, which the official SDK cannot read either."""

NO_ACCESS_TOKEN: Final = Fault("no access_token", edit=lambda answer: edit_object(answer, access_token=None))
"""A login that succeeds without a session in it."""


def refused(status: int, text: str | None = None, form: Literal["rails", "documented"] = "rails") -> Fault:
    """This error, in the form asked for, without carrying the request out."""
    return Fault(f"refused {status}", instead=error_answer(RefusedError(status, text), form, 0.0))
