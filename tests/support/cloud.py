"""A test double of Azure: tokens for an identity, and roles."""

import time
from dataclasses import dataclass, field

import jwt
from aiohttp import web

from tests.support.servers import forward

CLIENT_ID = "8a0b1c2d-0000-0000-0000-000000000000"
HEADER = "the-platform-s-own"
ALL = frozenset({"send", "create", "read", "process"})
SENDER = frozenset({"send"})
PROCESSOR = frozenset({"process"})
_DENIED = b"<Error><Code>AuthorizationPermissionMismatch</Code><Message>No.</Message></Error>"


@dataclass
class Cloud:
    """Gives tokens to an identity, of the app or of a consumer, and checks its roles.

    It checks roles in front of Azurite, which has none.
    """

    azurite: int
    roles: frozenset[str] = ALL
    has_identity: bool = True
    busy: int = 0  # how many queue creations fail with ServerBusy
    # The role that each request to Storage needs, and the path of the request.
    calls: list[tuple[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)  # the client id of each token request
    settings: dict[str, str] = field(default_factory=dict)

    async def token(self, request: web.Request) -> web.Response:
        """A token, in the form that App Service gives it to an app."""
        assert request.headers["X-IDENTITY-HEADER"] == HEADER
        assert request.query["resource"] == "https://storage.azure.com"
        self.tokens.append(request.query.get("client_id", ""))
        if not self.has_identity:
            return web.json_response({"message": "No identity is assigned."}, status=400)
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
        }
        token = jwt.encode(claims, "x" * 32, "HS256")
        document = {"access_token": token, "expires_on": str(now + 3600), "token_type": "Bearer"}
        return web.json_response(document | {"resource": request.query["resource"]})

    async def storage(self, request: web.Request) -> web.Response:
        """Forwards a request to Azurite if a role allows it."""
        assert request.headers["Authorization"].startswith("Bearer ")
        if request.path.endswith("/messages") and request.method == "POST":
            needed = "send"
        elif "/messages" in request.path and request.query.get("peekonly") != "true":
            needed = "process"
        else:
            needed = "create" if request.method == "PUT" and not request.query else "read"
        self.calls.append((needed, request.path))
        if needed == "create" and self.busy:
            self.busy -= 1
            return web.Response(status=503, headers={"x-ms-error-code": "ServerBusy"})
        if needed not in self.roles:
            headers = {"x-ms-error-code": "AuthorizationPermissionMismatch"}
            return web.Response(
                status=403, body=_DENIED, headers=headers, content_type="application/xml"
            )
        return await forward(request, f"https://127.0.0.1:{self.azurite}")
