# The HTTP endpoint and its follower: `python -m serving`, `python -m serving.sidecar`, Ray nodes.
# Build it from the repository's root:
#   docker build -f deploy/docker/serving.Dockerfile -t mlops-assets-serving:0.1.0 .
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS dependencies
COPY constraints.txt deploy/docker/serving-requirements.txt /build/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
        -c /build/constraints.txt -r /build/serving-requirements.txt

FROM python:${PYTHON}
# The same number everywhere, so that volumes and secrets can be given to it by number.
RUN groupadd --system --gid 10001 mlops \
    && useradd --system --uid 10001 --gid mlops --home-dir /tmp --shell /usr/sbin/nologin mlops \
    && install --directory --owner=mlops --group=mlops --mode=0700 /var/lib/mlops
COPY --from=dependencies /opt/venv /opt/venv
COPY LICENSE pyproject.toml /app/
COPY mlops_assets /app/mlops_assets
COPY serving /app/serving
# Nothing is written outside MLOPS_HOME and /tmp, so the root file system may be read-only.
# /tmp must allow programs to be executed: HAProxy is started through a script there.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    MLOPS_HOME=/var/lib/mlops \
    MLOPS_SERVE_HOST=0.0.0.0 \
    MLOPS_SERVE_PORT=8000
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['MLOPS_SERVE_PORT'] + '/health', timeout=4)"]
CMD ["python", "-m", "serving"]
