# farandole in a container: the wheel in a virtual environment, run by nobody in particular.
#
#   docker build --tag farandole .
#
# Both stages start from the same image, because a virtual environment belongs to its interpreter. Any image with
# Python 3.11 or newer and its venv module will do:  --build-arg PYTHON_IMAGE=...
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
RUN python3 -m venv /opt/build && python3 -m venv /opt/farandole
COPY requirements.lock ./
# The lock also names what developers need: as constraints it gives versions only to what the wheel asks for.
RUN sed -e 's/ \\$//' -e '/^ *--hash/d' requirements.lock > constraints.txt \
 && /opt/build/bin/pip install --no-cache-dir --constraint constraints.txt hatchling
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY framework framework
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/farandole/bin/pip install --no-cache-dir --constraint constraints.txt /dist/*.whl \
 && rm -rf /opt/farandole/lib/python3*/site-packages/pip* /opt/farandole/bin/pip*

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/farandole /opt/farandole
# Numeric, so that Kubernetes' runAsNonRoot can see that it is nobody. The volume is writable by this user only.
RUN mkdir -p /var/lib/farandole/artifacts /etc/farandole /agents && chown -R 10001:10001 /var/lib/farandole
ENV PATH=/opt/farandole/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FARANDOLE_ARTIFACTS=/var/lib/farandole/artifacts \
    FARANDOLE_METRICS__LISTEN=:9464
USER 10001:10001
WORKDIR /agents
VOLUME /var/lib/farandole
EXPOSE 9464
# Only processes that serve metrics answer; a command such as `apply` is over before the first question. Swarm and others
# kill what is not healthy, and killing does not help a process that waits for a person: it asks whether the loop steps.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "farandole.telemetry.ask", "http://127.0.0.1:9464/health/live"]
ENTRYPOINT ["farandole"]
CMD ["--help"]
