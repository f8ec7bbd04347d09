#!/bin/sh
# What the README lets an operator do, from an empty OpenBao to an Agent's configuration; for compose.yaml.
# Secrets go from file to file, on memory file systems: never an argument, an environment variable or output.
set -eu
umask 077

HANDOVER=/run/handover   # from the simulators: the .p8, Nexla's service key, the addresses of both
RUN=/run/vault-asc       # for the Agent: its AppRole, its configuration, the state
PEOPLE=/home/vault-asc   # home of who works with keys
export BAO_ADDR=http://127.0.0.1:8200
export HOME=/tmp         # for the root token, in ~/.vault-token; in memory that ends with this container

if [ -e "$RUN/agent.hcl" ]; then
  echo "already set up"
  exit 0
fi

echo "1. initialise and unseal"
bao operator init -key-shares=1 -key-threshold=1 -format=json > ~/init.json
pick() { python3 -c "import json, sys; print(json.load(sys.stdin)$1, end='')" < ~/init.json; }
pick '["root_token"]' > ~/.vault-token
pick '["unseal_keys_b64"][0]' > ~/unseal-key
bao write sys/unseal key=@"$HOME/unseal-key" > /dev/null   # `bao operator unseal` would want the key as an argument
rm ~/init.json ~/unseal-key

echo "2. configuration, mount, service key of Nexla, policies"
sed -e "s|NEXLA_URL|$(cat "$HANDOVER/nexla-url")|" -e "s|APPLE_URL|$(cat "$HANDOVER/apple-url")|" \
  /etc/vault-asc/vault-asc.toml > "$RUN/vault-asc.toml"
export VAULT_ASC_CONFIG="$RUN/vault-asc.toml"
bao secrets enable -path=secret -version=2 kv
bao kv put -mount=secret asc/nexla/default service_key=@"$HANDOVER/nexla-service-key" > /dev/null
for policy in agent key-admin registrar; do vault-asc policy write "$policy"; done

echo "3. the Agent's identity"
bao auth enable approle
bao write auth/approle/role/vault-asc token_policies=asc-agent token_no_default_policy=true token_period=5m
bao read -field=role_id auth/approle/role/vault-asc/role-id > "$RUN/role_id"
bao write -f -field=secret_id auth/approle/role/vault-asc/secret-id > "$RUN/secret_id"

echo "4. a token for people who own keys, and the end of the root token"
bao token create -field=token -orphan -no-default-policy -policy=asc-key-admin -policy=asc-registrar -ttl=8h > "$PEOPLE/.vault-token"
bao token revoke -self
export HOME="$PEOPLE"

echo "5. the key, and the Agent's configuration"
vault-asc key import "$HANDOVER"/AuthKey_*.p8 prod --issuer-id 57246542-96fe-1a63-e053-0824d011072a
rm "$HANDOVER"/AuthKey_*.p8 "$HANDOVER/nexla-service-key"
vault-asc agent config > "$RUN/agent.hcl"   # last: a second start looks for it
