# team: mints from every key of the caller's own team; one policy for all teams.
#
# Who:    people and jobs whose entity has the metadata `team`, when each team has a prefix of its own.
# Grants: what minter grants, for every key below the prefix of that team, and the list of their names.
# Why so: the team comes from the entity, which only administrators write. Let it be a plain name: without it every
#         path here is denied, and with `+`, `*` or a slash in it the server refuses all requests of the token.

path "${mount}/data/${prefix}/{{identity.entity.metadata.team}}/keys/+" {
  capabilities = ["read"]
}

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
