# One model's service on ONNX Runtime, without torch, compilers, package managers or other models' weights.
#
#   docker build -f deploy/docker/service.Dockerfile --build-arg SERVICE=inpaint -t sightline/inpaint .
#   ... --build-arg RUNTIME=gpu         # CUDA 13 and cuDNN 9; the host supplies the driver
#   ... --build-arg PYTHON=python:3.11-slim-bookworm@sha256:...   # the tested base
#   ... --build-arg PIP_INDEX_URL=...   # a mirror of PyPI
#
# Everything before SERVICE is the same for all services, so that five images share all large layers.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils >/dev/null
ARG PIP_INDEX_URL
ARG RUNTIME=cpu
WORKDIR /build
COPY deploy/docker/install.sh deploy/docker/prune.sh deploy/docker/left-out-of-services.txt deploy/docker/
COPY locks/ locks/
RUN deploy/docker/install.sh locks/${RUNTIME}.txt deploy/docker/left-out-of-services.txt

FROM ${PYTHON} AS system
COPY deploy/docker/slim.sh /tmp/docker/
RUN /tmp/docker/slim.sh

# Copied into an empty image, because files removed in one layer remain in the layer below.
FROM scratch AS runtime
COPY --from=system / /
COPY --from=build /opt/sightline /opt/sightline
# Mount points of volumes; a volume inherits their owner.
COPY --from=system --chown=10001:10001 /srv/empty /blobs
COPY --from=system --chown=10001:10001 /srv/empty /engines
ENV PATH=/opt/sightline/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/srv/shared:/srv \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LD_LIBRARY_PATH=/opt/sightline/cuda \
    # Short-lived threads must not each leave a memory arena behind.
    MALLOC_ARENA_MAX=2 \
    ORT_DISABLE_TELEMETRY=1 \
    SIGHTLINE_HOST=0.0.0.0 \
    SIGHTLINE_PORT=8000
WORKDIR /srv
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# A probe costs 20 ms of processor time, so it runs only once a minute.
HEALTHCHECK --interval=60s --timeout=3s --start-period=120s --retries=3 CMD ["probe", "/readyz"]
ENTRYPOINT ["serve"]

FROM runtime
COPY deploy/docker/probe.sh /usr/local/bin/probe
COPY deploy/docker/serve.sh /usr/local/bin/serve
COPY deploy/docker/build-engines.sh /usr/local/bin/build-engines
COPY LICENSE NOTICE /srv/
COPY shared/sightline/__init__.py /srv/shared/sightline/__init__.py
COPY shared/sightline/api/ /srv/shared/sightline/api/
COPY shared/sightline/evidence/ /srv/shared/sightline/evidence/
COPY shared/sightline/http/ /srv/shared/sightline/http/
COPY shared/sightline/imaging/ /srv/shared/sightline/imaging/
COPY shared/sightline/inference/ /srv/shared/sightline/inference/
COPY shared/sightline/jobs/ /srv/shared/sightline/jobs/
COPY shared/sightline/runtime/ /srv/shared/sightline/runtime/
COPY shared/sightline/materials/ /srv/shared/sightline/materials/
COPY shared/sightline/postprocessing/ /srv/shared/sightline/postprocessing/
COPY shared/sightline/serving/ /srv/shared/sightline/serving/
ARG SERVICE
COPY services/__init__.py /srv/services/__init__.py
COPY services/${SERVICE}/ /srv/services/${SERVICE}/
ARG RUNTIME=cpu
ARG PYTHON
ARG VERSION=dev
ARG REVISION=unknown
ENV SIGHTLINE_SERVICE=${SERVICE}
LABEL org.opencontainers.image.title="sightline ${SERVICE} (${RUNTIME})" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${PYTHON}" \
      org.sightline.sbom="/opt/sightline/sbom.cdx.json"
