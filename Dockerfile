# The quickstart in a container:
#   docker build -t trl-suite . && docker run --rm -v "$PWD/runs:/study/runs" trl-suite
FROM python:3.12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libegl1 libegl-mesa0 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*
ENV MUJOCO_GL=egl PYTHONUNBUFFERED=1
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt /src && rm -rf /src
RUN useradd --create-home learner && mkdir -p /study/runs && chown -R learner /study
USER learner
WORKDIR /study
ENTRYPOINT ["trl-suite"]
CMD ["run", "experiments/quickstart"]
