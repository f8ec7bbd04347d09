"""Service key in, session out: login, logout, and who is calling."""

import hmac
import secrets
from typing import Any, Final

from vault_asc.lab.nexla.answers import RefusedError
from vault_asc.lab.nexla.model import Session, User
from vault_asc.lab.nexla.state import Call, State
from vault_asc.lab.web import Answer, Request, json_answer

ORG: Final = {"id": 1, "name": "Lab", "email_domain": "lab.example"}
_MEMBERSHIP_STATUS: Final = "ACTIVE"


def login(state: State, request: Request) -> tuple[Answer, User]:
    """POST /token: the raw service key as a Basic credential becomes a new session; older ones stay valid."""
    scheme, value = _authorization(request)
    user = _owner(state, value) if scheme == "basic" else None
    if user is None:
        raise RefusedError(401, code="AUTH_002")
    token = f"lab-session-{secrets.token_urlsafe(24)}"
    state.sessions[token] = Session(user, state.clock() + state.session_seconds)
    return json_answer(200, _login_view(state, token, user)), user


def logout(state: State, request: Request) -> tuple[Answer, User]:
    """POST /token/logout: 200 without a body, 400 for a malformed header."""
    _, token = _authorization(request)
    session = state.sessions.pop(token, None)
    if session is None:
        raise RefusedError(401)
    return Answer(200), session.user


def caller(state: State, request: Request) -> User:
    """The user of a request's session; 401 without a body when it is missing, unknown or over."""
    scheme, _, token = (request.header("Authorization") or "").partition(" ")
    session = state.sessions.get(token) if scheme.lower() == "bearer" else None
    if session is None or session.expires_at <= state.clock():
        raise RefusedError(401)
    return session.user


def current_user(_: State, call: Call) -> Answer:
    """GET /users/current."""
    user = call.user
    membership = {"id": ORG["id"], "name": ORG["name"], "is_admin": True, "org_membership_status": _MEMBERSHIP_STATUS}
    return json_answer(
        200,
        {
            **user_view(user),
            "super_user": False,
            "impersonated": False,
            "default_org": {"id": ORG["id"], "name": ORG["name"]},
            "user_tier": None,
            "status": "ACTIVE",
            "account_locked": False,
            "org_memberships": [membership],
        },
    )


def limits(state: State, _: Call) -> Answer:
    """GET /limits: counters that are never enforced here; `{}` while the toggle is off."""
    if not state.readings.limits:
        return json_answer(200, {})
    second = {"common": 10, "light": 12, "medium": 8, "high": 5}
    day = {name: 21_600 * limit for name, limit in second.items()}
    spans = {"second": second, "day": day}
    return json_answer(
        200, {span: {name: {"limit": limit, "count": 0} for name, limit in of.items()} for span, of in spans.items()}
    )


def user_view(user: User) -> dict[str, Any]:
    """How a user looks as the owner of something."""
    return {
        "id": user.id,
        "full_name": user.full_name,
        "email": user.email,
        "email_verified_at": "2026-01-01T00:00:00.000Z",
    }


def _authorization(request: Request) -> tuple[str, str]:
    parts = (request.header("Authorization") or "").split(" ")
    if len(parts) < 2:  # noqa: PLR2004 - scheme and value
        raise RefusedError(400, "Invalid header format")
    return parts[0].lower(), parts[1]


def _owner(state: State, value: str) -> User | None:
    for key in state.service_keys:
        if hmac.compare_digest(key.value.reveal().encode(), value.encode()):
            return key.user if key.active or state.readings.paused_keys_work else None
    return None


def _login_view(state: State, token: str, user: User) -> dict[str, Any]:
    view: dict[str, Any] = {
        "access_token": token,
        "token_type": "Bearer",
        "user": user_view(user),
        "org_membership": {
            "api_key": secrets.token_urlsafe(24),
            "status": _MEMBERSHIP_STATUS,
            "is_admin": True,
        },
        "org": ORG,
    }
    if state.readings.announce_expiry:
        view["expires_in"] = int(state.session_seconds)
    return view
