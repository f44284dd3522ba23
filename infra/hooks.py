"""The steps that azd runs around a deployment: `python hooks.py <step>`. azure.yaml names them.

They need Python, `az` and `azd`, and no package. azd passes the values of its environment as
environment variables.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

HEALTH_ATTEMPTS = int(os.environ.get("ACR_HEALTH_ATTEMPTS", "20"))
HEALTH_TIMEOUT_SECONDS = 30
HEALTH_PAUSE_SECONDS = float(os.environ.get("ACR_HEALTH_PAUSE_SECONDS", "15"))

# The start of the name of the role that delivery_log.bicep creates.
ROLE = "Container Registry Delivery Log Reader"


class HookError(Exception):
    """A step failed. The message says what to do."""


def run(*command: str) -> str:
    """The output of a command. Raises HookError."""
    # By its path: on Windows, az is a batch file.
    program = shutil.which(command[0])
    if program is None:
        raise HookError(f"`{command[0]}` is not installed.")
    result = subprocess.run(  # noqa: S603 (no shell)
        [program, *command[1:]], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise HookError(f"`{' '.join(command)}` failed:\n{result.stderr.strip()}")
    return result.stdout.strip()


def text(*command: str) -> str:
    """The output of an `az` command as bare text."""
    return run(*command, "--output", "tsv")


def preprovision(values: Mapping[str, str]) -> None:
    """Lets the templates create the webhooks only if the app can receive deliveries.

    The function has no key before the code is deployed, and a webhook of an app that does not
    start would lose every delivery. Azure is asked each time, so that the value is never stale.
    Webhooks that exist stay as they are.
    """
    apps = text(
        "az", "resource", "list", "--subscription", values["AZURE_SUBSCRIPTION_ID"],
        "--resource-type", "Microsoft.Web/sites",
        "--query", f"[?tags.\"azd-env-name\"=='{values['AZURE_ENV_NAME']}'].id",
    )  # fmt: skip
    ready = [_is_ready(app) for app in apps.split()]
    run("azd", "env", "set", "ACR_CREATE_WEBHOOK", "true" if any(ready) else "false")


def _is_ready(app: str) -> bool:
    _, _, subscription, _, group, *_, name = app.split("/")
    chosen = ("--subscription", subscription, "--resource-group", group, "--name", name)
    functions = run("az", "functionapp", "function", "list", *chosen, "--query", "[].name")
    if "AcrWebhook" not in functions:
        return False
    host = run(
        "az", "functionapp", "show", *chosen, "--query", "defaultHostName", "--output", "tsv"
    )
    status = _status(f"https://{host}/api/health")
    if status != 200:
        print(f"The webhooks stay as they are: https://{host}/api/health has {_name(status)}.")
    return status == 200


def postdeploy(values: Mapping[str, str]) -> None:
    """Waits until the health endpoint responds 200. Raises HookError where it never does."""
    url = values["FUNCTION_URL"].removesuffix("AcrWebhook") + "health"
    status = 0
    for attempt in range(HEALTH_ATTEMPTS):
        time.sleep(HEALTH_PAUSE_SECONDS if attempt else 0)
        status = _status(url)
        if status == 200:
            return
        if status == 403:
            raise HookError(
                f"{url} has status 403: the app does not accept the address of this machine. "
                "Run `azd env set ACR_ALLOWED_IPS <addresses>`, then `azd up`."
            )
        print(f"Waiting for {url}, which has {_name(status)}.", flush=True)
    raise HookError(
        f"{url} has {_name(status)}. Open it: the response says what is wrong. "
        "No webhook was created."
    )


def _status(url: str) -> int:
    """The status of a GET request, 0 where there is no response."""
    try:
        with urllib.request.urlopen(url, timeout=HEALTH_TIMEOUT_SECONDS) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _name(status: int) -> str:
    return f"status {status}" if status else "no response"


def predown(values: Mapping[str, str]) -> None:
    """Keeps what `postdown` needs: `azd down` removes the outputs from the environment."""
    for name in ("FUNCTION_URL", "WEBHOOK_IDS", "APP_PRINCIPAL_ID"):
        if values.get(name):
            run("azd", "env", "set", f"ACR_REMOVED_{name}", values[name])


def postdown(values: Mapping[str, str]) -> None:
    """Removes what the deployment created on the registries.

    Without a login of `az`, it prints the commands instead, and fails.
    """
    webhooks = [each for each in values.get("ACR_REMOVED_WEBHOOK_IDS", "").split(",") if each]
    listed = f"{values.get('ACR_REGISTRY_IDS', '')},{values.get('ACR_REGISTRY_ID', '')}"
    registries = {each.split("@")[0].strip() for each in listed.split(",") if each.strip()}
    try:
        run("az", "account", "show")
    except HookError:
        for webhook in webhooks:
            print("az acr webhook delete", *_webhook(webhook))
        for registry in sorted(registries):
            print(f'az role assignment list --scope {registry} --query "[].id"')
        query = f"[?starts_with(roleName, '{ROLE}')]"
        print(f'az role definition list --custom-role-only true --query "{query}"')
        raise HookError(
            "`az` is not logged in, so the webhooks and roles on the registries remain. Run "
            "`az login`, then delete what the commands above name and belongs to this deployment."
        ) from None
    host = urlsplit(values.get("ACR_REMOVED_FUNCTION_URL", "")).hostname
    if not host:
        print("Nothing to remove from the registries: this environment deployed no app.")
        return
    for webhook in webhooks:
        _remove_webhook(webhook, host)
    app = values.get("ACR_REMOVED_APP_PRINCIPAL_ID", "")
    for registry in sorted(registries):
        _remove_role(registry, app, {app, values.get("ACR_OPERATOR_ID", "")})


def _webhook(resource_id: str) -> tuple[str, ...]:
    _, _, subscription, _, group, _, _, _, registry, _, name = resource_id.split("/")
    return (
        "--subscription", subscription, "--resource-group", group, "--registry", registry,
        "--name", name,
    )  # fmt: skip


def _remove_webhook(resource_id: str, host: str | None) -> None:
    *registry, _, name = chosen = _webhook(resource_id)
    if not text("az", "acr", "webhook", "list", *registry, "--query", f"[?name=='{name}'].id"):
        return
    uri = run(
        "az", "acr", "webhook", "get-config", *chosen, "--query", "serviceUri", "--output", "tsv"
    )
    if urlsplit(uri).hostname != host:
        print(f"Kept webhook {name}: it calls another host now.")
        return
    run("az", "acr", "webhook", "delete", *chosen)
    print(f"Removed webhook {name}.")


def _remove_role(registry: str, app: str, principals: set[str]) -> None:
    """Removes the role assignments on a registry, and the role if nobody else has it."""
    _, _, subscription, _, group, *_ = registry.split("/")
    scope = ("--subscription", subscription, "--scope", registry)
    found = json.loads(run("az", "role", "assignment", "list", *scope))
    held = {each["roleDefinitionId"] for each in found if each["principalId"] == app}
    for role in sorted(held):
        name = role.rpartition("/")[2]
        definition = ("--subscription", subscription, "--name", name)
        if not text(
            "az", "role", "definition", "list", *definition, "--custom-role-only", "true",
            "--query", f"[?starts_with(roleName, '{ROLE}')].id",
        ):  # fmt: skip
            continue
        ours = [each for each in found if each["roleDefinitionId"] == role]
        for each in ours:
            if each["principalId"] in principals:
                run("az", "role", "assignment", "delete", "--ids", each["id"])
        if all(each["principalId"] in principals for each in ours):
            run(
                "az", "role", "definition", "delete", *definition,
                "--scope", f"/subscriptions/{subscription}/resourceGroups/{group}",
            )  # fmt: skip
        print(f"Removed the role of the app on {registry.rpartition('/')[2]}.")


STEPS = {step.__name__: step for step in (preprovision, postdeploy, predown, postdown)}

if __name__ == "__main__":
    try:
        STEPS[sys.argv[1]](os.environ)
    except HookError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
