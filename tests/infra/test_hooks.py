"""The steps that azd runs around a deployment do their part, and fail where they must."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from infra import hooks
from tests.support.bicep import REGISTRY, ROOT

HOST = "func-acr.example"
APP = (
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg-acr"
    "/providers/Microsoft.Web/sites/func-acr"
)
WEBHOOK = f"{REGISTRY}/webhooks/acr1"
SUBSCRIPTION = REGISTRY.partition("/resourceGroups/")[0]
ROLE = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/r1"
# What `azd down` leaves in the environment.
REMOVED = {
    "ACR_REGISTRY_IDS": f"{REGISTRY}@westeurope",
    "ACR_REMOVED_FUNCTION_URL": f"https://{HOST}/api/AcrWebhook",
    "ACR_REMOVED_WEBHOOK_IDS": WEBHOOK,
    "ACR_REMOVED_APP_PRINCIPAL_ID": "app",
    "ACR_OPERATOR_ID": "operator",
}

# Stands in for az and azd: notes the command, and prints the output of the longest prefix of it.
_STAND_IN = """#!{python}
import json, os, sys
command = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
with open("calls", "a") as calls:
    print(command, file=calls)
outputs = json.load(open("outputs"))
output = outputs[max((each for each in outputs if command.startswith(each)), key=len)]
sys.exit("please run az login") if output is None else print(output)
"""

Hook = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    """Runs a step with the values of azd's environment and the outputs of commands."""
    for program in ("az", "azd"):
        (tmp_path / program).write_text(_STAND_IN.format(python=sys.executable))
        (tmp_path / program).chmod(0o755)

    def run(
        step: str, values: dict[str, str], outputs: dict[str, str | None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "outputs").write_text(json.dumps({"": "", **(outputs or {})}))
        (tmp_path / "calls").write_text("")
        waiting = {"ACR_HEALTH_ATTEMPTS": "3", "ACR_HEALTH_PAUSE_SECONDS": "0"}
        return subprocess.run(
            [sys.executable, ROOT / "infra" / "hooks.py", step],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", **waiting, **values},
        )  # fmt: skip

    return run


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[str], list[str]]:
    """The commands that a step ran, by how they begin."""
    return lambda start: [
        line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith(start)
    ]


@contextmanager
def _app(*statuses: int) -> Iterator[str]:
    """An app whose health endpoint has these statuses, the last one for ever."""
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/health"
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api/AcrWebhook"
        server.shutdown()


def test_health_step_waits_for_200(hook: Hook) -> None:
    """The step after the deployment waits until the app is healthy."""
    with _app(503, 200) as url:
        result = hook("postdeploy", {"FUNCTION_URL": url})
    assert (result.returncode, result.stderr) == (0, "")
    assert "status 503" in result.stdout


def test_health_step_fails_on_dead_app(hook: Hook) -> None:
    """An app that never becomes healthy fails the deployment, before a webhook points at it."""
    with _app(503) as url:
        result = hook("postdeploy", {"FUNCTION_URL": url})
    assert result.returncode == 1
    assert "/api/health has status 503" in result.stderr
    nobody = hook("postdeploy", {"FUNCTION_URL": "http://127.0.0.1:1/api/AcrWebhook"})
    assert nobody.returncode == 1
    assert "no response" in nobody.stderr


def test_health_step_names_inbound_restriction(hook: Hook) -> None:
    """Where the app refuses the address of the machine, one message says what to set."""
    with _app(403) as url:
        result = hook("postdeploy", {"FUNCTION_URL": url})
    assert result.returncode == 1
    assert "ACR_ALLOWED_IPS" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("apps", "functions", "status", "created"),
    [
        ([], "[]", 200, "false"),
        ([APP], "[]", 200, "false"),
        ([APP], '["func-acr/AcrWebhook"]', 503, "false"),
        ([APP], '["func-acr/AcrWebhook"]', 200, "true"),
    ],
    ids=["no app", "no code", "unhealthy", "healthy"],
)
def test_webhooks_need_healthy_app(
    apps: Sequence[str],
    functions: str,
    status: int,
    created: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The templates create webhooks only for an app that has the function and is healthy."""
    commands = []

    def run(*command: str) -> str:
        commands.append(" ".join(command))
        outputs = {"resource": "\n".join(apps), "functionapp": functions}
        return HOST if "defaultHostName" in command else outputs.get(command[1], "")

    monkeypatch.setattr(hooks, "run", run)
    monkeypatch.setattr(hooks, "_status", lambda url: status if url.startswith("https:") else 0)
    hooks.preprovision({"AZURE_ENV_NAME": "acr", "AZURE_SUBSCRIPTION_ID": "1"})
    assert commands[-1] == f"azd env set ACR_CREATE_WEBHOOK {created}"


def test_provision_step_needs_az_login(hook: Hook) -> None:
    """Without a login of az, the step before a deployment fails and decides nothing."""
    values = {"AZURE_ENV_NAME": "acr", "AZURE_SUBSCRIPTION_ID": "1"}
    result = hook("preprovision", values, {"az resource list": None})
    assert result.returncode == 1
    assert "please run az login" in result.stderr


def test_down_keeps_what_removal_needs(hook: Hook, calls: Callable[[str], list[str]]) -> None:
    """The step before `azd down` keeps the outputs that the removal needs."""
    outputs = {"FUNCTION_URL": "u", "WEBHOOK_IDS": WEBHOOK, "APP_PRINCIPAL_ID": "app"}
    assert hook("predown", outputs).returncode == 0
    assert [line.split()[3:] for line in calls("azd env set")] == [
        [f"ACR_REMOVED_{name}", value] for name, value in outputs.items()
    ]
    hook("predown", {})
    assert calls("azd") == []


def _assignments(*principals: str) -> str:
    return json.dumps(
        [{"id": f"a-{who}", "principalId": who, "roleDefinitionId": ROLE} for who in principals]
    )


def test_removal_deletes_webhook_and_role(hook: Hook, calls: Callable[[str], list[str]]) -> None:
    """The step after `azd down` removes the webhook, the role assignments and the role."""
    result = hook(
        "postdown", REMOVED,
        {
            "az acr webhook list": WEBHOOK,
            "az acr webhook get-config": f"https://{HOST}/api/AcrWebhook?registry=x",
            "az role assignment list": _assignments("app", "operator"),
            "az role definition list": "r1",
        },
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    [deleted] = calls("az acr webhook delete")
    assert deleted.endswith("--registry contoso --name acr1")
    assert [line.split()[-1] for line in calls("az role assignment delete")] == [
        "a-app",
        "a-operator",
    ]
    assert len(calls("az role definition delete")) == 1


def test_removal_spares_what_others_use(hook: Hook, calls: Callable[[str], list[str]]) -> None:
    """A webhook that calls another host stays, and so does a role that somebody else has."""
    result = hook(
        "postdown", REMOVED,
        {
            "az acr webhook list": WEBHOOK,
            "az acr webhook get-config": "https://other.example/api/AcrWebhook",
            "az role assignment list": _assignments("app", "somebody"),
            "az role definition list": "r1",
        },
    )  # fmt: skip
    assert result.returncode == 0
    assert "calls another host" in result.stdout
    assert calls("az acr webhook delete") == calls("az role definition delete") == []
    assert [line.split()[-1] for line in calls("az role assignment delete")] == ["a-app"]


def test_removal_spares_builtin_roles(hook: Hook, calls: Callable[[str], list[str]]) -> None:
    """A role of the app that the templates did not create stays as it is."""
    hook("postdown", REMOVED, {"az role assignment list": _assignments("app")})
    assert calls("az role assignment delete") == []


def test_removal_prints_commands_without_login(hook: Hook) -> None:
    """Without a login of az, the removal prints its commands and fails."""
    result = hook("postdown", REMOVED, {"az account show": None})
    assert result.returncode == 1
    assert "az acr webhook delete" in result.stdout
    assert REGISTRY in result.stdout
    assert "az login" in result.stderr
    assert os.linesep not in result.stderr.strip()
