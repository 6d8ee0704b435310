# The image of the action, of job containers and of `docker run`. See docs/action.md.
#
# Build arguments:
#   BASE_IMAGE   Debian with python3 >= 3.11. constraints.txt was resolved with the default's Python.
#   TORCH        Requirement for torch. PyPI's wheels include CUDA. For a CPU image: torch==2.13.0+cpu. Empty: none.
#   TORCH_INDEX  Index of that build, if not PyPI. For a CPU image: https://download.pytorch.org/whl/cpu
#   FORMATS      Packages that read quantised checkpoints. For others (gptqmodel, ...) derive an image.
#   EXTRAS       Optional dependencies of pyproject.toml to install.
#   COMPILER     Debian packages of a C compiler: Triton kernels are compiled on first use.
#
# The image with vLLM is built on vLLM's own, whose Python environment stays as it is (see .github/workflows/release.yml):
# BASE_IMAGE=vllm/vllm-openai@sha256:..., EXTRAS="gs lm-eval s3" without TORCH, FORMATS=transformers for the tokenizer.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG EXTRAS="gs lm-eval s3 scorers transformers"
WORKDIR /src
# Only this list is copied below: a change of pyproject.toml that adds no requirement keeps the layers.
COPY pyproject.toml ./
# hadolint ignore=SC2086
RUN python3 -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
extra = [line for name in sys.argv[1:] for line in project["optional-dependencies"][name]]; \
print(*project["dependencies"], *extra, sep="\n")' ${EXTRAS} > /requirements.txt
COPY README.md LICENSE ./
COPY gate ./gate
RUN python3 -m venv /venv && /venv/bin/pip wheel --no-cache-dir --no-deps --wheel-dir /dist .

FROM ${BASE_IMAGE}
ARG COMPILER="gcc libc6-dev"
# git: in a job container, actions/checkout needs it to keep the workspace's files
# hadolint ignore=DL3008,SC2086
RUN apt-get update && apt-get install -y --no-install-recommends git git-lfs ${COMPILER} \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/quantgate
ENV PATH=/opt/quantgate/bin:${PATH}
COPY constraints.txt /opt/quantgate/constraints.txt
ARG TORCH="torch"
ARG TORCH_INDEX=""
RUN if [ -n "${TORCH}" ]; then pip install --no-cache-dir --disable-pip-version-check \
    --constraint /opt/quantgate/constraints.txt ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} "${TORCH}"; fi
ARG FORMATS="bitsandbytes compressed-tensors gguf torchao"
COPY --from=build /requirements.txt /opt/quantgate/requirements.txt
# hadolint ignore=SC2086
RUN pip install --no-cache-dir --disable-pip-version-check --constraint /opt/quantgate/constraints.txt \
    --requirement /opt/quantgate/requirements.txt ${FORMATS}
COPY --from=build /dist /opt/quantgate/dist
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps /opt/quantgate/dist/*.whl && pip check

# With these variables the NVIDIA runtime exposes the GPUs; GitHub starts container actions without --gpus.
# GitHub mounts /github/home: models stay on the host's disk for the job's later steps.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HF_HOME=/github/home/.cache/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    PYTHONUNBUFFERED=1
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="quantgate" \
      org.opencontainers.image.description="Tells whether an optimised LLM is significantly worse than the one it replaces." \
      org.opencontainers.image.source="https://github.com/quantgate/quantgate" \
      org.opencontainers.image.documentation="https://github.com/quantgate/quantgate/blob/main/docs/action.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# No USER: GitHub mounts the workspace for root and asks container actions not to set one. `gate action` changes the
# owner of the files it wrote to the workspace's owner; elsewhere use `docker run --user`.
ENTRYPOINT ["gate"]
CMD ["action"]
