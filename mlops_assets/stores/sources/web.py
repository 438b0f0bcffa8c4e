"""What a server answers when it is asked for a file, and what that means for a source.

Only http and https are spoken, also where a server leads on to another address, and never http
after https. Nothing of an answer but its kind is told, and of an address that a server led to no
query, which may hold a key.
"""

import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import is_web

HEADERS = {"User-Agent": "mlops_assets", "Accept": "*/*", "Accept-Encoding": "identity"}
# As for S3, what may pass at once is asked for three times.
BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
NOT_THERE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
LOCKED = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
)
# A pause that is told as a date is not waited for.
SECONDS = re.compile(r"\d{1,9}")
TOKEN = re.compile(r"[\x21-\x7e]+")
# A date tells two contents apart only if both cannot be of the same second.
CLOCK = timedelta(seconds=1)


class PassingError(SourceAwayError):
    """Worth asking again at once, or after `pause` seconds if the server says so."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


@dataclass(frozen=True)
class WebFile:
    """A file at an http(s) address, and how it is asked for.

    `timeout` is for connecting and for each wait; the environment variable `token_env` holds a
    bearer token, if there is one.
    """

    address: str
    timeout: timedelta
    token_env: str = ""

    @property
    def authorization(self) -> dict[str, str]:
        """The header with the token. Raises SourceError if the variable holds none."""
        if not self.token_env:
            return {}
        token = os.environ.get(self.token_env, "").strip()
        if not TOKEN.fullmatch(token):
            raise SourceError(
                f"source.token_env names the environment variable {self.token_env!r}, which "
                + ("holds no bearer token" if token else "is not set")
                + f": export it with the token for {self.address}."
            )
        return {"Authorization": f"Bearer {token}"}


@dataclass(frozen=True)
class Version:
    """By what a server tells the contents of a file apart; empty where it does not."""

    etag: str = ""
    modified: str = ""

    @classmethod
    def of(cls, answer: HTTPResponse) -> "Version":
        """As the headers of an answer say."""
        modified = answer.headers.get("Last-Modified", "")
        if modified and not _is_settled(modified, answer.headers.get("Date", "")):
            modified = ""
        return cls(answer.headers.get("ETag", ""), modified)

    @property
    def conditions(self) -> dict[str, str]:
        """Headers that ask for the file only if it is another one."""
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in asked.items() if value}

    def is_of(self, other: "Version") -> bool:
        """Whether both are of the same content, as far as they tell."""
        return self.etag == other.etag if self.etag or other.etag else self == other

    def __bool__(self) -> bool:
        return bool(self.etag or self.modified)


@contextmanager
def asked(file: WebFile, known: Version) -> Iterator[HTTPResponse | None]:
    """The server's answer, not yet received; None if the file is still the `known` one.

    Raises PassingError or SourceAwayError for what may pass, SourceError for what stays.
    """
    address = file.address
    headers = {**HEADERS, **known.conditions}
    token = file.authorization
    with failures(file):
        try:
            request = Request(_encoded(address), headers=headers)  # noqa: S310
            for name, value in token.items():
                request.add_unredirected_header(name, value)
            answer = _opener().open(request, timeout=file.timeout.total_seconds())
        except HTTPError as error:
            with error:
                if error.code == HTTPStatus.NOT_MODIFIED:
                    answer = None
                else:
                    raise _refusal(file, error) from None
    if answer is None:
        yield None
        return
    with answer:
        if answer.status != HTTPStatus.OK:
            raise SourceError(f"{address} answers with {answer.status} {answer.reason}, no file.")
        if known and Version.of(answer).is_of(known):
            yield None  # a server that does not look at conditions
        else:
            yield answer


@contextmanager
def failures(file: WebFile) -> Iterator[None]:
    """Errors of the network as what they mean for a source."""
    try:
        yield
    except (InvalidURL, ValueError) as error:
        raise SourceError(
            f"{file.address} is no address that can be asked: {error}. Correct source.path."
        ) from error
    except (OSError, HTTPException) as error:
        raise _failure(file, error) from error


def place(file: WebFile, answer: HTTPResponse) -> str:
    """The address, and the one that the server led to."""
    final = answer.geturl()
    led = f", where {without_query(final)} answers," if final != _encoded(file.address) else ""
    return f"{file.address}{led}"


def without_query(address: str) -> str:
    """The address as far as it holds no key that a server may have put there."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class _Redirects(HTTPRedirectHandler):
    """Follows to http and https, never from https to http, and to others without the token."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        """Refuse what leads elsewhere."""
        scheme = urlsplit(newurl).scheme
        if not is_web(newurl) or (req.type == "https" and scheme != "https"):
            fp.close()
            raise SourceError(
                f"{without_query(req.full_url)} leads on to {without_query(newurl)}: from "
                f"{req.type} to {scheme} is not followed. Name the file's own https address."
            )
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None and _origin(newurl) == _origin(req.full_url):
            found.unredirected_hdrs.update(
                {k: v for k, v in req.unredirected_hdrs.items() if k == "Authorization"}
            )
        return found


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc.lower()


def _opener() -> OpenerDirector:
    """No handler of file:, ftp: or data:; proxies are those of the environment."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler,
        UnknownHandler,
        HTTPHandler,
        HTTPSHandler,
        HTTPDefaultErrorHandler,
        _Redirects,
        HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _encoded(address: str) -> str:
    """With blanks and other characters as they travel; what is encoded already stays."""
    parts = urlsplit(address)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    path, query = (quote(text, safe="/%:=&?~+!$,;'@()*[]|") for text in (parts.path, parts.query))
    return urlunsplit((parts.scheme, host, path or "/", query, ""))


def _is_settled(modified: str, date: str) -> bool:
    """Whether the file was last changed in an earlier second than that of the answer."""
    try:
        changed, answered = parsedate_to_datetime(modified), parsedate_to_datetime(date)
        return answered - changed > CLOCK
    except (TypeError, ValueError):
        return False


def _refusal(file: WebFile, error: HTTPError) -> SourceError:
    address = file.address
    told = f"{address} answers with {error.code} {error.reason}"
    if error.code in BUSY or error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return PassingError(f"{told}: try again later.", _pause(error))
    if error.code in NOT_THERE:
        return SourceAwayError(
            f"source {address!r} is not there: {told}. Correct source.path in defs.yaml, or bring "
            "the file back."
        )
    if error.code in LOCKED:
        return SourceError(
            f"{told}: "
            + (
                f"it refuses the token of the variable {file.token_env}: renew it."
                if file.token_env
                else "it wants a login. Name the variable with its bearer token as "
                "source.token_env (`mlops new --token-env`), or fetch the file with a function "
                "(kind: python)."
            )
        )
    if error.code < HTTPStatus.BAD_REQUEST:
        return SourceError(
            f"{address} leads on in a circle, or to what is no http address ({error.code}): name "
            "the file's own address."
        )
    return SourceError(f"{told}: correct source.path in defs.yaml.")


def _pause(error: HTTPError) -> float:
    told = error.headers.get("Retry-After", "")
    return float(told) if SECONDS.fullmatch(told) else 0.0


def _failure(file: WebFile, error: Exception) -> SourceError:
    address = file.address
    reason = getattr(error, "reason", None)
    cause = reason if isinstance(reason, Exception) else error
    if isinstance(cause, TimeoutError):
        return SourceAwayError(
            f"{address} does not answer within {file.timeout.total_seconds():g} s: check the "
            "network and the address; raise source.timeout if it is only slow."
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return SourceError(
            f"{address} cannot be trusted: {cause.verify_message}. Correct the host's name, or "
            "name the authority's certificates in SSL_CERT_FILE."
        )
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
        return SourceError(
            f"{address} does not speak TLS as expected ({cause.reason}): check its scheme and port."
        )
    if isinstance(cause, socket.gaierror):
        return SourceAwayError(
            f"the host of {address} is not known ({cause.strerror}): correct its name, or check "
            "the network."
        )
    if isinstance(cause, ConnectionRefusedError):
        return SourceAwayError(
            f"nothing listens at {address}: check that the server runs, and its port."
        )
    what = f"{type(cause).__name__}: {cause}".rstrip(": ")
    return PassingError(f"the connection to {address} fails ({what}): check the network.")
