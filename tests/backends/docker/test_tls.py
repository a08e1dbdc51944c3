"""An engine on another machine: known by its certificate, as Kedge is by its own."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.backends.docker.conftest import Lab
from tests.private_engine import PrivateEngine, relay

from kedge import ConfigError, StartRefused
from kedge.testing.orders import Orders
from kedge_docker.engine import Engine as EngineConnection
from kedge_docker.settings import DockerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.docker_engine import Engine

#: where containers of the other machine find Kedge
ENDPOINT = "http://172.17.0.1:8787"
PORT = 2376


class Authority:
    """Signs certificates, which it writes with their keys to a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("authority")
        self.sign("ca", self._key, self._name, is_authority=True)
        self.sign("engine", ec.generate_private_key(ec.SECP256R1()), _name("engine"))
        self.sign("kedge", ec.generate_private_key(ec.SECP256R1()), _name("kedge"))

    def sign(
        self, file: str, key: ec.EllipticCurvePrivateKey, name: x509.Name, *, is_authority: bool = False
    ) -> None:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        (self.folder / f"{file}.pem").write_bytes(certificate.public_bytes(encoding))
        private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
        (self.folder / f"{file}-key.pem").write_bytes(private)

    def tls(self) -> dict[str, str]:
        files = {"ca": "ca", "cert": "kedge", "key": "kedge-key"}
        return {setting: str(self.folder / f"{file}.pem") for setting, file in files.items()}


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def address(authority: Authority, engine: Engine, tmp_path: Path) -> Iterator[str]:
    """Where an engine answers that wants a certificate of the authority. It has no socket of this machine."""
    files = [f"--tls{kind}={authority.folder / f'{file}.pem'}" for kind, file in TLS_OPTIONS.items()]
    options = ["--host", f"tcp://127.0.0.1:{PORT}", "--tlsverify", *files]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    between = f"{tmp_path}/engine.sock"
    with PrivateEngine(engine, *options) as machine, ExitStack() as stack:
        machine.copy(engine.stand_in)
        stack.enter_context(relay(between, f"127.0.0.1:{PORT}", inside=machine.namespace))
        stack.enter_context(relay(f"127.0.0.1:{port}", between))
        door = ENDPOINT.removeprefix("http://")
        stack.enter_context(relay(door, f"{tmp_path}/kedge.sock", inside=machine.namespace))
        yield f"tcp://127.0.0.1:{port}"


TLS_OPTIONS = {"cacert": "ca", "cert": "engine", "key": "engine-key"}


@pytest.fixture
async def lab(tmp_path: Path, engine: Engine) -> AsyncIterator[Lab]:
    async with Orders(f"unix:{tmp_path}/kedge.sock") as orders:
        lab = Lab(tmp_path, orders, engine)
        yield lab
        await lab.close()


async def test_a_build_runs_on_an_engine_that_knows_kedge_by_its_certificate(
    lab: Lab, authority: Authority, address: str, tmp_path: Path
) -> None:
    await lab.open(engine=address, tls=authority.tls(), warm=1, untrusted_network="kedge-builds")

    ended = await lab.run(["exit", 3], endpoint=ENDPOINT)

    assert ended.exit_code == 3
    with pytest.raises(StartRefused, match=r"cannot use the socket of this one; set server\.public_url"):
        await lab.compute.start(lab.request())
    await refuses_strangers(address, authority, Authority(tmp_path / "other"))


async def refuses_strangers(address: str, authority: Authority, other: Authority) -> None:
    """Neither speaks to the other unless both are known."""
    theirs = other.tls() | {"ca": authority.tls()["ca"]}
    refusals = [(None, "HTTPS server"), (theirs, "BAD_CERTIFICATE"), (other.tls(), "VERIFY_FAILED")]
    for tls, word in refusals:
        engine = EngineConnection(DockerSettings.model_validate({"engine": address, "tls": tls}))
        with pytest.raises(ConfigError, match=rf"compute\.docker\.tls: .*{word}"):
            await engine.call("ping")
        await engine.close()
