# robaudit with PyTorch and ONNX Runtime for NVIDIA GPUs; runs on machines without a GPU too.
#
#   docker build -t robaudit --build-arg REVISION="$(git rev-parse HEAD)" .
#   docker run --rm --gpus all -v "$PWD:/audit" --user "$(id -u):$(id -g)" robaudit scan model.onnx --data data.npz
FROM python:3.12.14-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254 AS build

WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY profiles profiles
COPY robaudit robaudit
# The wheels of PyTorch for Linux bring the CUDA libraries along, which ONNX Runtime finds there; the driver is the host's.
RUN python -m venv /opt/robaudit \
    && /opt/robaudit/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

FROM python:3.12.14-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=https://github.com/robaudit/robaudit
LABEL org.opencontainers.image.title="robaudit" \
      org.opencontainers.image.description="Audits how easily an ONNX or TorchScript classifier is fooled" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12.14-slim-bookworm"
COPY --from=build /opt/robaudit /opt/robaudit
ENV PATH=/opt/robaudit/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    ROBAUDIT_SAFE_DIRECTORY=/audit/*
# Any user may run it: what it writes goes into the mounted folder.
RUN useradd --uid 10001 --create-home auditor && mkdir /audit && chown auditor /audit
USER 10001
WORKDIR /audit
ENTRYPOINT ["robaudit"]
CMD ["--help"]
