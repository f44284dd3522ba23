"""A certificate for the tests' own servers, and the authority that signs it."""

import atexit
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme


@cache
def certificates() -> Path:
    """A folder with cert.pem and key.pem, for this machine, and the authority's ca.pem.

    It is removed when this process ends.
    """
    temporary = TemporaryDirectory(prefix="certificates")
    atexit.register(temporary.cleanup)
    folder = Path(temporary.name)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    return folder
