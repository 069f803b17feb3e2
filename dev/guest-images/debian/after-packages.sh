# after-packages.sh ROOT SOURCE_DIR DISK_ID: no identity of its own, cloud-init on NoCloud, a boot menu without a menu.
set -eu
root=$1 source=$2 disk_id=$3
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root"/etc/ssh/ssh_host_*
echo debian > "$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' > "$root/etc/hosts"
printf 'PARTUUID=%s-01 / ext4 defaults,errors=remount-ro 0 1\n' "$disk_id" > "$root/etc/fstab"
rm -f "$root/etc/resolv.conf"
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
cp "$source/cloud.cfg" "$root/etc/cloud/cloud.cfg.d/90_berth.cfg"
# Without systemd running, enabling the guest agent warns that its unit has no [Install] section: udev starts it.
chroot "$root" systemctl -q enable systemd-networkd systemd-resolved qemu-guest-agent ssh 2>/dev/null || :
chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer systemd-timesyncd e2scrub_reap.service \
  e2scrub_all.timer fstrim.timer dpkg-db-backup.timer man-db.timer
chroot "$root" passwd -q -l root
mkdir -p "$root/boot/grub"
sed "s/@DISK_ID@/$disk_id/" "$source/grub.cfg" > "$root/boot/grub/grub.cfg"
rm -rf "$root"/var/log/*.log "$root"/var/log/apt/* "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
