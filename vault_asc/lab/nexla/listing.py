"""GET /data_credentials: filters, order and pages of the list."""

from collections.abc import Mapping
from typing import Final

from vault_asc.lab.nexla.answers import RefusedError
from vault_asc.lab.nexla.model import RANK, Credential, User
from vault_asc.lab.nexla.state import Call, State
from vault_asc.lab.nexla.views import listed_view
from vault_asc.lab.web import Answer, json_answer

_PER_PAGE: Final = 10  # when only `page` is given
_SORTABLE: Final = ("id", "name", "created_at", "updated_at")
_KNOWN: Final = frozenset(
    {
        "access_role",
        "credentials_type",
        "page",
        "per_page",
        "name",
        "vendor_name",
        "vendor_id",
        "auth_template_id",
        "validity",
        "brief",
        "sort_by",
        "sort_order",
    }
)


def index(state: State, call: Call) -> Answer:
    """A bare array; without `access_role` only what the caller owns, without `page` and `per_page` everything."""
    query = call.query
    unknown = sorted(query.keys() - _KNOWN)
    if unknown:
        raise RefusedError(400, "Invalid query parameter")
    least = query.get("access_role", "owner")
    if least not in RANK:
        raise RefusedError(400, "Invalid access_role")
    usable = [each for each in state.credentials.values() if _reaches(each, call.user, least)]
    found = _sorted([each for each in usable if _matches(state, each, query)], query)
    page, headers = _page(found, call)
    brief = query.get("brief", "0") in {"1", "true", "True"}
    return json_answer(200, [listed_view(state, each, call.user, brief=brief) for each in page], headers)


def _reaches(credential: Credential, user: User, least: str) -> bool:
    role = credential.roles.get(user.id)
    return role is not None and RANK[role] >= RANK[least]


def _matches(state: State, credential: Credential, query: Mapping[str, str]) -> bool:
    pair = state.template_of(credential)
    vendor_id, template_id = ("", "") if pair is None else (str(pair[0].id), str(pair[1].id))
    verified = "valid" if credential.verified_at is not None else "invalid"
    kinds = {credential.credentials_type, credential.vendor}
    return (
        query.get("credentials_type", credential.credentials_type) in kinds
        and query.get("name", "") in credential.name
        and query.get("vendor_name", credential.vendor) == credential.vendor
        and query.get("vendor_id", vendor_id) == vendor_id
        and query.get("auth_template_id", template_id) == template_id
        and query.get("validity", verified) == verified
    )


def _sorted(found: list[Credential], query: Mapping[str, str]) -> list[Credential]:
    by = query.get("sort_by", "id")
    if by not in _SORTABLE:
        raise RefusedError(400, "Invalid sort_by")
    return sorted(found, key=lambda each: getattr(each, by), reverse=query.get("sort_order", "").lower() == "desc")


def _page(found: list[Credential], call: Call) -> tuple[list[Credential], dict[str, str]]:
    headers = {"X-Total-Count": str(len(found))}
    if not call.query.keys() & {"page", "per_page"}:
        return found, headers
    page, size = _positive(call.query.get("page", "1")), _positive(call.query.get("per_page", str(_PER_PAGE)))
    items = found[(page - 1) * size : page * size]
    pages = -(-len(found) // size)
    headers |= {"X-Current-Page": str(page), "X-Page-Count": str(len(items)), "X-Total-Page-Count": str(pages)}
    links = _links(call, page, pages, size)
    return items, headers | ({"Link": links} if links else {})


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise RefusedError(400, "Invalid page")
    return int(text)


def _links(call: Call, page: int, pages: int, size: int) -> str:
    base = f"http://{call.request.header('Host')}/nexla-api{call.request.path}"
    near = {"Previous": page - 1, "Next": page + 1}
    return ", ".join(
        f'<{base}?page={number}&per_page={size}>; rel="{name}"' for name, number in near.items() if 1 <= number <= pages
    )
