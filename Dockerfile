# One image for the webserver, the daemon, the code server (in which runs run), Celery workers and Kubernetes pods.
# What it shall do is its command; without one it is the code server. Health checks stand with each role: compose.yaml.
ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_PROJECT_ENVIRONMENT=/opt/campaign_sync/venv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
# Optional dependencies by name, separated by spaces: "s3 sftp". pyproject.toml lists them.
ARG EXTRAS=""
WORKDIR /build
# The dependencies alone first: they change seldom, and this layer is kept until they do.
COPY pyproject.toml uv.lock ./
RUN for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done \
    && uv sync --locked --no-dev --no-install-project "$@"
COPY README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE ./
COPY docs docs
COPY campaign_sync campaign_sync
RUN for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done \
    && uv sync --locked --no-dev --no-editable "$@"

FROM python:${PYTHON}
RUN groupadd --gid 10001 campaign_sync \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/campaign_sync campaign_sync \
    && mkdir -p /var/lib/campaign_sync/dagster/storage /var/lib/campaign_sync/dagster/logs /opt/campaign_sync/dagster \
    && chmod 700 /var/lib/campaign_sync \
    && chown -R campaign_sync:campaign_sync /var/lib/campaign_sync
COPY --from=build /opt/campaign_sync/venv /opt/campaign_sync/venv
COPY dagster.yaml deploy/workspace.yaml /opt/campaign_sync/dagster/
COPY deploy/celery /opt/campaign_sync/celery
# Dagster writes beside its settings. The settings belong to the image, what is written to the volume.
RUN ln -s /var/lib/campaign_sync/dagster/storage /var/lib/campaign_sync/dagster/logs /opt/campaign_sync/dagster/
# Dagster's own webserver obeys any website. Whoever starts it, as the Helm chart does, gets the guarded one.
RUN mkdir /opt/campaign_sync/bin \
    && ln -s /opt/campaign_sync/venv/bin/campaign-sync-webserver /opt/campaign_sync/bin/dagster-webserver
ENV PATH=/opt/campaign_sync/bin:/opt/campaign_sync/venv/bin:$PATH \
    DAGSTER_HOME=/opt/campaign_sync/dagster \
    CAMPAIGN_SYNC_CONFIG=/etc/campaign_sync/campaign_sync.yaml \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
# Relative paths of the configuration begin here, so they are on the volume.
WORKDIR /var/lib/campaign_sync
VOLUME /var/lib/campaign_sync
EXPOSE 3000 4000
CMD ["campaign-sync-code-server", "-h", "0.0.0.0", "-p", "4000", "-m", "campaign_sync.definitions"]
