"""A run reduced to its tokens: requests the user again and again, until its standard input ends."""

from __future__ import annotations

import importlib
import json
import logging
import sys
import threading
from datetime import timedelta

import requests

from tap_sage_accounting.auth.manager import TokenManager
from tap_sage_accounting.auth.store import TokenStore
from tap_sage_accounting.exceptions import AuthorizationError


def shorten(name: str, seconds: float) -> None:
    """Set a limit of the tap's, such as `auth.store.STORE_PATIENCE`, that a test need not wait for."""
    module, _, constant = name.rpartition(".")
    place = importlib.import_module(f"tap_sage_accounting.{module}")
    is_delta = isinstance(getattr(place, constant), timedelta)
    setattr(place, constant, timedelta(seconds=seconds) if is_delta else seconds)


def main() -> None:
    settings = json.loads(sys.argv[1])
    logging.basicConfig(level="INFO", stream=sys.stderr)
    for name, seconds in settings.pop("seconds", {}).items():
        shorten(name, seconds)
    store = TokenStore(settings.pop("token_store"), encryption_keys=settings.pop("keys", ()))
    store.check()
    url = f"{settings.pop('api_url')}/user"
    tokens = TokenManager(store=store, user_agent="tests", **settings)
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with requests.Session() as session:
        while not ended.wait(0.05):
            try:
                answer = session.get(url, auth=tokens.sign, timeout=10)
            except AuthorizationError as error:
                sys.exit(f"{type(error).__name__}: {error}")
            if answer.status_code == requests.codes.unauthorized:
                tokens.reject(str(answer.request.headers["Authorization"]).removeprefix("Bearer "))
            else:
                answer.raise_for_status()
            sys.stdout.write("answered\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
