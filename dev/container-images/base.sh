#!/bin/sh
# base.sh OUT.tar: make what the Dockerfile's BASE is where no image can be pulled, from packages: Debian 12's smallest
# system with apt. Run as root: mmdebstrap changes its root into the tree.
set -eu
out=${1:?usage: base.sh OUT.tar}
suite=bookworm

# From where this machine has its own packages.
sources=
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.sources \
  /etc/apt/sources.list.d/*.list; do
  if grep -qsE "[[:space:]]$suite([[:space:]]|\$)" "$file" && grep -qs '\bmain\b' "$file"; then
    sources=$file
    break
  fi
done
if [ -z "$sources" ]; then
  echo "$0: no file of apt's sources in /etc/apt names $suite with main: add one, the packages come from there" >&2
  exit 1
fi
# The slim images leave these out, too; copyrights stay.
mmdebstrap --quiet --variant=minbase \
  --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
  "$suite" "$out" "$sources"
