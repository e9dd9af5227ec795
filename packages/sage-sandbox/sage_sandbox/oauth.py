"""The simulated authorization server over HTTP: consent page, token and revocation endpoints."""

from __future__ import annotations

import base64
import binascii
import html
import json
import time
from dataclasses import dataclass
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from sage_sandbox.grants import SCOPES, Client, Code, GrantError, Grants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from sage_sandbox.query import Params

AUTHORIZE_PATH = "/oauth2/auth/central"
TOKEN_PATH = "/token"  # noqa: S105 - a path
REVOKE_PATH = "/revoke"
_CHALLENGE_LENGTHS = range(43, 129)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_PAGE = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: #eef2ef; color: #10221a; }
main { max-width: 30rem; margin: 12vh auto; padding: 2rem; background: #fff; border-radius: 12px;
  box-shadow: 0 2px 16px #0002; }
h1 { font-size: 1.3rem; margin-top: 0; }
button { font: inherit; padding: .6rem 1.6rem; border-radius: 8px; border: 1px solid #0a6b3d; cursor: pointer; }
#allow { background: #0a6b3d; color: #fff; } #deny { background: #fff; color: #0a6b3d; }
small { color: #55665d; }
</style></head><body><main><h1>$title</h1>$content</main></body></html>
"""
)


@dataclass(frozen=True, slots=True)
class Consent:
    """What an application requests of the user; `problem` is the `error` that goes back to it, if any."""

    client: Client
    redirect_uri: str
    params: Params

    def problem(self) -> str | None:
        """Check what the application is to learn of the request."""
        challenge = self.params.get("code_challenge", "")
        if self.params.get("response_type") != "code":
            return "unsupported_response_type"
        if self.params.get("scope", "readonly") not in SCOPES:
            return "invalid_scope"
        if challenge and len(challenge) not in _CHALLENGE_LENGTHS:
            return "invalid_request"
        if self.params.get("code_challenge_method", "plain") not in {"S256", "plain"}:
            return "invalid_request"
        return None

    def back(self, **answer: str) -> Response:
        """Send the browser back to the application."""
        if state := self.params.get("state"):
            answer["state"] = state
        separator = "&" if urlsplit(self.redirect_uri).query else "?"
        return RedirectResponse(f"{self.redirect_uri}{separator}{urlencode(answer)}", status_code=302)


class AuthorizationServer:
    """Serves the three OAuth endpoints from the grants."""

    def __init__(self, grants: Grants, user_name: str, countries: frozenset[str]) -> None:
        self._grants = grants
        self._user_name = user_name
        self._countries = countries

    def authorize(self, params: Params, *, decided: bool, error: str | None = None) -> Response:
        """Show the consent page, or act on the button that was pressed there (`decision` is `allow` or `deny`).

        `error` is an outage that the application gets as the response to any request.
        """
        consent = self._consent(params)
        if isinstance(consent, Response):
            return consent
        if error := error or consent.problem():
            return consent.back(error=error)
        if not decided:
            return self._consent_page(consent)
        if params.get("decision") != "allow":
            return consent.back(error="access_denied", error_description="The user denied access.")
        country = params.get("country", "").upper()
        if country and country not in self._countries:
            return consent.back(error="Invalid request", reason="Email already in use")
        code = Code(
            client_id=consent.client.client_id,
            redirect_uri=consent.redirect_uri,
            scope=params.get("scope", "readonly"),
            challenge=params.get("code_challenge", ""),
            method=params.get("code_challenge_method", "plain"),
            issued_at=time.monotonic(),
        )
        return consent.back(code=self._grants.issue_code(code), country=country or self._grants.country)

    def _consent(self, params: Params) -> Consent | Response:
        """Identify the application; an unknown application or address gets a page and no redirect."""
        client = self._grants.clients.get(params.get("client_id", ""))
        redirect_uri = params.get("redirect_uri", "")
        if client is None:
            return _error_page("Unknown application", "No application is registered with this client_id.")
        if not _is_registered(client, redirect_uri):
            return _error_page("Redirect address not registered", "The application has not registered redirect_uri.")
        return Consent(client, redirect_uri, params)

    def _consent_page(self, consent: Consent) -> Response:
        hidden = "".join(
            f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
            for name, value in consent.params.items()
        )
        content = (
            f"<p><b>{html.escape(consent.client.client_id)}</b> asks for "
            f"<b>{html.escape(consent.params.get('scope', 'readonly'))}</b> access to the accounts of "
            f"{html.escape(self._user_name)}.</p>"
            f'<form method="post" action="{AUTHORIZE_PATH}">{hidden}'
            '<button id="allow" name="decision" value="allow">Allow</button> '
            '<button id="deny" name="decision" value="deny">Deny</button></form>'
            "<p><small>This is a simulated Sage. Nothing here reaches the real one.</small></p>"
        )
        return HTMLResponse(_PAGE.substitute(title="Allow access?", content=content))

    def token(self, params: Params) -> Response:
        """Exchange a code, or rotate a refresh token."""
        try:
            client = self._grants.authenticate(params.get("client_id", ""), params.get("client_secret", ""))
            match params.get("grant_type"):
                case "authorization_code":
                    verifier = params.get("code_verifier", "")
                    tokens = self._grants.exchange(
                        client, _need(params, "code"), _need(params, "redirect_uri"), verifier
                    )
                case "refresh_token":
                    tokens = self._grants.refresh(client, _need(params, "refresh_token"))
                case None:
                    raise GrantError("invalid_request", "grant_type is missing.")  # noqa: TRY301 - one way to refuse
                case _:
                    raise GrantError("unsupported_grant_type", "The grant type is not supported.")  # noqa: TRY301
        except GrantError as error:
            return _refusal(error)
        return JSONResponse(tokens, headers={"Cache-Control": "no-store"})

    def revoke(self, params: Params) -> Response:
        """End a grant."""
        try:
            client = self._grants.authenticate(params.get("client_id", ""), params.get("client_secret", ""))
            self._grants.revoke(client, _need(params, "token"))
        except GrantError as error:
            return _refusal(error)
        return JSONResponse({"success": "ok"})


async def read_form(request: Request) -> Params:
    """Read a form or JSON body, and credentials from HTTP Basic where the body has none."""
    body = (await request.body()).decode(errors="replace")
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = {}
        params = {str(k): str(v) for k, v in parsed.items()} if isinstance(parsed, dict) else {}
    else:
        params = dict(parse_qsl(body, keep_blank_values=True))
    return {**_basic_credentials(request.headers), **params}


def _basic_credentials(headers: Mapping[str, str]) -> Params:
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return {}
    return {"client_id": unquote(client_id), "client_secret": unquote(secret)}


def _is_registered(client: Client, redirect_uri: str) -> bool:
    """Compare exactly, as Sage does; http is for loopback hosts only."""
    address = urlsplit(redirect_uri)
    if address.scheme not in {"http", "https"} or (address.scheme == "http" and address.hostname not in _LOOPBACK):
        return False
    return client.redirect_uris is None or redirect_uri in client.redirect_uris


def _need(params: Params, name: str) -> str:
    if not params.get(name):
        raise GrantError("invalid_request", f"{name} is missing.")
    return params[name]


def _refusal(error: GrantError) -> Response:
    return JSONResponse({"error": error.error, "error_description": error.description}, status_code=400)


def _error_page(title: str, text: str) -> Response:
    content = f"<p>{html.escape(text)}</p>"
    return HTMLResponse(_PAGE.substitute(title=html.escape(title), content=content), status_code=400)
