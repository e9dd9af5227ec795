"""The simulated Sage as an ASGI application: routing, the gate before the API, troubles, the log, the controls."""

from __future__ import annotations

import asyncio
import fnmatch
import gzip
import json
import random
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sage_sandbox.api import PREFIX, Answer, Api, Call
from sage_sandbox.oauth import AUTHORIZE_PATH, REVOKE_PATH, TOKEN_PATH, AuthorizationServer, read_form
from sage_sandbox.pages import encode
from sage_sandbox.refusals import (
    RefusalError,
    forbidden,
    not_found,
    too_many,
    unauthorised,
    unexpected,
)
from sage_sandbox.shelf import Shelf
from sage_sandbox.storage import STORAGE_PREFIX, refused_by_storage
from sage_sandbox.traffic import LoggedRequest, RateLimiter, RequestLog, retry_after
from sage_sandbox.wire import BY_HAND, send_by_hand

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.types import Receive, Scope, Send

    from sage_sandbox.faults import Fault, Faults
    from sage_sandbox.grants import Grants
    from sage_sandbox.query import Params
    from sage_sandbox.storage import Storage
    from sage_sandbox.store import World

_OAUTH_PATHS = {AUTHORIZE_PATH: "authorize", TOKEN_PATH: "token", REVOKE_PATH: "revoke"}
_CONTROL_PREFIX = "/_sandbox/"
_GATEWAY_PAGE = b"<html><head><title>One moment</title></head><body><h1>We are working on it.</h1></body></html>"
_REFUSED_PAGE = b"<html><head><title>Request blocked</title></head><body><h1>Access denied</h1></body></html>"
_GATEWAY_BODY = b'{"message":"Forbidden"}'
_WORTH_COMPRESSING = 500
_KEPT_COMPRESSED = 64 * 1024 * 1024
_FIRST_PAGE = frozenset({"first_page", "same_page", "fresh_rows"})


class SandboxApp:
    """Everything that listens behind one address. World, faults and log may be used from other threads."""

    def __init__(
        self,
        *,
        world: World,
        faults: Faults,
        grants: Grants,
        api: Api,
        storage: Storage,
        requests: RequestLog,
        advance: Callable[[int], None],
    ) -> None:
        self.world = world
        self.faults = faults
        self.grants = grants
        self.api = api
        self.storage = storage
        self.requests = requests
        self.lock = threading.RLock()
        self.in_flight_max = 0
        self.closing = asyncio.Event()
        self._advance = advance
        self._in_flight = 0
        self._turn = 0
        self._cached: dict[tuple[object, ...], tuple[Answer, datetime]] = {}
        self._limiter = RateLimiter(faults)
        self._compressed: Shelf[bytes] = Shelf(_KEPT_COMPRESSED)
        self._chance = random.Random(faults.jitter_seed)  # noqa: S311 - chance, not secrecy
        countries = frozenset(business.country for business in world.businesses.values())
        self._authorization = AuthorizationServer(grants, str(world.user.get("displayed_as", "")), countries)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        path = request.url.path
        if path.startswith(_CONTROL_PREFIX):
            response = await self._control(request, path.removeprefix(_CONTROL_PREFIX))
            await response(scope, receive, send)
            return
        started = time.monotonic()
        call = Call(
            request.method,
            path.removeprefix(PREFIX).strip("/"),
            dict(request.query_params),
            request.headers.get("x-business") or None,
            request.headers.get("accept", ""),
        )
        is_api = path.startswith(PREFIX)
        self._in_flight += is_api
        self.in_flight_max = max(self.in_flight_max, self._in_flight)
        try:
            with suppress(ClientDisconnect):  # who went away in the middle of a request wants no response
                await self._serve(request, send, call, started)
        finally:
            self._in_flight -= is_api

    async def _serve(self, request: Request, send: Send, call: Call, started: float) -> None:
        path = request.url.path
        short = _OAUTH_PATHS.get(path, call.path)
        business = self.api.business_of(call) if path.startswith(PREFIX) else None
        fault = self.faults.strike(short, business, call.page, call.params)
        if fault is not None and fault.what == "drop":
            self._log(call, path, 0, started)
            await _reset(request)
            return
        if fault is not None and (foreign := _foreign_answer(fault)) is not None:
            self._log(call, path, foreign.status_code, started)
            await self._send(request, send, foreign, fault)
            return
        if path in _OAUTH_PATHS:
            response = await self._oauth(request, path, fault)
        elif path.startswith(PREFIX):
            response = await self._api(request, call, fault)
        elif path.startswith(STORAGE_PREFIX):
            response = await self._stored(request, fault)
        else:
            response = _json(Answer(404, encode(RefusalError(404, "RecordNotFound", "Unknown path.").body)))
        if fault is not None and fault.what == "late":
            await self._wait(fault.seconds)
        if not path.startswith(STORAGE_PREFIX):  # which has a clock of its own
            self._date(response)
        response.headers["x_request_id"] = uuid.uuid4().hex
        lost = fault is not None and fault.what == "lost"
        self._log(call, path, 0 if lost else response.status_code, started)
        if lost:
            await _reset(request)
        elif fault is not None and fault.what == "cut":
            await _send_half(request, send, response)
        else:
            await self._send(request, send, response, fault)

    async def _send(self, request: Request, send: Send, response: Response, fault: Fault | None) -> None:
        if fault is None or (fault.says is None and fault.what not in BY_HAND):
            await response(request.scope, request.receive, send)
            return
        await send_by_hand(request.scope["state"]["transport"], response, fault, self.closing)
        await _gone(request)

    def _date(self, response: Response) -> None:
        """Let the server whose turn it is say what its clock shows."""
        match self.faults.date_header:
            case "time":
                offsets = self.faults.clock_offsets or [0.0]
                self._turn = (self._turn + 1) % len(offsets)
                age = float(response.headers.get("age", 0))
                now = self.world.clock.now() + timedelta(seconds=offsets[self._turn] - age)
                response.headers["date"] = format_datetime(now, usegmt=True)
            case "unset":
                response.headers["date"] = "Thu, 01 Jan 1970 00:00:00 GMT"
            case "garbled":
                response.headers["date"] = "half past noon"

    def _log(self, call: Call, path: str, status: int, started: float) -> None:
        secretless = {} if path in _OAUTH_PATHS or path.startswith(STORAGE_PREFIX) else call.params
        end = time.monotonic()
        self.requests.append(LoggedRequest(call.method, path, secretless, call.business, status, started, end))

    async def _api(self, request: Request, call: Call, fault: Fault | None) -> Response:
        refusal = self._gate(request, call)
        if refusal is not None:
            return refusal
        await self._take_time(fault)
        if fault is not None and (spoiled := _error_status(fault)) is not None:
            return spoiled
        if fault is not None and fault.what == "redirect_loop":
            return Response(status_code=302, headers={"location": str(request.url)})
        asked = call.page
        if fault is not None and fault.what in _FIRST_PAGE:
            call = replace(call, params={**call.params, "page": "1"})
        with self.lock:
            answer, age = self._answer(call, request)
        response = _json(self._with_raw_texts(answer))
        if age is not None and self.faults.cache != "lying":
            response.headers["Age"] = str(round(age))
        self._add_headers(response)
        if self.faults.echo_business and answer.business is not None:
            response.headers["X-Business"] = answer.business
        if fault is not None:
            response = self._spoil(response, fault, answer)
            if fault.envelope or fault.what in _FIRST_PAGE:
                response.body = _with_envelope(bytes(response.body), fault, asked)
                response.headers["content-length"] = str(len(response.body))
        return self._compress(request, response)

    def _add_headers(self, response: Response) -> None:
        if self.faults.etags:
            response.headers["ETag"] = f'"{sha256(bytes(response.body)).hexdigest()[:32]}"'
        if self.faults.limit_headers:
            response.headers.update({"X-RateLimit-Limit": "150", "X-RateLimit-Remaining": "149"})

    def _answer(self, call: Call, request: Request) -> tuple[Answer, float | None]:
        """Respond, or repeat an earlier response with its age in seconds, as a cache on the way does."""
        if not self.faults.cache_seconds or not fnmatch.fnmatchcase(call.path, self.faults.cached_paths):
            return self.api.answer(call), None
        now = self.world.clock.now()
        key = (call.path, tuple(sorted(call.params.items())), call.business)
        kept, since = self._cached.get(key, (None, now))
        age = (now - since).total_seconds()
        obeys = self.faults.cache == "honest" and "no-cache" in request.headers.get("cache-control", "")
        if kept is not None and age <= self.faults.cache_seconds and not obeys:
            return kept, age
        answer = self.api.answer(call)
        self._cached[key] = answer, now
        return answer, 0.0

    def _with_raw_texts(self, answer: Answer) -> Answer:
        body = answer.body
        for text, raw in self.faults.raw.items():
            body = body.replace(encode(text), raw.encode("latin-1"))
        return replace(answer, body=body)

    def _gate(self, request: Request, call: Call) -> Response | None:
        """Refuse what does not even reach the API: a dead token, too many requests at once or in a minute."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        client_id = self.grants.client_of(token.strip()) if scheme.lower() == "bearer" else None
        if client_id is None or self.faults.refuse_tokens:
            return self._unauthorised()
        if self._in_flight > self.faults.concurrency_limit:
            return _refuse(too_many(retry_after(self.faults, 1, self.world.clock.now())))
        owner = client_id
        if self.faults.rate_limit_per == "business":
            owner = self.api.business_of(call) or client_id
        wait = self._limiter.refuse_for(owner)
        if wait is None:
            return None
        return _refuse(too_many(retry_after(self.faults, wait, self.world.clock.now())))

    def _unauthorised(self) -> Response:
        match self.faults.expired_body:
            case "errors":
                return _refuse(unauthorised())
            case "oauth":
                return _json(Answer(401, encode({"error": "invalid_token", "error_description": "Token expired."})))
            case "html":
                return Response(_GATEWAY_PAGE, status_code=401, media_type="text/html")
            case "empty":
                return Response(status_code=401)

    async def _stored(self, request: Request, fault: Fault | None) -> Response:
        await self._take_time(fault)
        if fault is not None and isinstance(fault.what, int):
            return refused_by_storage(fault.what, "InternalError")
        if fault is not None and fault.what == "redirect_loop":
            return Response(status_code=302, headers={"location": str(request.url)})
        with self.lock:
            response = self.storage.answer(request.url.path, dict(request.query_params), dict(request.headers))
        return response if fault is None else self._spoil(response, fault, Answer(response.status_code, b""))

    async def _oauth(self, request: Request, path: str, fault: Fault | None) -> Response:
        await self._take_time(fault)
        if fault is not None and (spoiled := _error_status(fault)) is not None:
            return spoiled
        params: Params = dict(request.query_params)
        if request.method == "POST":
            params |= await read_form(request)
        if path == AUTHORIZE_PATH:
            outage = fault.what if fault is not None and isinstance(fault.what, str) else None
            return self._authorization.authorize(params, decided=request.method == "POST", error=outage)
        if request.method != "POST":
            return Response(status_code=405, headers={"allow": "POST"})
        response = self._authorization.token(params) if path == TOKEN_PATH else self._authorization.revoke(params)
        return response if fault is None else self._spoil(response, fault, Answer(response.status_code, b""))

    async def _take_time(self, fault: Fault | None) -> None:
        """Wait as long as a request takes."""
        seconds = self.faults.latency
        if self.faults.latency_jitter:
            seconds += self._chance.uniform(0, self.faults.latency_jitter)
        if fault is not None and fault.what == "slow":
            seconds += fault.seconds
        await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        """Wait, but no longer than the server lives."""
        if seconds > 0:
            try:
                await asyncio.wait_for(self.closing.wait(), seconds)
            except TimeoutError:
                return

    def _spoil(self, response: Response, fault: Fault, answer: Answer) -> Response:
        headers = {name: value for name, value in response.headers.items() if name == "x-business"}
        match fault.what:
            case "html" | "error_page":
                page = {"html": _GATEWAY_PAGE, "error_page": encode(unexpected().body)}[fault.what]
                kind = "text/html" if fault.what == "html" else "application/json"
                return Response(page, headers=headers, media_type=kind)
            case "other_size":
                kind = response.headers["content-type"]
                return Response(bytes(response.body) + b"\0", response.status_code, headers, media_type=kind)
            case "wrong_type":
                return Response(bytes(response.body), response.status_code, headers, media_type=fault.media_type)
            case "no_items" | "empty_page" | "odd_rows" | "odd_access_token":
                body = msgspec.json.decode(bytes(response.body))
                if fault.what == "odd_access_token":
                    body["access_token"] = "two\r\nlines"  # noqa: S105 - no token at all
                elif fault.what == "empty_page":
                    body["$items"] = []
                elif fault.what == "odd_rows":
                    body["$items"] = [None, *body["$items"], "row"]
                    body["$total"] += 2
                else:
                    body.pop("$items", None)
                return Response(encode(body), headers=headers, media_type="application/json")
            case "other_business":
                others = (each for each in self.world.businesses if each != answer.business)
                response.headers["X-Business"] = next(others, uuid.UUID(int=0).hex)
                return response
            case _:
                return response

    def _compress(self, request: Request, response: Response) -> Response:
        accepted = "gzip" in request.headers.get("accept-encoding", "")
        body = bytes(response.body)
        if not (self.faults.gzip and accepted) or len(body) < _WORTH_COMPRESSING:
            return response
        smaller = self._compressed.get(body, lambda: gzip.compress(body, 1))
        kept = {name: value for name, value in response.headers.items() if name != "content-length"}
        headers = {**kept, "content-encoding": "gzip", "vary": "Accept-Encoding"}
        return Response(smaller, response.status_code, headers)

    async def _control(self, request: Request, action: str) -> Response:
        """Let other processes look at the sandbox and steer it."""
        if (request.method, action) == ("GET", "stats"):
            return _json(Answer(200, encode({**self.requests.stats(), "in_flight_max": self.in_flight_max})))
        if request.method != "POST" or action not in {"advance", "faults"}:
            return _json(Answer(404, encode({"error": "GET stats, POST advance or POST faults"})))
        try:
            body = msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
            with self.lock:
                if action == "faults":
                    self.faults.update(body)
                else:
                    self._advance(int(body.get("days", 1)))
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            return _json(Answer(400, encode({"error": str(error)})))
        return _json(Answer(200, encode({"now": self.world.clock.now().isoformat()})))


def _with_envelope(body: bytes, fault: Fault, asked: int) -> bytes:
    """Let a page say of itself what the fault wants it to say."""
    page: Any = msgspec.json.decode(body)
    if not isinstance(page, dict) or "$items" not in page:
        return body
    if fault.what in {"same_page", "fresh_rows"}:
        page |= {"$page": asked, "$next": f"/list?page={asked + 1}"}
    if fault.what == "fresh_rows":
        page["$items"] = [{**item, "id": uuid.uuid4().hex} for item in page["$items"]]
        page["$total"] = (asked + 1) * len(page["$items"])
    page |= fault.envelope
    return encode({name: value for name, value in page.items() if fault.envelope.get(name, "") is not None})


def _json(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, media_type=answer.media_type)


def _refuse(refusal: RefusalError) -> Response:
    return _json(Answer(refusal.status, encode(refusal.body), headers=refusal.headers))


def _foreign_answer(fault: Fault) -> Response | None:
    """Make the response of a server before Sage; None where Sage responds."""
    if not isinstance(fault.what, int) or fault.by == "sage":
        return None
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    if fault.what in range(HTTPStatus.MULTIPLE_CHOICES, HTTPStatus.BAD_REQUEST):
        headers["Location"] = fault.location
    match fault.by:
        case "firewall":
            page = (
                _REFUSED_PAGE if fault.says is None else f"<html><h1>{fault.says}</h1></html>".encode(errors="replace")
            )
            return Response(page, fault.what, headers, media_type="text/html")
        case "gateway":
            body = _GATEWAY_BODY if fault.says is None else _as_json({"message": fault.says, "error": fault.says})
            return Response(body, fault.what, headers, media_type="application/json")
        case "nobody":
            return Response(b"", fault.what, headers)


_REFUSALS: dict[int, Callable[[], RefusalError]] = {
    401: unauthorised,
    403: forbidden,
    404: lambda: not_found("The path"),
    429: lambda: too_many(None),
}
"""The refusals that Sage words in its own way; it calls the others unexpected."""


def _error_status(fault: Fault) -> Response | None:
    """Make the response of a fault that is an error status."""
    if not isinstance(fault.what, int):
        return None
    words = _REFUSALS.get(fault.what)
    refusal = words() if words is not None else unexpected(fault.what)
    if fault.retry_after is not None:
        refusal.headers["Retry-After"] = str(fault.retry_after)
    if fault.says is None:
        return _refuse(refusal)
    body: Any = [{**refusal.body[0], "$message": fault.says}]
    if fault.path in ("token", "revoke"):
        body = {"error": fault.says, "error_description": fault.says}
    return Response(_as_json(body), refusal.status, refusal.headers, media_type="application/json")


def _as_json(body: Any) -> bytes:
    """Encode halves of pairs, too."""
    return json.dumps(body).encode()


async def _reset(request: Request) -> None:
    """Break the connection without a response."""
    request.scope["state"]["transport"].abort()
    await _gone(request)


async def _send_half(request: Request, send: Send, response: Response) -> None:
    """Announce the whole body, send half of it, and hang up."""
    body = bytes(response.body)
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    request.scope["state"]["transport"].close()
    await _gone(request)


async def _gone(request: Request) -> None:
    """Wait until the web server knows that the connection is closed, so that it expects no response."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
