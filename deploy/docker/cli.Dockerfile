# The command line, for batches through a fleet (`sightline batch`) and for operators (`sightline jobs`).
#
#   docker build -f deploy/docker/cli.Dockerfile -t sightline/cli .
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils >/dev/null
ARG PIP_INDEX_URL
WORKDIR /build
COPY deploy/docker/install.sh deploy/docker/prune.sh deploy/docker/left-out-of-cli.txt deploy/docker/
COPY locks/ locks/
RUN deploy/docker/install.sh locks/cpu.txt deploy/docker/left-out-of-cli.txt

FROM ${PYTHON} AS system
COPY deploy/docker/slim.sh /tmp/docker/
RUN /tmp/docker/slim.sh

FROM scratch
COPY --from=system / /
COPY --from=build /opt/sightline /opt/sightline
ENV PATH=/opt/sightline/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/srv/shared:/srv \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /srv
USER 10001:10001
ENTRYPOINT ["python", "-m", "sightline"]
COPY LICENSE NOTICE /srv/
COPY shared/sightline/ /srv/shared/sightline/
# With the weights, so that `predict` and `batch` also run without a fleet.
COPY services/ /srv/services/
ARG PYTHON
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sightline command line" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${PYTHON}" \
      org.sightline.sbom="/opt/sightline/sbom.cdx.json"
