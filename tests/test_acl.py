"""What a policy grants, as `vault_asc.acl` reads it, is what Vault says of a token with that policy and no other."""

import json
from collections.abc import Sequence
from itertools import product
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Root, TokenWith
from vault_asc import acl

SEGMENTS: Final = ("a", "b", "ab")
PATHS: Final = ["/".join(parts) for count in (1, 2, 3) for parts in product(SEGMENTS, repeat=count)]
CAPABILITIES: Final = ("read", "update")
"""What is asked; policies hold others too."""

Grants = Sequence[tuple[str, Sequence[str]]]


def patterns() -> st.SearchStrategy[str]:
    body = st.lists(st.sampled_from([*SEGMENTS, "+"]), min_size=1, max_size=3).map("/".join)
    # Vault refuses "+*".
    ended = st.tuples(body, st.sampled_from(["", "", "*", "/*"])).filter(
        lambda made: made[0][-1] != "+" or made[1] != "*"
    )
    return st.one_of(ended.map("".join), st.just("*"))


def policies() -> st.SearchStrategy[Grants]:
    allowed = st.lists(
        st.sampled_from(["read", "update", "list", "create", "deny"]), min_size=1, max_size=3, unique=True
    )
    return st.lists(st.tuples(patterns(), allowed), min_size=1, max_size=5)


def hcl(grants: Grants) -> str:
    return "\n".join(f'path "{path}" {{\n  capabilities = {json.dumps(allowed)}\n}}' for path, allowed in grants)


class Asked:
    """One token whose policy changes, and what Vault says that it may do."""

    def __init__(self, root: Root, token_with: TokenWith) -> None:
        self.root = root
        self.token = token_with()
        accessor = root("POST", "auth/token/lookup", {"token": self.token.reveal()})["data"]
        (self.policy,) = accessor["policies"]

    def may(self, text: str, paths: Sequence[str]) -> dict[str, set[str]]:
        self.root("PUT", f"sys/policies/acl/{self.policy}", {"policy": text})
        answer = self.root("POST", "sys/capabilities", {"token": self.token.reveal(), "paths": list(paths)})
        return {path: set(answer["data"][path]) for path in paths}


@pytest.fixture
def asked(root: Root, token_with: TokenWith) -> Asked:
    return Asked(root, token_with)


def disagreements(asked: Asked, text: str, paths: Sequence[str] = PATHS) -> list[tuple[str, str]]:
    may = asked.may(text, paths)
    return [
        (path, capability)
        for path, capability in product(paths, CAPABILITIES)
        if acl.grants(text, path, capability) != (capability in may[path])
    ]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grants=policies())
def test_what_a_policy_grants_is_what_vault_says(asked: Asked, grants: Grants) -> None:
    assert disagreements(asked, hcl(grants)) == []


# Texts as people and programs write them. `a/b` and `a/a` are asked about.

SAME: Final = {
    "comments": '# path "a/b" { capabilities = ["read"] }\n// path "a/b" {}\n/* path "a/b" {\n*/ path "a/a" { # "\n'
    'capabilities = [ # "deny"\n"update", /* "read", */ ] }',
    "hash in a path": 'path "a/#b" { capabilities = ["read"] }\npath "a/a" { capabilities = ["read"] }',
    "one line": 'path "a/b" { capabilities = ["read"] } path "a/a" { capabilities = ["update"] }',
    "leading slash": 'path "/a/b" { capabilities = ["read"] }',
    "leading slash and glob": 'path "/a/*" { capabilities = ["read"] }',
    "quoted keys": '"path" "a/b" { "capabilities" = ["read"] }',
    "deny of a narrower path": 'path "a/+" { capabilities = ["read"] }\npath "a/b" { capabilities = ["deny"] }',
    "deny beats": 'path "a/b" { capabilities = ["read", "deny"] }',
    "deny elsewhere": 'path "a/b" { capabilities = ["read"] }\npath "*" { capabilities = ["deny"] }',
    "deny above a wider grant": 'path "a/b" { capabilities = ["deny"] }\npath "*" { capabilities = ["read"] }',
    "plus in a segment": 'path "a/b+" { capabilities = ["read"] }\npath "a/*" { capabilities = ["update"] }',
    "policy read": 'path "a/b" { policy = "read" }',
    "policy write": 'path "a/b" { policy = "write" }',
    "policy sudo": 'path "a/b" { policy = "sudo" }',
    "policy deny": 'path "a/*" { policy = "deny" }\npath "a/a" { policy = "read" }',
    "policy and capabilities": 'path "a/b" { policy = "read"\n capabilities = ["update"] }',
    "no capabilities at all": 'path "c" { capabilities = ["read"] }',
    "parameters": 'path "a/b" { capabilities = ["update"]\n allowed_parameters = { "a" = ["x"], "*" = [] }\n'
    ' required_parameters = ["a"] }\npath "a/a" { capabilities = ["read"] }',
    "name": 'name = "x"\npath "a/b" { capabilities = ["read"] }',
    "json": '{"path": {"a/b": {"capabilities": ["read"]}, "a/*": {"capabilities": ["update"]}}}',
    "json list of paths": '{"path": [{"a/b": {"capabilities": ["read"]}}, {"a/a": {"capabilities": ["update"]}}]}',
    "json letter escaped": '{"path": {"a/\\u0062": {"capabilities": ["read"]}}}',
    "json same path twice": '{"path": {"a/b": {"capabilities": ["read"]}, "a/b": {"capabilities": ["update"]}}}',
}
WIDER: Final = {
    "escape of HCL's own": 'path "a/\\142" { capabilities = ["read"] }',
    "parameter of that name": 'path "a/b" { allowed_parameters = { "capabilities" = ["deny"] }\n capabilities = ["read"] }',
    "nothing in it": 'path "a/b" {}',
    "template": 'path "a/{{identity.entity.id}}" { capabilities = ["read"] }',
    "template beside a denial": 'path "{{identity.entity.name}}/b" { capabilities = ["read"] }\n'
    'path "a/b" { capabilities = ["deny"] }',
}


@pytest.mark.parametrize("case", SAME)
def test_every_usual_form_of_a_policy_is_read_as_vault_reads_it(asked: Asked, case: str) -> None:
    assert disagreements(asked, SAME[case], ("a/b", "a/a")) == []


@pytest.mark.parametrize("case", WIDER)
def test_what_is_not_taken_apart_counts_as_granting(asked: Asked, case: str) -> None:
    asked.may(WIDER[case], ("a/b",))  # Vault takes the text
    assert acl.grants(WIDER[case], "a/b", "read")
