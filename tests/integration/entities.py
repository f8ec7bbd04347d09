"""Tokens of an entity with the metadata `team`, as a login gives them to whoever belongs to a team."""

import secrets
from typing import NamedTuple

from tests.conftest import Root
from vault_asc.secret import Secret


class OfTeam(NamedTuple):
    """A token, and the entity that it belongs to."""

    token: Secret
    entity: str


def token_of_team(root: Root, text: str, team: str) -> OfTeam:
    """A token with one policy, not even the default one, of an entity of that team; of one without a team for ""."""
    name = f"team-{secrets.token_hex(4)}"
    root("PUT", f"sys/policies/acl/{name}", {"policy": text})
    metadata = {"team": team} if team else {}
    entity = root("POST", "identity/entity", {"name": name, "metadata": metadata})["data"]["id"]
    accessor = root("GET", "sys/auth")["data"]["token/"]["accessor"]
    root("POST", "identity/entity-alias", {"name": name, "canonical_id": entity, "mount_accessor": accessor})
    role = {"allowed_entity_aliases": [name], "token_no_default_policy": True, "allowed_policies": [name]}
    root("POST", f"auth/token/roles/{name}", role)
    body = {"policies": [name], "no_default_policy": True, "ttl": "10m", "entity_alias": name}
    return OfTeam(Secret(root("POST", f"auth/token/create/{name}", body)["auth"]["client_token"]), entity)
