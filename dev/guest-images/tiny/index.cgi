#!/bin/sh
. /lib/berth.sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "hostname $(hostname)"; echo "boots $(cat /run/boots 2>/dev/null)"; echo "uptime $(cut -d' ' -f1 /proc/uptime)"
echo "boot_id $(cat /proc/sys/kernel/random/boot_id)"
echo "mem_kb $(sed -n 's/MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"; echo "cpus $(nproc)"; net_report
for b in /sys/block/vd* /sys/block/sd*; do [ ! -e $b ] || echo "disk ${b##*/} $(cat $b/size)"; done
