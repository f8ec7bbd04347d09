# token-reader: reads tokens of one role of the engine.
#
# Who:    whatever asks by a role, not by a key: `vault read`, a template of an Agent, a CI job, `vault-asc mint --role`.
# Grants: read of the role's tokens, and nothing else.
# Why so: the role fixes key, calls and lifetime, and the engine builds the claims: a reader can ask for less, never for
#         more. No record, no key, no role is readable, so it does not see what its role is. Read alone: a write to the
#         same path asks for the same, and would be one more way in.
# Not so: nothing compares the token with a record, as `vault-asc mint NAME` does (minter): whoever may change the role or
#         the key decides what a reader gets. A token that was read is good until it expires: taking the policy away, or
#         revoking a lease or the reader's Vault token, ends none. Each read makes a lease: a reader who reads without end
#         fills Vault with them (lease=false in the role spares them). It may ask for the version before the current one, until
#         that is retired.

path "${engine_mount}/token/${role}" {
  capabilities = ["read"]
}

# What every shipped policy has, so that its tokens need no default policy: know and renew oneself, ask what is allowed.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "sys/capabilities-self" {
  capabilities = ["update"]
}
