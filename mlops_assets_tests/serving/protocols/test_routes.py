import subprocess
import sys

import pytest

from serving.protocols.routes import PARSE, Route, match


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/models/m/predict", Route("predict", "POST", "m")),
        ("/models/m/invocations", Route("invocations", "POST", "m")),
        ("/invocations", Route("invocations", "POST")),
        ("/ping", Route("ping")),
        ("/version", Route("version")),
        ("/v2", Route("v2_server")),
        ("/v2/health/live", Route("v2_live")),
        ("/v2/health/ready", Route("v2_ready")),
        ("/v2/models/m", Route("v2_model", "GET", "m")),
        ("/v2/models/m/ready", Route("v2_model_ready", "GET", "m")),
        ("/v2/models/m/infer", Route("v2_infer", "POST", "m")),
        ("/v2/models/m/versions/3", Route("v2_model", "GET", "m", "3")),
        ("/v2/models/m/versions/3/ready", Route("v2_model_ready", "GET", "m", "3")),
        ("/v2/models/m/versions/3/infer", Route("v2_infer", "POST", "m", "3")),
    ],
)
def test_a_path_means_an_operation(path: str, route: Route):
    assert match(path) == route


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1/models//predict",
        "/v1/models/a/b/predict",
        "/v2/models",
        "/v2/models/",
        "/v2/models/m/",
        "/v2/models/m/versions",
        "/v2/models/m/infer/x",
        "/v2/models/m/generate",
        "/v2/models/m/infer\n",
        "/models/m",
        "/PING",
    ],
)
def test_other_paths_mean_nothing(path: str):
    assert match(path) is None


def test_every_operation_that_is_posted_has_a_parser():
    paths = ("/v1/models/m/predict", "/invocations", "/v2/models/m/infer", "/ping", "/v2")
    posted = {route.operation for route in map(match, paths) if route and route.method == "POST"}
    assert posted == set(PARSE)


def test_errors_of_the_open_inference_protocol_have_its_shape():
    found = [match(path) for path in ("/v2", "/v2/models/m/infer", "/invocations")]
    assert [route.is_open_inference for route in found if route] == [True, True, False]


def test_speaking_them_all_costs_no_import_of_pandas_or_arrow():
    script = "import sys, serving.protocols.routes; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert not {b"pandas", b"pyarrow", b"mlflow", b"ray", b"sklearn"} & set(loaded.stdout.split())
