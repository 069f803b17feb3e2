#!/bin/sh
# Makes a Debian 12 machine (Python >= 3.11 and Go are there) ready for everything that the Makefile does: installs the
# Debian packages that are missing, and makes .venv from requirements.lock. Changes nothing when there is nothing to do.
set -eu
cd "$(dirname "$0")/.."

# libvirt and QEMU: the nodes. The rest, by line: links and namespaces; building libvirt-python; the guest image tiny;
# the guest image debian; the control plane's signing key; Berth's own images, and Pods.
packages="
  libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils seabios ipxe-qemu ovmf libxml2-utils
  iproute2 nftables dnsmasq-base procps util-linux mount busybox-static curl
  libvirt-dev pkg-config gcc libc6-dev python3-dev
  syslinux syslinux-common mtools dosfstools fdisk cpio lz4 kmod binutils
  mmdebstrap debian-archive-keyring e2fsprogs grub-common grub-pc-bin
  openssl ca-certificates
  buildah runc
"

# shellcheck disable=SC2086 # a list of words
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null | sed -n 's/^installed //p') || :
missing=""
for package in $packages; do
  case "
$installed
" in *"
$package
"*) ;; *) missing="$missing $package" ;; esac
done
# Building an image downloads packages, which takes apt's lists.
set -- /var/lib/apt/lists/*_Packages*
if [ -n "$missing" ] || [ ! -e "$1" ]; then
  [ "$(id -u)" = 0 ] || { echo "run as root, or install first:$missing" >&2; exit 1; }
  echo "apt-get update" >&2
  DEBIAN_FRONTEND=noninteractive apt-get -qq update
fi
if [ -n "$missing" ]; then
  echo "installing:$missing" >&2
  # A machine that has no service running yet shall not get one: every node starts its own libvirtd.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >&2
fi

command -v go >/dev/null 2>&1 || { echo "Go is missing: the control plane is built from Go modules" >&2; exit 1; }

python=""
for candidate in python3.11 python3.12 python3.13 python3; do
  if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  if [ "$(id -u)" = 0 ] && apt-cache show python3-venv >/dev/null 2>&1; then
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >&2
    python=python3
  else
    echo "no Python >= 3.11 with its venv module: install python3-venv" >&2
    exit 1
  fi
fi

# The stamp says what the environment was made from: the lock, the interpreter, and of pyproject.toml what is installed.
installed_part='import json, sys, tomllib
data = tomllib.load(open("pyproject.toml", "rb"))
print(sys.version, json.dumps([data["project"], data["build-system"], data["tool"]["hatch"]], sort_keys=True))'
want=$({ cat requirements.lock; "$python" -c "$installed_part"; } | sha256sum | cut -d' ' -f1)
stamp=.venv/berth-stamp
exec 9< requirements.lock
flock 9
if [ ! -x .venv/bin/python ] || [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
  echo "making .venv from requirements.lock" >&2
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock >&2
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2
  echo "$want" > "$stamp"
fi
