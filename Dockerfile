# The application image. It runs the worker; the same image runs `rolldock gateway`, `rolldock init`
# and the client commands.
#
# NOT BUILT AND NOT RUN where it was written: there was no container engine. What of it was checked,
# and how, is in docs/assumptions.md.

FROM python:3.11-slim-bookworm AS build

# The version that the Makefile pins; from PyPI, like every other dependency.
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1
WORKDIR /app

# Dependencies first: this layer changes only with the lock.
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-dev --extra tokens --no-install-project

COPY README.md LICENSE worker.py ./
COPY rolldock rolldock
COPY workflows workflows
COPY activities activities
COPY examples examples
RUN uv sync --locked --no-dev --extra tokens


FROM python:3.11-slim-bookworm

# The home directory is where the sandbox SDK keeps its short-lived tokens. /var/lib/rolldock holds
# the deployment's secret and, where ROLLDOCK_STORE does not say otherwise, the store.
RUN useradd --uid 10001 --create-home rolldock \
    && install -d -o rolldock -g rolldock -m 0700 /var/lib/rolldock
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ROLLDOCK_HOME=/var/lib/rolldock
WORKDIR /app
USER rolldock

CMD ["python", "worker.py"]
