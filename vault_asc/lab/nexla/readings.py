"""How to read what is inferred, unknown or contradictory about Nexla: one switch each."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Readings:
    """The readings in force. A client must get along with every value.

    Attributes:
        announce_expiry: whether the login answer has `expires_in`.
        paused_keys_work: whether a paused service key still logs in.
        error_envelope: `rails` is `{"message"}` or nothing at all, `documented` is the object of the error-handling page.
        echo_input: whether a 400 repeats the body that it refuses, secrets included.
        discovery: vendors, templates and parameters are readable, or the status that they answer.
        expand: whether `expand=1` on a credential adds the template's config and parameters.
        template_config: `resolved` shows a non-secured value only if its own name is a key of the resolved credentials,
            `all` shows every non-secured value.
        check_rest_config: whether a `credentials` object without `test.url`, `test.method` or `test.content.type` is 400.
        touch_on_noop: whether a PUT that changes nothing renews `updated_at`.
        delete_body: whether DELETE answers `{code, message}`.
        probe_body: of a successful probe: nothing, `{"output"}`, or the JSON result.
        probe_status: of a failed probe: always 403, or what the vendor answered.
        probe_message: of a failed probe: what the vendor wrote, or its status alone.
        probe_stores: whether a probe updates `verified_status` and `verified_at`.
        probe_skips: whether `skip.validation: true` makes the probe succeed without asking the vendor.
        async_result: what an asynchronous probe calls its result.
        limits: whether `GET /limits` shows anything.
    """

    announce_expiry: bool = True
    paused_keys_work: bool = False
    error_envelope: Literal["rails", "documented"] = "rails"
    echo_input: bool = False
    discovery: Literal["open", 403, 404] = "open"
    expand: bool = True
    template_config: Literal["resolved", "all"] = "resolved"
    check_rest_config: bool = False
    touch_on_noop: bool = False
    delete_body: bool = False
    probe_body: Literal["empty", "object", "result"] = "empty"
    probe_status: Literal["403", "relay"] = "403"
    probe_message: Literal["body", "status"] = "body"
    probe_stores: bool = True
    probe_skips: bool = False
    async_result: Literal["response", "result"] = "response"
    limits: bool = False
