# agent: mints and publishes for the targets of one configuration (minter and publisher of each).

path "secret/data/asc/keys/prod" {
  capabilities = ["read"]
}

path "secret/data/asc/private/prod" {
  capabilities = ["read"]
}

path "secret/data/asc/nexla/default" {
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
