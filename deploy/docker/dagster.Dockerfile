# Dagster's webserver, daemon and code server, and the MLflow server: one image, four commands.
# Build it from the repository's root:
#   docker build -f deploy/docker/dagster.Dockerfile -t mlops-assets-dagster:0.1.0 .
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS dependencies
WORKDIR /app
COPY constraints.txt pyproject.toml setup.cfg README.md LICENSE ./
COPY mlops_assets ./mlops_assets
COPY serving ./serving
# Editable: Dagster's loader looks for pyproject.toml above the package.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
        -c constraints.txt --editable '.[postgres]'

FROM python:${PYTHON}
RUN groupadd --system --gid 10001 mlops \
    && useradd --system --uid 10001 --gid mlops --home-dir /tmp --shell /usr/sbin/nologin mlops \
    && install --directory --owner=mlops --group=mlops --mode=0700 /var/lib/mlops
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=dependencies /app /app
COPY deploy/dagster /app/deploy/dagster
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
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=6 \
    CMD ["dagster", "api", "grpc-health-check", "--host", "127.0.0.1", "--port", "4000"]
CMD ["python", "-m", "dagster", "api", "grpc", "--host", "0.0.0.0", "--port", "4000", "--module-name", "mlops_assets.definitions", "--lazy-load-user-code"]
