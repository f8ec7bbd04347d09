"""From method and path to the endpoint: sessions are checked here, once, for all of them."""

import re
from collections.abc import Callable
from typing import Final

from vault_asc.lab.nexla import credentials, discovery, listing, probe, sessions
from vault_asc.lab.nexla.answers import RefusedError, error_answer
from vault_asc.lab.nexla.model import User
from vault_asc.lab.nexla.state import Call, State
from vault_asc.lab.simulator import Served
from vault_asc.lab.web import Answer, Request

_Endpoint = Callable[[State, Call], Answer]
_ONE: Final = r"/data_credentials/(\d{1,12})"
_LOCKED: Final[tuple[tuple[str, str, _Endpoint], ...]] = (
    ("GET", r"/data_credentials", listing.index),
    ("POST", r"/data_credentials", credentials.create),
    ("GET", r"/data_credentials/schema", credentials.schema),
    ("GET", _ONE, credentials.show),
    ("PUT", _ONE, credentials.update),
    ("DELETE", _ONE, credentials.delete),
    ("GET", rf"{_ONE}/usage", credentials.usage),
    ("GET", rf"{_ONE}/audit_log", credentials.audit_log),
    ("GET", r"/data_sources/(\d{1,12})", credentials.source),
    ("GET", r"/vendors", discovery.vendors),
    ("GET", r"/vendors/(\d{1,12})", discovery.vendor),
    ("GET", r"/auth_templates", discovery.templates),
    ("GET", r"/auth_templates/(\d{1,12})", discovery.template),
    ("GET", r"/auth_parameters", discovery.parameters),
    ("GET", r"/users/current", sessions.current_user),
    ("GET", r"/limits", sessions.limits),
)
_UNLOCKED: Final[tuple[tuple[str, str, _Endpoint], ...]] = (("GET", rf"{_ONE}/probe(?:/authenticate)?", probe.probe),)
"""These call the vendor; they take the lock themselves, around what they read and store."""


def serve(state: State, request: Request) -> Served:
    """Carry out one request below the API's prefix; errors come back in the form that is in force."""
    try:
        answer, user, reason = _dispatch(state, request)
    except RefusedError as refused:
        with state.lock:
            form, now = state.readings.error_envelope, state.clock()
        return Served(error_answer(refused, form, now), reason=f"refused {refused.status}")
    return Served(answer, user.email, reason)


def _dispatch(state: State, request: Request) -> tuple[Answer, User, str]:
    if (request.method, request.path) == ("POST", "/token"):
        with state.lock:
            return *sessions.login(state, request), "login"
    if (request.method, request.path) == ("POST", "/token/logout"):
        with state.lock:
            return *sessions.logout(state, request), "logout"
    endpoint, ids, locked = _endpoint(request)
    with state.lock:
        call = Call(request, sessions.caller(state, request), ids, request.parameters())
        if locked:
            return endpoint(state, call), call.user, endpoint.__name__
    return endpoint(state, call), call.user, endpoint.__name__


def _endpoint(request: Request) -> tuple[_Endpoint, tuple[int, ...], bool]:
    for table in (_LOCKED, _UNLOCKED):
        for method, pattern, endpoint in table:
            match = re.fullmatch(pattern, request.path, re.ASCII)
            if match is not None and method == request.method:
                return endpoint, tuple(int(number) for number in match.groups()), table is _LOCKED
    raise RefusedError(404)
