"""How tests ask: at any URL, with any clock, and without sleeping."""

import traceback
from dataclasses import dataclass

import requests

from tests.support import TEAM
from vault_asc.apple import Api, Trial, try_key
from vault_asc.clock import Clock, system_clock
from vault_asc.key.identity import Identity
from vault_asc.key.private_key import PrivateKey


@dataclass
class Tries:
    session: requests.Session
    slept: list[float]

    def api(self, url: str, clock: Clock = system_clock) -> Api:
        return Api(self.session, url, clock, self.slept.append)

    def key(self, url: str, key: PrivateKey, identity: Identity = TEAM, clock: Clock = system_clock) -> Trial:
        return try_key(self.api(url, clock), key, identity)


def shown(trial: Trial, error: BaseException | None) -> str:
    """All that could be printed or logged of a try and of the error that it leads to."""
    texts = [repr(trial), trial.detail, str(trial.hint)]
    while error is not None:
        texts += [*traceback.format_exception(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)
