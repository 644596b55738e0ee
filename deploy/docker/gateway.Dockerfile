# The gateway. It never decodes pixels, so the image has neither ONNX Runtime nor codecs.
#
#   docker build -f deploy/docker/gateway.Dockerfile -t sightline/gateway .
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils >/dev/null
ARG PIP_INDEX_URL
WORKDIR /build
COPY deploy/docker/install.sh deploy/docker/prune.sh deploy/docker/left-out-of-gateway.txt deploy/docker/
COPY locks/ locks/
RUN deploy/docker/install.sh locks/cpu.txt deploy/docker/left-out-of-gateway.txt

FROM ${PYTHON} AS system
COPY deploy/docker/slim.sh /tmp/docker/
RUN /tmp/docker/slim.sh

FROM scratch
COPY --from=system / /
COPY --from=build /opt/sightline /opt/sightline
# Mount points of volumes; a volume inherits their owner.
COPY --from=system --chown=10001:10001 /srv/empty /blobs
ENV PATH=/opt/sightline/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/srv/shared:/srv \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 \
    SIGHTLINE_HOST=0.0.0.0 \
    SIGHTLINE_PORT=8080 \
    SIGHTLINE_SERVICE=gateway
WORKDIR /srv
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# A probe costs 20 ms of processor time, so it runs only once a minute.
HEALTHCHECK --interval=60s --timeout=3s --start-period=120s --retries=3 CMD ["probe", "/readyz"]
ENTRYPOINT ["serve"]
COPY deploy/docker/probe.sh /usr/local/bin/probe
COPY deploy/docker/serve.sh /usr/local/bin/serve
COPY LICENSE NOTICE /srv/
COPY shared/sightline/__init__.py /srv/shared/sightline/__init__.py
COPY shared/sightline/api/ /srv/shared/sightline/api/
COPY shared/sightline/evidence/ /srv/shared/sightline/evidence/
COPY shared/sightline/http/ /srv/shared/sightline/http/
COPY shared/sightline/imaging/ /srv/shared/sightline/imaging/
COPY shared/sightline/jobs/ /srv/shared/sightline/jobs/
COPY shared/sightline/runtime/ /srv/shared/sightline/runtime/
COPY services/__init__.py /srv/services/__init__.py
COPY services/gateway/ /srv/services/gateway/
ARG PYTHON
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sightline gateway" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${PYTHON}" \
      org.sightline.sbom="/opt/sightline/sbom.cdx.json"
