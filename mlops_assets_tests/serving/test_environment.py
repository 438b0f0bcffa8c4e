import socket
import stat
import subprocess
from pathlib import Path

import pytest

from mlops_assets.settings import Settings
from mlops_assets.stores.tokens import TokenError, rotate
from serving.environment import (
    Place,
    ServingError,
    check_address,
    choose_place,
    is_loopback,
    ray_environment,
)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_token(host: str):
    assert is_loopback(host)
    check_address(Settings(serve_host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_a_reachable_address_without_a_token_is_refused(host: str, tmp_path: Path):
    with pytest.raises(ServingError, match="MLOPS_SERVE_TOKEN_FILE"):
        check_address(Settings(serve_host=host))
    rotate(tmp_path / "tokens")
    check_address(Settings(serve_host=host, serve_token_file=tmp_path / "tokens"))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_token_file_that_cannot_be_used_is_refused_whatever_the_address(
    host: str, tmp_path: Path
):
    with pytest.raises(TokenError, match="cannot be read"):
        check_address(Settings(serve_host=host, serve_token_file=tmp_path / "nothing"))


def test_a_taken_port_is_refused_with_the_setting_to_change():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServingError, match="MLOPS_SERVE_PORT"):
            choose_place(Settings(serve_port=taken.getsockname()[1]))


def test_the_folder_for_sockets_is_private_and_short():
    place = choose_place(Settings(serve_port=0))
    try:
        assert stat.S_IMODE(place.folder.stat().st_mode) == 0o700
        assert len(str(place.folder / "ray")) <= 35
        assert place.port > 0
    finally:
        place.folder.rmdir()


def test_the_haproxy_wrapper_closes_what_the_template_leaves_open(tmp_path: Path):
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\ncat "$3"\n')
    program.chmod(0o700)
    place = Place("0.0.0.0", 8000, tmp_path, program)
    variables = ray_environment(place, replicas=2)
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "    stats socket /x mode 666 level admin\n"
        "    timeout client 60s\n"
        "frontend prometheus\n    bind :9101\n"
        "frontend http_frontend\n    bind 127.0.0.1:8000\n"
        "listen stats\n  bind *:8404\n"
    )
    wrapper = variables["RAY_SERVE_HAPROXY_BINARY_PATH"]
    done = subprocess.run(
        [wrapper, "-db", "-f", str(config), "-dR"], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "    stats socket /x mode 600 level admin\n"
        "    timeout client 60s\n    timeout http-request 15s\n"
        "frontend prometheus\n    bind 127.0.0.1:9101\n"
        "frontend http_frontend\n    bind 0.0.0.0:8000\n"
        "listen stats\n  bind 127.0.0.1:8404\n"
    )


def test_instances_of_one_machine_do_not_share_ports_or_secrets(tmp_path: Path):
    one, two = (
        ray_environment(Place("127.0.0.1", 8000, tmp_path, None), replicas=1) for _ in range(2)
    )
    for name in ("RAY_AUTH_TOKEN", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT", "DASHBOARD_METRIC_PORT"):
        assert one[name] != two[name]
    assert "RAY_SERVE_ENABLE_HA_PROXY" not in one
