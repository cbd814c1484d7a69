# One Dockerfile for each of our services: `scripts/images.sh build` publishes the program into app/ and gives its name.
ARG BASE=localhost/yizhan/base:12
FROM ${BASE}
ARG NAME
ARG VERSION
LABEL org.opencontainers.image.title="yizhan/${NAME}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="see LICENSE" \
      org.opencontainers.image.base.name="debian:12"
COPY app/ /app/
# Volumes take their owner from here. Nothing else is writable.
COPY --chown=10001:10001 empty/ /data/
COPY --chown=10001:10001 empty/ /pki/centre/
COPY --chown=10001:10001 empty/ /pki/site/
COPY --chown=10001:10001 empty/ /pki/services/
USER 10001:10001
WORKDIR /data
ENV YIZHAN_node__dataFolder=/data YIZHAN_log__format=json DOTNET_EnableDiagnostics=0 TMPDIR=/tmp
ENTRYPOINT ["/app/yizhan"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["/app/yizhan", "--healthcheck"]
