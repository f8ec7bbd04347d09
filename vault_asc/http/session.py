"""The session that every call to Vault and Nexla goes through, and what becomes of its errors."""

import logging
import random
import time
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final

import requests
import urllib3

from vault_asc import __version__
from vault_asc.http import deadline, errors
from vault_asc.http.call import SAFE_METHODS, Call, Limits, Policy, current_call
from vault_asc.http.transport import UNIX_SCHEME, Transport, endpoint
from vault_asc.http.watching import EndedCall, watch
from vault_asc.http.wire import CarriedError

_DEFAULT_LIMITS: Final = Limits()


def session(
    *,
    limits: Limits = _DEFAULT_LIMITS,
    ca_file: Path | None = None,
    retry_methods: frozenset[str] = SAFE_METHODS,
    wait: Callable[[float], object] = time.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
) -> requests.Session:
    """A session with the one HTTP policy; safe to share between threads, and what `hvac.Client(session=)` takes.

    It ignores the environment (proxies, netrc, CA and key-log variables, *_SKIP_VERIFY) and the arguments that would
    weaken it: `verify`, `cert`, `proxies`, `allow_redirects`, `stream`. A numeric `timeout` of a request shortens its
    total, `within(Deadline)` that of all requests in a block. All its errors are `CallError`.

    Args:
        limits: what one call may cost.
        ca_file: PEM file of the only certificates to trust; those of certifi when None.
        retry_methods: upper-case methods that may be repeated after the server may have got the request; a request
            that was certainly not sent is repeated whatever its method.
        wait: sleeps for so many seconds between tries.
        uniform: random number between its two arguments, for the jitter.

    Raises:
        ConfigError: `ca_file` cannot be read or holds no certificate.
    """
    quiet_loggers()
    return _Session(Policy(limits, retry_methods, wait, uniform), Transport(limits.attempts, ca_file))


def quiet_loggers() -> None:
    """Let requests, urllib3 and hvac log errors only.

    At DEBUG urllib3 writes every URL with its query; its warnings hold URLs too, and header text of the server. Set on
    the loggers of the packages, which all their modules inherit, so that a root logger at DEBUG changes nothing.
    """
    for name in ("requests", "urllib3", "hvac"):
        logging.getLogger(name).setLevel(logging.ERROR)


class _Session(requests.Session):
    def __init__(self, policy: Policy, transport: Transport) -> None:
        super().__init__()
        self._policy = policy
        self.trust_env = False
        self.headers.update({"Accept-Encoding": "identity", "User-Agent": f"vault-asc/{__version__}"})
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.adapters.clear()
        for scheme in ("https", "http", UNIX_SCHEME):
            self.mount(f"{scheme}://", transport)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """The request, ready to send.

        The errors of requests and of http.client show the header that is wrong, which may be a token, so ours has
        neither cause nor context.
        """
        try:
            prepared = super().prepare_request(request)
            _check_latin1(prepared.headers)
        except (requests.exceptions.InvalidHeader, UnicodeEncodeError):
            problem = "a header holds characters that HTTP does not allow"
        except (requests.RequestException, ValueError):
            problem = "the URL or the body cannot be sent"
        else:
            return prepared
        raise errors.RequestRefusedError(problem, "", sent=False)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """One call under the policy; `timeout` is all that is taken from the arguments."""
        call = self._begin(endpoint(str(request.url)), kwargs.get("timeout"))
        limits = call.policy.limits
        method = str(request.method).upper()
        token = current_call.set(call)
        try:
            answer = super().send(
                request,
                timeout=(limits.connect, limits.total),
                allow_redirects=False,
                stream=False,
                verify=True,
                cert=None,
                proxies={},
            )
            date, took = answer.headers.get("Date"), time.monotonic() - call.answered_at
            _tell(EndedCall(call.endpoint, method, answer.status_code, date=date, body_took=took))
            return answer  # noqa: TRY300 -- the context variable is reset in `finally` either way
        except (requests.RequestException, urllib3.exceptions.HTTPError) as exc:
            failure = _ours(exc, call)
            cause = errors.system_error(exc)
            _tell(EndedCall(call.endpoint, method, None, broken=errors.is_broken(failure)))
        finally:
            current_call.reset(token)
        # Out here, so that the errors of requests and urllib3, which hold URL, headers and body, are not its context.
        raise failure from cause

    def _begin(self, where: str, timeout: object) -> Call:
        wanted = timeout if isinstance(timeout, int | float) else self._policy.limits.total
        outer = deadline.current()
        budget = min(wanted, self._policy.limits.total, outer.left())
        if budget <= 0:
            raise errors.DeadlineExceededError("no time left for a call", where, sent=False)
        return Call(self._policy, where, budget, outer.sooner(budget))


def _ours(exc: Exception, call: Call) -> errors.CallError:
    if isinstance(exc, CarriedError):
        return exc.error
    if isinstance(exc, ValueError):  # requests' way to say so
        return errors.RequestRefusedError("the URL cannot be used", call.endpoint, sent=False)
    timed_out = errors.stems_from(exc, TimeoutError)
    if call.deadline.left() <= 0 or (timed_out and call.sent):
        return errors.DeadlineExceededError(
            f"no answer within {_seconds(call.budget)}", call.endpoint, sent=call.ever_sent
        )
    if timed_out:
        text = f"no connection within {_seconds(call.policy.limits.connect)}"
        return errors.UnreachableError(text, call.endpoint, sent=call.ever_sent)
    return errors.from_transport(exc, call.endpoint, sent=call.ever_sent)


def _tell(ended: EndedCall) -> None:
    told = watch()
    if told is not None:
        told.ended(ended)


def _seconds(count: float) -> str:
    return f"{round(count, 1):g} s"


def _check_latin1(headers: Mapping[str, str | bytes]) -> None:
    """`UnicodeEncodeError` for a header that http.client could not send."""
    for value in headers.values():
        if isinstance(value, str):
            value.encode("latin-1")
