#!/bin/bash
# build-debian.sh OUT.qcow2 [SIZE_MIB]
#
# Builds a Debian 12 cloud image (BIOS boot, one MBR partition, ext4) from packages: the cloud kernel, systemd with
# networkd and resolved, cloud-init (NoCloud), qemu-guest-agent, openssh-server, growpart. No disk is mounted or attached:
# the root tree becomes a file system with `mke2fs -d`, and GRUB is written into the gap behind the MBR. Takes about a
# minute. Run as root: mmdebstrap changes its root into the tree.
set -euo pipefail
export LC_ALL=C TZ=UTC PATH="$PATH:/usr/sbin:/sbin"

out=${1:?usage: build-debian.sh OUT.qcow2 [SIZE_MIB]}
size=${2:-2048}
source=$(dirname "$(readlink -f "$0")")/debian
suite=bookworm
# From where this machine has its own packages.
sources=
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.{sources,list}; do
  if grep -qsE "[[:space:]]$suite([[:space:]]|\$)" "$file" && grep -qs '\bmain\b' "$file"; then
    sources=$file
    break
  fi
done
if [ -z "$sources" ]; then
  echo "$0: no file of apt's sources in /etc/apt names $suite with main: add one, the image's packages come from there" >&2
  exit 1
fi
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000}
disk_id=be47deb1                                 # the MBR's disk signature, with which a PARTUUID starts
filesystem_id=b3e47000-0000-4000-8000-0000deb12000
work=$(mktemp -d "${TMPDIR:-/tmp}/berth-debian.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
chmod 755 "$work"
root=$work/root

packages=linux-image-cloud-amd64,initramfs-tools,zstd,systemd-sysv,udev,dbus,kmod
packages+=,systemd-resolved,libpam-systemd,iproute2,iputils-ping,netbase,ca-certificates
packages+=,cloud-init,cloud-guest-utils,fdisk,e2fsprogs,qemu-guest-agent,openssh-server
packages+=,sudo,procps,less

# SOURCE_DATE_EPOCH must not reach Python's byte-compilation: it would select hash-checked .pyc files, and every import
# in the guest would read and hash its source.
env -u SOURCE_DATE_EPOCH mmdebstrap --quiet --variant=minbase --include="$packages" \
  --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --essential-hook="sh '$source/before-packages.sh' \"\$1\"" \
  --customize-hook="sh '$source/after-packages.sh' \"\$1\" '$source' $disk_id" \
  --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
  "$suite" "$root" "$sources"

disk=$work/disk.raw
truncate -s "${size}M" "$disk"
printf 'label: dos\nlabel-id: 0x%s\nstart=2048, type=83, bootable\n' "$disk_id" |
  sfdisk -q --no-reread --no-tell-kernel "$disk"
# Only features that GRUB 2.06 reads, and with which the kernel can grow the file system while it is mounted.
mke2fs -q -t ext4 -L root -U "$filesystem_id" -O ^orphan_file,^metadata_csum_seed -m 1 \
  -E offset=1048576,hash_seed="$filesystem_id",nodiscard -d "$root" "$disk" "$(( (size - 1) * 1024 ))k"

# GRUB without grub-install, which wants a block device: boot.img goes into the MBR, the core image to sector 1 on, where
# boot.img and the core's own block list look for it by default.
grub-mkimage -O i386-pc -o "$work/core.img" -p '(hd0,msdos1)/boot/grub' \
  biosdisk part_msdos ext2 normal configfile linux search test echo ls cat reboot halt
[ "$(stat -c %s "$work/core.img")" -le $((2047 * 512)) ]
dd if=/usr/lib/grub/i386-pc/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
qemu-img convert -c -o compression_type=zstd -f raw -O qcow2 "$disk" "$out"
