#!/bin/sh
# libvirt.sh SYSTEM: make in SYSTEM what the image that brings libvirt to nodes has of Debian.
#
# A node runs libvirtd and QEMU from a copy of it, long after the container that laid the copy out is gone. So it has the
# mount points of what is the node's, and nothing in it is written to.
set -eu
here=$(dirname "$0")
system=$1
libraries=/usr/lib/x86_64-linux-gnu

python3 "$here/pick.py" "$system" \
  /usr/bin/python3 /usr/lib/python3.11 /usr/lib/os-release /etc/os-release \
  /usr/sbin/libvirtd /usr/sbin/virtlogd /usr/bin/virsh /usr/lib/libvirt/libvirt_iohelper /usr/share/libvirt \
  $libraries/libvirt/connection-driver/libvirt_driver_qemu.so \
  $libraries/libvirt/connection-driver/libvirt_driver_secret.so \
  $libraries/libvirt/connection-driver/libvirt_driver_storage.so \
  $libraries/libvirt/storage-backend/libvirt_storage_backend_fs.so \
  $libraries/libvirt/storage-file/libvirt_storage_file_fs.so \
  /usr/bin/qemu-system-x86_64 /usr/bin/qemu-img $libraries/qemu \
  /usr/share/qemu /usr/share/seabios /usr/lib/ipxe/qemu /usr/share/OVMF \
  --without '*/python3.11/test/*' --without '*/python3.11/lib2to3/*' --without '*/python3.11/pydoc_data/*' \
  --without '*/python3.11/idlelib/*' --without '*/python3.11/ensurepip/*' --without '*/python3.11/config-*' \
  --without '*/python3.11/sqlite3/*' --without '*/python3.11/curses/*' --without '*/python3.11/sitecustomize.py' \
  --without '*/python3.11/tkinter/*' --without '*/python3.11/unittest/*' --without '*/python3.11/asyncio/*' \
  --without '*/lib-dynload/_sqlite3.*' --without '*/lib-dynload/_curses*' --without '*/lib-dynload/readline.*' \
  --without '*/lib-dynload/*test*' --without '*/lib-dynload/xx*' --without '*/lib-dynload/nis.*' \
  --without '*/lib-dynload/_dbm.*' --without '*/lib-dynload/_crypt.*' --without '*/lib-dynload/ossaudiodev.*' \
  --without '/usr/share/qemu/*ppc*' --without '/usr/share/qemu/*sparc*' --without '/usr/share/qemu/*hppa*' \
  --without '/usr/share/qemu/*s390*' --without '/usr/share/qemu/*riscv*' --without '/usr/share/qemu/skiboot*' \
  --without '/usr/share/qemu/openbios*' --without '/usr/share/qemu/u-boot*' --without '/usr/share/qemu/slof*'

for folder in dev proc sys run tmp var/tmp etc/libvirt var/lib/libvirt var/log/libvirt var/cache/libvirt; do
  mkdir -p "$system/$folder"
done
chmod 1777 "$system/tmp" "$system/var/tmp"
ln -s /run "$system/var/run"
cat > "$system/etc/passwd" <<PASSWD
root:x:0:0:root:/root:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
libvirt-qemu:x:64055:64055:QEMU:/nonexistent:/usr/sbin/nologin
PASSWD
cat > "$system/etc/group" <<GROUP
root:x:0:
nogroup:x:65534:
libvirt-qemu:x:64055:
GROUP
cat > "$system/etc/nsswitch.conf" <<NSSWITCH
passwd: files
group: files
hosts: files dns
NSSWITCH
sh "$here/compile.sh" "$system" /usr/lib/python3.11
