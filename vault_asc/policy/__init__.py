"""The shipped Vault policies: texts from `policies/*.hcl`, filled in for one store, and which of them grants what.

    shipped    which there are, and their texts as they stand
    stanzas    a text taken apart: paths, capabilities, what belongs to one custody
    rendering  a text filled in for one store
    naming     the name of a policy in Vault
    needed     which policy grants what a token lacks

Light, because commands ask it for the hint of a denied call: no HTTP library, no HCL parser. A value enters a text only
after `vault_asc.names` has accepted it, so nothing that means something in HCL or in a policy path gets in.
"""

from vault_asc.policy.naming import policy_name
from vault_asc.policy.needed import custody_option, needed, role_of, ways
from vault_asc.policy.rendering import agent, render
from vault_asc.policy.shipped import AGENT, ROLE_ADMIN, SELF_PATHS, SHIPPED, TEAM, TOKEN_READER, Shipped
from vault_asc.policy.stanzas import Rule, lost_paths, rules

__all__ = [
    "AGENT",
    "ROLE_ADMIN",
    "SELF_PATHS",
    "SHIPPED",
    "TEAM",
    "TOKEN_READER",
    "Rule",
    "Shipped",
    "agent",
    "custody_option",
    "lost_paths",
    "needed",
    "policy_name",
    "render",
    "role_of",
    "rules",
    "ways",
]
