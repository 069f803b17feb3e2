#!/bin/bash
# build-tiny.sh OUT.qcow2 [SIZE_MIB]
#
# Builds a disk (BIOS, MBR, FAT, syslinux) with Debian's cloud kernel and a busybox initramfs that is the whole system. It
#   * reads a NoCloud seed (an ISO9660 volume named cidata): local-hostname, network-config v2 matched by MAC, static or
#     DHCP, user-data that starts with #!; without a network-config it asks DHCP;
#   * prints "berth-tiny: booted <hostname> <ip>" on ttyS0, then gives a root shell there;
#   * serves its hostname and what else it knows of itself as text on port 80;
#   * speaks a subset of the QEMU guest agent's protocol, and powers off on the ACPI power button;
#   * counts its boots in a sector of its own disk, for tests of clones and snapshots.
# It needs 80 MiB of memory. No loop device, no mount, no network but apt's.
set -euo pipefail
export LC_ALL=C TZ=UTC PATH="$PATH:/usr/sbin:/sbin"

out=${1:?usage: build-tiny.sh OUT.qcow2 [SIZE_MIB]}
size=${2:-32}
source=$(dirname "$(readlink -f "$0")")/tiny
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000}
work=$(mktemp -d "${TMPDIR:-/tmp}/berth-tiny.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Packages are downloaded and unpacked, never installed: this machine keeps its own kernel.
mkdir "$work/deb" "$work/packages"
kernel_package=$(apt-cache depends --important linux-image-cloud-amd64 |
  sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n1)
[ -n "$kernel_package" ] || { echo "no package linux-image-cloud-amd64: run apt-get update" >&2; exit 1; }
(cd "$work/deb" && apt-get -qq -o APT::Sandbox::User=root download "$kernel_package" busybox-static)
for package in "$work"/deb/*.deb; do dpkg-deb -x "$package" "$work/packages"; done
kernel=${kernel_package#linux-image-}
modules=$work/packages/lib/modules/$kernel/kernel

root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,run,tmp,mnt,lib/mod,www/cgi-bin,etc/acpi/PWRF}
busybox=$(find "$work/packages" -path '*bin/busybox' | head -n1)
install -m755 "$busybox" "$root/bin/busybox"
for applet in $("$busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done

# Modules with what they depend on, in an order that insmod can load. Without their signatures: nothing enforces these,
# and checking one costs a guest under TCG several milliseconds.
seen=' '
add_module() {
  case $seen in *" $1 "*) return ;; esac
  local file dependency
  file=$(find "$modules" -name "$1.ko" -o -name "${1//_/-}.ko" | head -n1)
  [ -n "$file" ] || { echo "$kernel_package has no module $1" >&2; exit 1; }
  for dependency in $(modinfo -F depends "$file" | tr ',' ' '); do add_module "$dependency"; done
  seen="$seen$1 "
  objcopy --strip-debug "$file" "$root/lib/mod/$1.ko"
  echo "$1" >> "$root/lib/mod/order"
}
for module in virtio_pci virtio_blk virtio_net isofs button evdev virtio_console virtio_balloon virtio_rng; do
  add_module "$module"
done

install -m755 "$source/init" "$root/init"
install -m755 "$source"/{berth.sh,udhcpc.sh,guest-agent.sh} "$root/lib/"
install -m755 "$source/power-button.sh" "$root/etc/acpi/PWRF/00000080"
install -m755 "$source/index.cgi" "$root/www/cgi-bin/index.cgi"
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$root" && find . -print0 | sort -z | cpio --quiet -0 -o -H newc --reproducible -R 0:0) |
  lz4 -l -9 -q > "$work/initrd"

# The boot counter's mark is in sector 63, the counter in 64; the FAT with syslinux starts at 1 MiB.
disk=$work/disk.raw
truncate -s "${size}M" "$disk"
printf 'label: dos\nlabel-id: 0xbe47107e\nstart=2048, type=e, bootable\n' |
  sfdisk -q --no-reread --no-tell-kernel "$disk"
mkfs.vfat -F16 --invariant -h 2048 -n BERTHTINY --offset 2048 "$disk" $(( (size - 1) * 1024 )) >/dev/null
cp "$work/packages/boot/vmlinuz-$kernel" "$work/vmlinuz"
cp "$source/syslinux.cfg" "$work/"
touch -d "@$SOURCE_DATE_EPOCH" "$work"/{vmlinuz,initrd,syslinux.cfg}
mcopy -m -i "$disk@@1M" "$work"/{vmlinuz,initrd,syslinux.cfg} ::
syslinux --install --offset 1048576 "$disk"
mbr=$(dpkg -L syslinux syslinux-common | grep -E '/mbr\.bin$' | head -n1)
dd if="$mbr" of="$disk" bs=440 count=1 conv=notrunc status=none
printf 'BERTH-TINY' | dd of="$disk" bs=512 seek=63 conv=notrunc status=none
qemu-img convert -f raw -O qcow2 "$disk" "$out"
