"""The tenants that a client must cope with, one per letter, each with credential 5001."""

from collections.abc import Callable
from typing import Final

from vault_asc.lab.nexla.model import Parameter
from vault_asc.lab.nexla.simulator import NexlaSimulator, rest_config

DOTTED: Final = "appstore_api.jwt"
_Build = Callable[[NexlaSimulator, str], object]


def _two_templates(nexla: NexlaSimulator, test_url: str) -> None:
    nexla.add_template_credential(test_url=test_url)
    other = rest_config("Bearer ${other_token}", test_url)
    nexla.add_template("appstore_api", parameters=["other_token"], config=other)


def _two_secured(nexla: NexlaSimulator, test_url: str) -> None:
    config = {**rest_config("NONE", test_url), "auth.type": "NONE", "api.key.auth.key": "X-Key"}
    config |= {"api.key.auth.value": "${first}", "some.other": "${second}"}
    nexla.add_template_credential(parameters=["first", "second"], config=config, test_url=test_url)


def _extra_parameter(nexla: NexlaSimulator, test_url: str) -> None:
    base, _, rest = test_url.partition("?")
    nexla.add_template_credential(
        parameters=["jwt_token", Parameter("page_size", secured=False)],
        config=rest_config("Bearer ${jwt_token}", f"{base}?{rest.rpartition('limit=')[0]}limit=${{page_size}}"),
        test_url=test_url,
        values={"page_size": "1"},
    )


FIXTURES: Final[dict[str, _Build]] = {
    "a": lambda nexla, url: nexla.add_template_credential(test_url=url),
    "b": lambda nexla, url: nexla.add_template_credential(config=rest_config("${jwt_token}", url), test_url=url),
    "c": _two_templates,
    "d": _two_secured,
    "e": lambda nexla, url: nexla.add_rest_credential(test_url=url),
    "f": lambda nexla, url: nexla.add_template_credential(vendor="shopify_api", test_url=url),
    "g": lambda nexla, url: nexla.add_template_credential(parameters=[DOTTED], test_url=url),
    "h": _extra_parameter,
}
"""Each builds one tenant from a simulator and the vendor's test URL.

a: one template, `Bearer ${p}`. b: value is `${p}`. c: two templates. d: two secured parameters, neither in the
Authorization header. e: generic REST. f: another vendor. g: a name with a dot. h: a second, non-secured parameter.
"""
