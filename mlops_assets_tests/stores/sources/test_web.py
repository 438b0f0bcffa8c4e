"""Who is asked, with what: TLS, tokens and other addresses, against real servers."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops_assets.domain.errors import SourceError
from mlops_assets.stores.sources.copies import copy_of
from mlops_assets.stores.sources.web import WebFile
from mlops_assets_tests.site import Handler, Site, says, serving
from mlops_assets_tests.waiting import PATIENCE

PATIENT = dt.timedelta(seconds=PATIENCE)
TOKEN = "t0p-s3cret"


def content(address: str, token_env: str = "") -> bytes:
    return copy_of(WebFile(address, PATIENT, token_env)).path.read_bytes()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + made.public_bytes(pem))
    return path


@pytest.fixture
def safe_site(certificate: Path, site: Site) -> Iterator[Site]:
    """The same folder over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(site.folder, context) as found:
        yield found


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def test_https_is_read_if_the_certificate_is_trusted(safe_site: Site, trusted: None):
    assert content(safe_site.write("rows.csv", "a\n1\n")) == b"a\n1\n"


def test_a_certificate_that_nobody_vouches_for_is_refused(safe_site: Site):
    with pytest.raises(SourceError, match=r"cannot be trusted: self.signed.*SSL_CERT_FILE"):
        content(safe_site.write("rows.csv", "a\n1\n"))
    assert safe_site.seen == []


def test_a_server_without_tls_is_named(site: Site):
    address = site.write("rows.csv", "a\n1\n").replace("http:", "https:")
    with pytest.raises(SourceError, match=r"does not speak TLS as expected|SSLEOFError"):
        content(address)


def test_nothing_leads_from_https_to_http(safe_site: Site, trusted: None, site: Site):
    target = site.write("rows.csv", "a\n1\n")
    address = safe_site.trick("rows.csv", says(302, Location=f"{target}?key=s3cret"))
    with pytest.raises(SourceError, match="from https to http is not followed") as found:
        content(address)
    assert site.seen == []
    assert "s3cret" not in str(found.value)


def test_http_leads_to_https(safe_site: Site, trusted: None, site: Site):
    leads = says(301, Location=safe_site.write("rows.csv", "a\n1\n"))
    assert content(site.trick("rows.csv", leads, leads)) == b"a\n1\n"


def test_a_token_of_the_environment_opens_what_is_locked(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    def locked(handler: Handler) -> None:
        right = handler.headers["Authorization"] == f"Bearer {TOKEN}"
        handler.answer(200 if right else 401, b"a\n1\n" if right else b"", ETag='"1"')

    address = site.trick("rows.csv", *[locked] * 9)
    with pytest.raises(SourceError, match=r"401.*wants a login.*source\.token_env"):
        content(address)
    with pytest.raises(SourceError, match="'SHOP_TOKEN', which is not set"):
        content(address, "SHOP_TOKEN")
    monkeypatch.setenv("SHOP_TOKEN", "old")
    with pytest.raises(SourceError, match="refuses the token of the variable SHOP_TOKEN: renew"):
        content(address, "SHOP_TOKEN")
    monkeypatch.setenv("SHOP_TOKEN", f"{TOKEN}\n")
    assert content(address, "SHOP_TOKEN") == b"a\n1\n"
    kept = (file for file in copy_of(WebFile(address, PATIENT, "SHOP_TOKEN")).path.parent.iterdir())
    assert not any(TOKEN.encode() in file.read_bytes() for file in kept)


def test_what_can_be_no_token_is_not_told(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHOP_TOKEN", f"{TOKEN}\nX-Other: 1")
    with pytest.raises(SourceError, match="holds no bearer token") as found:
        content(site.write("rows.csv", "a\n"), "SHOP_TOKEN")
    assert TOKEN not in str(found.value)
    assert site.seen == []


def test_a_token_is_for_the_server_that_it_is_meant_for(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    (tmp_path / "other").mkdir()
    with serving(tmp_path / "other") as other:
        other.write("rows.csv", "a\n1\n")
        away = says(302, Location=f"{other.url}/rows.csv")
        address = site.trick("rows.csv", *[says(302, Location="/moved.csv")] * 2)
        site.trick("moved.csv", away, away)
        assert content(address, "SHOP_TOKEN") == b"a\n1\n"
        assert {asked.get("Authorization") for asked in site.asked} == {f"Bearer {TOKEN}"}
        assert {asked.get("Authorization") for asked in other.asked} == {None}
