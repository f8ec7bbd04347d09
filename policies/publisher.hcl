# publisher: reads one Nexla service key.
#
# Who:    what pushes tokens to Nexla, beside the minter policies of the keys that it pushes.
# Grants: read of one secret.
# Why so: whoever only mints needs no Nexla, and whoever has the service key alone cannot mint.

path "${nexla_mount}/data/${nexla_path}" {
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
