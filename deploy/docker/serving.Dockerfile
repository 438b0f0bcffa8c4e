# The HTTP endpoint and its follower: `python -m serving`, `python -m serving.sidecar`, Ray nodes.
# Build it from the repository's root:
#   docker build -f deploy/docker/serving.Dockerfile -t mlops-assets-serving:0.1.0 .
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
# What compiles the few modules in Cython; none of it gets into the image.
# Debian keeps one version only, so there is none to pin.
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY constraints.txt deploy/docker/serving-requirements.txt /build/
# Without pip itself, and what Ray has for Java workers and for reinforcement learning.
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --no-compile -c /build/constraints.txt -r /build/serving-requirements.txt \
    && pip install --no-cache-dir --disable-pip-version-check -c /build/constraints.txt \
        cython setuptools \
    && rm -r /opt/venv/lib/python3.11/site-packages/ray/jars \
        /opt/venv/lib/python3.11/site-packages/ray/rllib
COPY LICENSE pyproject.toml setup.cfg /app/
COPY mlops_assets /app/mlops_assets
COPY serving /app/serving
# Compiled here, because nothing can be at run time: nobody may write there. The code can be read by
# every user, whatever the modes of the folder that it was copied from.
RUN CFLAGS=-O3 cythonize --quiet --inplace /app/mlops_assets/compiled/*.pyx \
    && rm -r /app/build /app/mlops_assets/compiled/*.c \
    && python -m compileall -q -j 0 -x '/tests/' --invalidation-mode unchecked-hash /opt/venv/lib /app \
    && chmod -R u=rwX,go=rX /app

FROM python:${PYTHON}
# The same number everywhere, so that volumes and secrets can be given to it by number.
# Python's own image comes without compiled files: each process would compile them again.
RUN groupadd --system --gid 10001 mlops \
    && useradd --system --uid 10001 --gid mlops --home-dir /tmp --shell /usr/sbin/nologin mlops \
    && install --directory --owner=mlops --group=mlops --mode=0700 /var/lib/mlops \
    && python -m compileall -q -j 0 -x '/(site-packages|tests?)/' /usr/local/lib/python3.11
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
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
