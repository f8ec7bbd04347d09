"""The configuration without helper: one template per target, and nothing but the Agent on the host.

By a role of the engine it is that of `leased`. For a key it makes the whole token with the Agent's own functions, so the
key has to be in custody transit, because Vault signs. What this way of minting does not do is said in docs/agent.md.

Measured ground (OpenBao): a call with arguments is asked again whenever these change, so `iat` stands still for a
bucket of time; a template that fails leaves the file as it is, and with `error_fatal = false` everything else, too;
but it goes on asking Vault for what it asked for last, so the one below asks for something else before it fails.
"""

import json
import re
from string import Template
from typing import Final

from vault_asc.agent import leased
from vault_asc.agent.parts import check_server, check_targets, check_ticks, head, interval, login, quoted, record_path
from vault_asc.config import Config, Rendered, Target
from vault_asc.errors import ConfigError
from vault_asc.key.identity import KEY_ID
from vault_asc.names import transit_key
from vault_asc.tokens import BACKDATE


class _Text(Template):
    """With `@name` for what is filled in: the Agent's own variables begin with a dollar sign."""

    delimiter = "@"


_CONTENTS: Final = _Text("""\
{{- /* target @target */ -}}
{{- $iat := timestamp "unix" | parseInt | divide @bucket | multiply @bucket | subtract @backdate -}}
{{- with secret "@record" -}}
{{- $key := .Data.data -}}
{{- $facts := printf "format %v, custody %v, state %v, key ID %v, transit key %v, version %v" (index $key "format")
      (index $key "custody") (index $key "state") (index $key "key_id") (index $key "transit_key")
      (index $key "transit_version") -}}
{{- if regexMatch `^format 1, custody transit, state enabled, key ID @key_id, transit key @name, version [1-9][0-9]*$`
      $facts -}}
{{- $who := `"sub":"user"` -}}
{{- with index $key "issuer_id" -}}{{- $who = printf `"iss":%s` (toJSON .) -}}{{- end -}}
{{- $header := printf `{"alg":"ES256","kid":%s,"typ":"JWT"}` (toJSON $key.key_id) -}}
{{- $claims := printf `{%s,"iat":%d,"exp":%d,"aud":%s%s}` $who $iat (add $iat @lifetime) (toJSON $key.audience)
      @scope -}}
{{- $input := printf "%s.%s" ($header | base64URLEncode | replaceAll "=" "")
      ($claims | base64URLEncode | replaceAll "=" "") -}}
{{- with secret (printf "@sign/%s" $key.transit_key) (printf "input=%s" (base64Encode $input))
      (printf "key_version=%v" $key.transit_version) "hash_algorithm=sha2-256" "marshaling_algorithm=jws" -}}
{{- $input }}.{{ .Data.signature | trimPrefix (printf "vault:v%v:" $key.transit_version) -}}
{{- end -}}
{{- else -}}
{{- with secret (printf "@record?version=%v" .Data.metadata.version) -}}
{{- $why := printf "no new token for target @target: the record of key @key says %q" $facts -}}
{{- sprig_fail $why -}}
{{- end -}}
{{- end -}}
{{- end -}}
""")


def render(config: Config) -> str:
    """The configuration. `ConfigError` when there is nothing to keep fresh, or a target that has no token file."""
    check_server(config)
    check_targets(config)
    targets = sorted(config.all_targets, key=lambda target: target.name)
    without = [f'"{target.name}"' for target in targets if target.token_file is None]
    if without:
        raise ConfigError(
            f"without its helper the Agent writes token files and nothing else, and there is none for {', '.join(without)}",
            hint="give each target a token_file; to push to Nexla, leave --pure out",
        )
    leased.check_roles(target for target in targets if target.role is not None)
    check_ticks(config.agent.tick, [target for target in targets if target.role is None])
    parts = [head(config, "vault-asc agent config --pure"), login(config), interval(config)]
    return "\n".join([*parts, *(_template(config, target) for target in targets)])


def _template(config: Config, target: Target | Rendered) -> str:
    return _by_key(config, target) if target.key is not None else leased.template(config, target)


def _by_key(config: Config, target: Target | Rendered) -> str:
    return f"""\
# Target "{target.name}": a token of key "{target.key}", which has to be in custody transit. Minted anew every {config.agent.tick} s, by Vault:
# `iat` is cut to that, or every pass over the templates would ask for one more signature. A record that is disabled or
# of another custody makes the template fail: the file keeps its last token, the log says why, the rest goes on.
template {{
  contents             = <<EOT
{_contents(config, target)}\
EOT
  destination          = {quoted(target.token_file)}
  perms                = "0600"
  backup               = false
  error_on_missing_key = true
  error_fatal          = false
}}
"""


def _contents(config: Config, target: Target | Rendered) -> str:
    key = str(target.key)
    # The name that the record has to say: any other could only lead to another key.
    name = transit_key(config.store.prefix, key)
    return _CONTENTS.substitute(
        target=target.name,
        key=key,
        bucket=config.agent.tick,
        backdate=BACKDATE,
        lifetime=target.request.lifetime,
        record=record_path(config, key),
        sign=f"{config.store.transit_mount}/sign",
        key_id=KEY_ID,
        name=re.escape(name),
        scope=_text(_scope(target)),
    )


def _scope(target: Target | Rendered) -> str:
    """The rest of the claims, as JSON."""
    scope = list(target.request.scope)
    return f',"scope":{json.dumps(scope, separators=(",", ":"))}' if scope else ""


def _text(text: str) -> str:
    """A string as the template language writes it, with nothing in it that means anything to HCL."""
    written = json.dumps(text)
    for special in "${}%":
        written = written.replace(special, f"\\u{ord(special):04x}")
    return written
