# Berth's images: `docker build --target operator .`, `--target agent`, `--target pause`, which anchor Pods run, and
# `--target libvirt` for nodes that have no libvirt of their own.
#
# All start from nothing: they hold Python, the libraries and programs that Berth uses, and Berth; that of anchors one
# program. There is no shell, no package tool and nothing that was needed only to build. docs/images.md tells what is in
# them and how to verify them.
#
# The bases are used to build, and what an image holds of Debian is from BASE. To build from exactly what somebody else
# had, give them by digest: --build-arg BASE=debian@sha256:… (`docker buildx imagetools inspect debian:bookworm-slim`
# prints it).
ARG BASE=debian:bookworm-20250520-slim
ARG GO_BASE=golang:1.26.8-bookworm

# The CNI plugins, with the modules that Go wrote into them.
FROM ${GO_BASE} AS plugins
ARG CNI_PLUGINS_VERSION=v1.9.1
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOBIN=/out/opt/cni/bin
RUN module=github.com/containernetworking/plugins \
 && for plugin in \
      ipam/dhcp ipam/host-local ipam/static \
      main/bridge main/dummy main/host-device main/ipvlan main/loopback main/macvlan main/ptp main/tap main/vlan \
      meta/bandwidth meta/firewall meta/portmap meta/sbr meta/tuning meta/vrf; \
    do set -- "$@" "$module/plugins/$plugin@$CNI_PLUGINS_VERSION"; done \
 && go install -trimpath -buildvcs=false \
      -ldflags "-s -w -X $module/pkg/utils/buildversion.BuildVersion=$CNI_PLUGINS_VERSION" "$@" \
 && mkdir -p /out/usr/share/sbom \
 && cd "$GOBIN" && go version -m * > /out/usr/share/sbom/go-modules.txt

# Everything that either image has of Debian, and the tools that build the rest.
FROM ${BASE} AS build
# Files are dated by this, and so are the images; a pyc names the file that it is from by content, not by date.
ARG SOURCE_DATE_EPOCH=1700000000
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    DEBIAN_FRONTEND=noninteractive \
    LC_ALL=C.UTF-8 \
    PIP_BREAK_SYSTEM_PACKAGES=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_WARN_SCRIPT_LOCATION=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONHASHSEED=0 \
    PYTHONPATH=/opt/build
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      ca-certificates python3 libffi8 libssl3 \
      libvirt0 qemu-utils qemu-system-x86 seabios dnsmasq-base nftables iptables util-linux \
      gcc libc6-dev libvirt-dev pkg-config python3-dev python3-pip \
 && rm -rf /var/lib/apt/lists/*
COPY dev/container-images/build.lock /src/
RUN python3 -m pip install --quiet --no-compile --target /opt/build --only-binary :all: --require-hashes -r /src/build.lock
COPY dev/container-images/pick.py dev/container-images/system.sh \
     dev/container-images/compile.sh /src/

# What the operator needs besides itself: Python's packages, then what they and Python need of Debian.
FROM build AS operator-parts
COPY dev/container-images/operator.lock /src/
RUN python3 -m pip install --quiet --no-compile --root /packages --ignore-installed --only-binary :all: \
      --require-hashes -r /src/operator.lock
RUN sh /src/system.sh /packages /system

# The same for the agent, with the programs that it runs. libvirt-python comes as source only. QEMU is there to find out
# whether KVM runs guests on the node; guests are run by the node's own.
FROM build AS agent-parts
COPY dev/container-images/agent.lock /src/
RUN CFLAGS="-O2 -g0" LDFLAGS=-s python3 -m pip install --quiet --no-compile --root /packages --ignore-installed \
      --only-binary :all: --no-binary libvirt-python --no-build-isolation --use-pep517 \
      --require-hashes -r /src/agent.lock
RUN sh /src/system.sh /packages /system \
      /usr/bin/qemu-img /usr/bin/qemu-system-x86_64 /usr/share/qemu/kvmvapic.bin \
      /usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so \
      /usr/sbin/dnsmasq /usr/sbin/nft /usr/bin/nsenter /usr/bin/prlimit \
      /usr/sbin/iptables /usr/sbin/ip6tables /usr/lib/x86_64-linux-gnu/xtables

# What nodes without a libvirt of their own run guests with, and what lays it out there.
FROM build AS libvirt-parts
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients ovmf ipxe-qemu \
 && rm -rf /var/lib/apt/lists/*
COPY dev/container-images/libvirt.sh /src/
RUN sh /src/libvirt.sh /system

# Berth itself.
FROM build AS project
COPY pyproject.toml README.md LICENSE /src/
COPY crds/berth_api /src/crds/berth_api
COPY operator/berth_operator /src/operator/berth_operator
COPY node-agent/berth_agent /src/node-agent/berth_agent
RUN python3 -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels /src

# For each image the half of Berth that it runs, and the bill of materials of the whole image.
FROM operator-parts AS operator-project
ARG VERSION=0.2.0
COPY dev/container-images/project.sh dev/container-images/sbom.py LICENSE /src/
COPY --from=project /wheels /wheels
RUN sh /src/project.sh operator "$VERSION" /project berth_agent berth-agent /system /packages

FROM agent-parts AS agent-project
ARG VERSION=0.2.0
COPY dev/container-images/project.sh dev/container-images/sbom.py LICENSE /src/
COPY --from=plugins /out /plugins
COPY --from=project /wheels /wheels
RUN sh /src/project.sh agent "$VERSION" /project berth_operator berth-operator /system /plugins /packages

FROM libvirt-parts AS libvirt-project
ARG VERSION=0.2.0
COPY dev/container-images/sbom.py LICENSE /src/
COPY node-agent/berth_libvirt /project/usr/local/lib/python3.11/dist-packages/berth_libvirt
RUN mkdir -p /project/usr/share/sbom /project/usr/share/doc/berth /project/usr/share/berth-libvirt \
 && cp /src/LICENSE /project/usr/share/doc/berth/copyright \
 && sh /src/compile.sh /project /usr/local/lib/python3.11/dist-packages \
 && python3 /src/sbom.py berth-libvirt "$VERSION" /system /project > /project/usr/share/sbom/berth-libvirt.cdx.json \
 && PYTHONPATH=/project/usr/local/lib/python3.11/dist-packages \
      python3 -m berth_libvirt contents /system /project > /contents \
 && mv /contents /project/usr/share/berth-libvirt/contents

# What anchor Pods run, and Pods' sandboxes in clusters for development: it waits.
FROM build AS pause-program
COPY dev/pause /src/
RUN mkdir -p /program/usr/share/doc/libc6 \
 && sh /src/build.sh /program/pause \
 && cp /usr/share/doc/libc6/copyright /program/usr/share/doc/libc6/

FROM scratch AS pause
COPY --from=pause-program /program /
USER 65535:65535
ENTRYPOINT ["/pause"]
ARG VERSION=0.2.0
ARG REVISION=
LABEL org.opencontainers.image.title="berth-pause" \
      org.opencontainers.image.description="Waits, in the Pods that stand for the virtual machines of a node" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM scratch AS agent
COPY --from=agent-parts /system /
COPY --from=plugins /out /
COPY --from=agent-parts /packages /
COPY --from=agent-project /project /
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# It makes network namespaces, taps and disks. What it is allowed besides being root, the chart says.
USER 0:0
ENTRYPOINT ["/usr/local/bin/berth-agent"]
ARG VERSION=0.2.0
ARG REVISION=
LABEL org.opencontainers.image.title="berth-agent" \
      org.opencontainers.image.description="Runs the virtual machines that are bound to its node, under libvirt" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM scratch AS libvirt
COPY --from=libvirt-parts /system /
COPY --from=libvirt-project /project /
ENV PATH=/usr/sbin:/usr/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# It enters the node's file system and starts libvirtd there.
USER 0:0
ENTRYPOINT ["/usr/bin/python3", "-m", "berth_libvirt"]
ARG VERSION=0.2.0
ARG REVISION=
LABEL org.opencontainers.image.title="berth-libvirt" \
      org.opencontainers.image.description="libvirtd and QEMU for nodes that have none, and what keeps them running there" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM scratch AS operator
COPY --from=operator-parts /system /
COPY --from=operator-parts /packages /
COPY --from=operator-project /project /
# numpy's BLAS would keep a thread and its memory for every CPU of the node; nothing here multiplies matrices.
ENV PATH=/usr/local/bin:/usr/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/berth-operator"]
ARG VERSION=0.2.0
ARG REVISION=
LABEL org.opencontainers.image.title="berth-operator" \
      org.opencontainers.image.description="Places virtual machines on nodes, and binds them" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
