import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.domain.errors import MlopsError

SERVICE = """
import json, sys
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as call
from ray._common.utils import import_attr
application = call(import_attr("serving.cluster:build"), json.loads(sys.argv[1]))
deployment = application._bound_deployment
print(deployment.name, deployment.max_ongoing_requests)
"""


def built(arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Import and call the builder the way Ray Serve does."""
    return subprocess.run(
        [sys.executable, "-c", SERVICE, arguments],
        env={"PATH": "/usr/bin:/bin", **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


def test_ray_serve_can_build_the_application():
    assert built("{}").stdout == "predictor 200\n"


def test_arguments_are_refused():
    done = built('{"home": "/tmp"}')
    assert done.returncode != 0
    assert "serving.cluster:build takes no args, and got ['home']" in done.stderr


def test_a_cluster_without_a_token_is_not_built(monkeypatch: pytest.MonkeyPatch):
    from serving.cluster import build

    monkeypatch.setenv("MLOPS_SERVE_HOST", "0.0.0.0")
    monkeypatch.delenv("MLOPS_SERVE_TOKEN_FILE", raising=False)
    with pytest.raises(MlopsError, match="token"):
        build({})
