# minter: mints tokens from one key.
#
# Who:    a job, a host's Agent or a person that needs tokens of this key; one AppRole role or entity for each.
# Grants: read of the key's public record and of its private part, at any version.
# Why so: a mint reads the record and then exactly the version that it names, so read of both is all it takes. With
#         the private key in KV, a minter could copy it: give this to what you would give the .p8 to. No metadata, no
#         list: a minter knows the name of its key. No wildcard: the next key is another decision.

path "${mount}/data/${prefix}/keys/${key}" {
  capabilities = ["read"]
}

path "${mount}/data/${prefix}/private/${key}" {
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
