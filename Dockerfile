# The bundled video API, a drop-in for the public image: same port, protocol and environment.
#   docker build -t cloudburst-video-api .
#   docker run -p 5000:5000 -e AUTHENTICATION_KEY=... cloudburst-video-api
FROM python:3.11.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY cloudburst ./cloudburst
COPY stacks ./stacks
COPY tools ./tools
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11.11-slim-bookworm
RUN useradd --create-home --uid 10001 video
COPY tools/container/requirements.lock /tmp/requirements.lock
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock \
    && pip install --no-cache-dir --no-deps /tmp/wheels/*.whl
USER 10001
ENV PORT=5000
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=4)"]
ENTRYPOINT ["cloudburst", "serve"]
CMD ["--host", "0.0.0.0"]
