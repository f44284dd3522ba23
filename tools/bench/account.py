"""The account that the benchmark sends to: a stand-in, reached with an identity or with a key."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tools.localhost.processes import ACCOUNT, KEY, ROOT

CONNECTION = "AcrEventsStorage"


@dataclass(frozen=True)
class Account:
    """How a process reaches the stand-in: variables of its environment.

    `identity` is what is deployed, over HTTPS. `key` is a connection string, over HTTP.
    """

    identity: Mapping[str, str]
    key: Mapping[str, str]


@contextmanager
def account(pause_seconds: float = 0) -> Iterator[Account]:
    """A stand-in of its own, whose storage responds after `pause_seconds`."""
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as folder:
        certificate, trusted = Path(folder) / "certificate.pem", Path(folder) / "trusted.pem"
        pem = authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem
        pem.write_to_path(certificate)
        authority.cert_pem.write_to_path(trusted)
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.bench.stand_in", certificate, str(pause_seconds)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,  # Ctrl-C reaches this process, which ends the child
        )  # fmt: skip
        try:
            https, http, tokens = (process.stdout.readline() if process.stdout else "").split()
            yield Account(
                identity={
                    f"{CONNECTION}__queueServiceUri": f"https://localhost:{https}",
                    f"{CONNECTION}__credential": "managedidentity",
                    "IDENTITY_ENDPOINT": f"http://127.0.0.1:{tokens}/token",
                    "IDENTITY_HEADER": "stand-in",
                    "SSL_CERT_FILE": str(trusted),
                },
                key={
                    CONNECTION: f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};"
                    f"AccountKey={KEY};QueueEndpoint=http://127.0.0.1:{http}/{ACCOUNT};"
                },
            )
        finally:
            process.kill()
            process.communicate()


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a subject: `settings`, the app's others at their defaults, no proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ACR_", CONNECTION)) and not name.lower().endswith("_proxy")
    }
    return {**kept, **settings}
