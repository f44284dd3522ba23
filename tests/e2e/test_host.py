"""The requests that the local host serves."""

import json
import re
from pathlib import Path

import aiohttp

from tests.support.hosts import add_echo, serving
from tools.localhost.ports import free_port


async def test_host_passes_requests_and_responses_unchanged(
    app: Path, http: aiohttp.ClientSession
) -> None:
    """The host passes a request to the function and its response to the client unchanged."""
    add_echo(app)
    port = free_port()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with serving(app, port):
        # Routes are matched without regard to case.
        url = f"http://127.0.0.1:{port}/API/echo/here?a=1&a=2&b=%C3%A9"
        headers = {"X-Two": "2", "traceparent": trace}
        async with http.put(url, data=b"\x00\xff", headers=headers) as response:
            assert response.status == 209
            assert response.headers["x-one"] == "1"
            assert response.headers["content-type"] == "application/json"
            seen = await response.json()
    assert seen["method"] == "PUT"
    assert seen["query"] == {"a": "1,2", "b": "é"}
    assert seen["headers"]["x-two"] == "2"
    assert seen["body"] == "00ff"
    assert seen["trace"] == trace
    assert seen["invocation"]


async def test_failing_function_gets_empty_500(app: Path, http: aiohttp.ClientSession) -> None:
    """A function that raises or returns nothing results in a 500 without a body."""
    add_echo(app)
    port = free_port()
    with serving(app, port):
        for how in ("raise", "none"):
            url = f"http://127.0.0.1:{port}/api/Echo/Here?how={how}"
            async with http.get(url) as response:
                assert response.status == 500
                assert await response.read() == b""


async def test_unknown_path_gets_404(app: Path, http: aiohttp.ClientSession) -> None:
    """The host responds 404 to a path without a function."""
    port = free_port()
    with serving(app, port):
        for path in ("/", "/api", "/api/Other", "/AcrWebhook", "/api/AcrWebhook/x"):
            async with http.post(f"http://127.0.0.1:{port}{path}") as response:
                assert response.status == 404


async def test_host_uses_route_prefix(app: Path, http: aiohttp.ClientSession) -> None:
    """The host serves functions under the route prefix of host.json."""
    document = {"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}
    (app / "host.json").write_text(json.dumps(document))
    port = free_port()
    with serving(app, port):
        ping = (app / "tests/examples/ping/documented.json").read_bytes()
        async with http.post(f"http://127.0.0.1:{port}/AcrWebhook", data=ping) as response:
            assert response.status == 200


async def test_environment_overrides_local_settings(
    app: Path, http: aiohttp.ClientSession, azurite: str
) -> None:
    """The host uses a value of local.settings.json unless the environment sets it."""
    values = {"ACR_REGISTRIES": "contoso.azurecr.io", "AzureWebJobsStorage": "nonsense"}
    (app / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": values}))
    port = free_port()
    with serving(app, port, AzureWebJobsStorage=azurite):
        ping = (app / "tests/examples/ping/documented.json").read_bytes()
        url = f"http://127.0.0.1:{port}/api/AcrWebhook?registry=other.azurecr.io"
        async with http.post(url, data=ping) as response:
            assert response.status == 403


def test_host_says_development_only(app: Path) -> None:
    """The host prints its URLs and says that it is for development only."""
    port = free_port()
    with serving(app, port) as output:
        assert "development only" in output
        assert f"AcrWebhook: [POST] http://127.0.0.1:{port}/api/AcrWebhook" in output


async def test_compressed_body_is_not_decoded(app: Path, http: aiohttp.ClientSession) -> None:
    """The host passes a body with a content encoding to the function unchanged."""
    add_echo(app)
    port = free_port()
    with serving(app, port):
        url = f"http://127.0.0.1:{port}/api/Echo/Here"
        headers = {"Content-Encoding": "gzip", "tracestate": "a=1"}
        async with http.post(url, data=b"\x1f\x8b", headers=headers) as response:
            seen = await response.json()
    assert seen["body"] == "1f8b"
    assert seen["state"] == "a=1"
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", seen["trace"])
