# team: mints from every key of the caller's own team; one policy for all teams.
#
# Who:    people and jobs whose entity has the metadata `team`, when each team has a prefix of its own.
# Grants: what minter grants in custody kv, for every key below the prefix of that team, and the list of their names. In
#         custody transit and engine only records and names: give a minter policy for each key, to the team's identity group.
# Why so: the team comes from the entity, which only administrators write. Let it be a plain name: without it every
#         path here is denied, and with `+`, `*` or a slash in it the server refuses all requests of the token.
# Not so: no signatures in Transit. Names there have no folders, and a `+` is no wildcard inside a segment, so only
#         "sign/<prefix>.<team>.*" could say "every key of the team". That also covers sign/KEY/sha2-512 and its like,
#         where the hash of the path beats the one that the body is held to, and the keys of every store below the
#         team's, which this policy does not grant in KV. A wider deny cannot take it back: the narrower path wins. No tokens
#         of the engine either: its names have no prefix at all. A team with a mount of its own (store.engine_mount) gets a
#         minter or token-reader policy for each key or role there.

path "${mount}/data/${prefix}/{{identity.entity.metadata.team}}/keys/+" {
  capabilities = ["read"]
}

# custody kv: the keys themselves.
path "${mount}/data/${prefix}/{{identity.entity.metadata.team}}/private/+" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}/{{identity.entity.metadata.team}}/keys/" {
  capabilities = ["list"]
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
