# role-admin: decides what the roles of the engine give: of which key, for which calls, how long.
#
# Who:    whoever decides what tokens are good for, and reads none.
# Grants: write and removal of roles; read of roles, of what the engine tells of keys, and of its settings.
# Why so: no path here gives a token, and none brings a key in or into use. The settings of the mount (config: default and
#         maximum lifetime, back-dating, share of the life that a lease lasts) hold for all roles of all teams on it, so
#         no shipped policy writes them: that is for who administers Vault, with the mount itself.
# Not so: a role admin can give a role every call that its key may make, up to the longest life that the settings allow,
#         and can point it to any other key of the mount: readers of that role get what it says from then on. So whoever is
#         role admin and reads tokens of one role can have tokens of every key of the mount: never give both to one. Whoever
#         is role admin and key admin can make a key under a free name and point a role to it, so that its readers get
#         tokens of a foreign key, and no registrar is asked: never give both to one either, outside an import. With
#         --role it is one role; of which key is still open. Teams that must not use each other's keys get a mount of the
#         engine each (store.engine_mount). Removing a role stops its readers, and frees its key to be removed.
# Adding: beside break-glass of a key, this policy has to be that of the key's role (--role): see key-admin.

path "${engine_mount}/roles/" {
  capabilities = ["list"]
}

path "${engine_mount}/roles/${roles}" {
  capabilities = ["create", "read", "update", "delete"]
}

path "${engine_mount}/keys/" {
  capabilities = ["list"]
}

# Public facts of keys; in this form the path covers nothing below it.
path "${engine_mount}/keys/+" {
  capabilities = ["read"]
}

path "${engine_mount}/config" {
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
