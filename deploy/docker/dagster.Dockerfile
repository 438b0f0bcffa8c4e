# Dagster's webserver, daemon and code server, and the MLflow server: one image, four commands.
# Build it from the repository's root:
#   docker build -f deploy/docker/dagster.Dockerfile -t mlops-assets-dagster:0.1.0 .
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
# As in serving.Dockerfile.
# Debian keeps one version only, so there is none to pin.
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY constraints.txt pyproject.toml setup.cfg README.md LICENSE ./
COPY mlops_assets ./mlops_assets
COPY serving ./serving
# Editable: Dagster's loader looks for pyproject.toml above the package. The variable pins what builds
# the package, too. Without pip itself, and what Ray has for Java workers and reinforcement learning.
RUN python -m venv --without-pip /opt/venv \
    && PIP_CONSTRAINT=/app/constraints.txt pip --python /opt/venv/bin/python install \
        --no-cache-dir --disable-pip-version-check --no-compile \
        -c constraints.txt --editable '.[postgres]' \
    && rm -r /opt/venv/lib/python3.11/site-packages/ray/jars \
        /opt/venv/lib/python3.11/site-packages/ray/rllib
COPY deploy/dagster /app/deploy/dagster
# The commit, which the models' tags name: --build-arg REVISION=$(git describe --always --dirty)
ARG REVISION=""
# Compiled here, because nothing can be at run time: nobody may write there. The code can be read by
# every user, whatever the modes of the folder that it was copied from.
RUN python -m compileall -q -j 0 -x '/tests/' --invalidation-mode unchecked-hash /opt/venv/lib /app \
    && printf '%s' "$REVISION" >/app/mlops_assets/REVISION \
    && chmod -R u=rwX,go=rX /app

FROM python:${PYTHON}
# As in serving.Dockerfile.
RUN groupadd --system --gid 10001 mlops \
    && useradd --system --uid 10001 --gid mlops --home-dir /tmp --shell /usr/sbin/nologin mlops \
    && install --directory --owner=mlops --group=mlops --mode=0700 /var/lib/mlops \
    && python -m compileall -q -j 0 -x '/(site-packages|tests?)/' /usr/local/lib/python3.11
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    GIT_PYTHON_REFRESH=quiet \
    DAGSTER_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    DO_NOT_TRACK=true \
    MLOPS_HOME=/var/lib/mlops \
    MLOPS_DAGSTER_CONFIG=/app/deploy/dagster/dagster.yaml \
    DAGSTER_HOME=/var/lib/mlops/dagster
WORKDIR /app
USER 10001:10001
EXPOSE 3000 4000 5000
STOPSIGNAL SIGTERM
# The healthcheck of the default command; compose.yaml gives the other commands their own.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import grpc; from grpc_health.v1 import health_pb2 as m, health_pb2_grpc as g; raise SystemExit(g.HealthStub(grpc.insecure_channel('127.0.0.1:4000')).Check(m.HealthCheckRequest(service='DagsterApi'), timeout=4).status != 1)"]
CMD ["python", "-m", "dagster", "api", "grpc", "--host", "0.0.0.0", "--port", "4000", "--module-name", "mlops_assets.definitions", "--lazy-load-user-code"]
