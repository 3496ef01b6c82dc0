"""Fixtures: providers and gateways of a test file live as long as the file; each test begins with a clean record."""

import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import BINARY, Gateway, backend, echo  # noqa: E402
from provider import Provider  # noqa: E402
from provider_kinds import KINDS  # noqa: E402


def pytest_configure(config):
    if not os.access(BINARY, os.X_OK) and not config.option.collectonly:
        pytest.exit(f"{BINARY} is not there: build it first, or set EMBERGATE_BINARY", returncode=2)


@pytest.fixture(scope="module")
def providers():
    """One provider of each kind."""
    running = {kind: Provider(kind).__enter__() for kind in KINDS}
    yield running
    for provider in running.values():
        provider.__exit__()


@pytest.fixture(autouse=True)
def clean_record(request):
    """After each test: a gateway that died is the failure of this test and is started again for the next; providers
    forget what they were told."""
    yield
    values = [request.getfixturevalue(name) for name in request.fixturenames
              if name in ("providers", "provider", "house", "gateway", "hasty", "small")]
    for provider in [one for value in values for one in (value.values() if isinstance(value, dict) else [value])]:
        if isinstance(provider, Provider):
            provider.forget()
    said = [value.revive() for value in values if isinstance(value, Gateway) and not getattr(value, "expect_end", False)]
    assert not any(said), next(text for text in said if text)


LLAMA_8B = "meta-llama/Meta-Llama-3.1-8B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"
SHORT = {"connect": "1s", "first_byte": "1500ms", "between_bytes": "1500ms", "total": "20s"}


def house_config(providers, patience=None, **more):
    """One model per kind, named like the kind, asked for as `tiny` there; and `echo`, which has Goodfire's names too."""
    backends = [echo()] + [backend(kind, provider, **({"timeouts": patience} if patience else {}))
                           for kind, provider in providers.items()]
    models = [{"name": "echo", "aliases": [LLAMA_8B, LLAMA_70B], "backends": ["local"]}]
    models += [{"name": kind, "backends": [kind], "upstream": "tiny"} for kind in providers]
    return {"backends": backends, "models": models, **more}


@pytest.fixture(scope="module")
def house(providers):
    """A gateway in front of one provider of each kind, with an echo beside them."""
    with Gateway(**house_config(providers)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def provider():
    """A single OpenAI-shaped provider."""
    with Provider("openai") as one:
        yield one


# --- TLS ---------------------------------------------------------------------------------------------------------------

def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An authority of our own; server certificates that are good, expired, for another name, and self-signed."""
    folder = tmp_path_factory.mktemp("tls")
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=journey authority", "-addext", "basicConstraints=critical,CA:TRUE")
    for name, host, days in (("good", "IP:127.0.0.1", 2), ("expired", "IP:127.0.0.1", -1),
                             ("wrongname", "DNS:other.test", 2)):
        openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={host}\n")
        when = ["-days", "2"] if days > 0 else ["-not_before", "20200101000000Z", "-not_after", "20200102000000Z"]
        try:
            openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out",
                    f"{name}.pem", "-extfile", f"{name}.ext", *when)
        except subprocess.CalledProcessError:
            # OpenSSL 3.0's x509 knows no dates; a negative number of days does.
            openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out",
                    f"{name}.pem", "-extfile", f"{name}.ext", "-days", str(days))
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "self.key", "-out", "self.pem",
            "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    return folder


def carried_by(request):
    """A provider for a fixture with params ["http", "https"]: sockets of our own carry the one, libcurl the other."""
    if request.param == "http":
        return Provider("openai")
    folder = request.getfixturevalue("certificates")
    return Provider("openai", tls=(folder / "good.pem", folder / "good.key"), ca_file=str(folder / "ca.pem"))
