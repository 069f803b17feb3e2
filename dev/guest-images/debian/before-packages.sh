# before-packages.sh ROOT: what the packages' own scripts find when they are configured: a small initramfs (ext4 is in
# the kernel, only the disk drivers are needed) and kernel links that grub.cfg can rely on.
set -eu
root=$1
mkdir -p "$root/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nCOMPRESS=zstd\nRESUME=none\nFSTYPE=ext4\n' > "$root/etc/initramfs-tools/conf.d/berth"
printf '%s\n' virtio_pci virtio_blk virtio_scsi sd_mod ahci ata_piix nvme > "$root/etc/initramfs-tools/modules"
printf 'do_symlinks = yes\nlink_in_boot = no\ndo_bootloader = no\n' > "$root/etc/kernel-img.conf"
