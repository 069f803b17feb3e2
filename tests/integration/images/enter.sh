#!/bin/sh
# enter.sh ROOT USER PROGRAM [ARGUMENT...], in a mount namespace of its own
#
# What a runtime gives a container: devices, /proc, a /tmp to write to, a user, and a root that nobody
# can write to.
set -eu
root=$1 user=$2
shift 2
mount --bind "$root" "$root"
cd "$root"
mount -t tmpfs -o mode=755 none dev
for device in null zero full random urandom; do
  : > "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mount --bind /proc proc
mount -t tmpfs -o mode=1777 none tmp
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" "$root" "$@"
