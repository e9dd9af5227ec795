# The tap in a small image: no compiler, no shell tricks, no user but its own, nothing that it writes but /data.
# Build:  docker build --build-arg VERSION=1.2.3 --tag tap-sage-accounting .
# Run:    docs/platforms/containers.md

# The base is pinned by the digest of its images for all machines; Dependabot proposes newer ones.
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS builder
ARG VERSION=0.0.0
WORKDIR /src
COPY .ci/requirements.txt .ci/requirements.txt
# `uv` is the pinned one too; as constraints, the pins and hashes of everything else hold for what is installed only.
RUN pip install --no-cache-dir --root-user-action=ignore "$(sed -n 's/^\(uv==[^ ;\\]*\).*/\1/p' .ci/requirements.txt)" \
    && uv venv --python /usr/local/bin/python /opt/build \
    && uv pip install --no-cache --python /opt/build --constraint .ci/requirements.txt hatchling hatch-vcs editables
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY tap_sage_accounting tap_sage_accounting
# A release brings the wheel that it publishes; anybody else builds one. The licence is there for a COPY without a wheel.
COPY LICENSE dist*/*.whl dist/
RUN test -f "dist/tap_sage_accounting-${VERSION}-py3-none-any.whl" \
    || SETUPTOOLS_SCM_PRETEND_VERSION="${VERSION}" \
       uv build --wheel --no-build-isolation --python /opt/build/bin/python --out-dir dist
RUN uv venv --python /usr/local/bin/python /opt/tap \
    && uv pip install --no-cache --compile-bytecode --python /opt/tap --constraint .ci/requirements.txt \
       "dist/tap_sage_accounting-${VERSION}-py3-none-any.whl[postgres]"

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tap-sage-accounting" \
      org.opencontainers.image.description="Singer tap for Sage Business Cloud Accounting" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The only place that the tap writes to, and not even that where `token_store` is a PostgreSQL database.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=builder /opt/tap /opt/tap
ENV PATH="/opt/tap/bin:${PATH}" \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/data \
    XDG_DATA_HOME=/data
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["tap-sage-accounting"]
CMD ["--help"]
