#!/bin/sh
# guest-agent.sh PORT: a subset of the QEMU guest agent's protocol, one JSON object a line.
. /lib/berth.sh
ifs() { sep=; for i in lo $(nics); do printf '%s{"name":"%s","hardware-address":"%s","ip-addresses":[' "$sep" $i $(cat /sys/class/net/$i/address); sep=,
  ip -o addr show dev $i | sed -n 's/.* \(inet6\{0,1\}\) \([^ /]*\)\/\([0-9]*\).*/\1 \2 \3/p' | { c=; while read f a p; do
    [ $f = inet ] && t=ipv4 || t=ipv6; printf '%s{"ip-address":"%s","ip-address-type":"%s","prefix":%s}' "$c" $a $t $p; c=,; done; }; printf ']}'; done; }
exec 3<>$1
while :; do
  IFS= read -r l <&3 || { [ -n "$l" ] || { sleep 1; continue; }; }
  case $l in *'"execute"'*) ;; *) continue;; esac
  c=${l#*\"execute\"}; c=${c#*\"}; c=${c%%\"*}; pre=; r='{}'
  case $c in
  guest-ping|guest-set-time) ;;
  guest-sync|guest-sync-delimited) r=${l#*\"id\"}; r=${r#*:}; r=$(echo "${r%%\}*}" | tr -dc '0-9-'); [ $c = guest-sync ] || pre='\377';;
  guest-info) r='{"version":"7.2.0-berth-tiny","supported_commands":['; s=
    for n in guest-ping guest-sync guest-sync-delimited guest-info guest-get-host-name guest-get-osinfo guest-network-get-interfaces guest-get-time guest-fsfreeze-status guest-fsfreeze-freeze guest-fsfreeze-thaw guest-shutdown; do r="$r$s{\"name\":\"$n\",\"enabled\":true,\"success-response\":true}"; s=,; done; r="$r]}";;
  guest-get-host-name) r="{\"host-name\":\"$(hostname)\"}";;
  guest-get-osinfo) r="{\"id\":\"berth-tiny\",\"name\":\"berth-tiny\",\"pretty-name\":\"berth-tiny\",\"kernel-release\":\"$(uname -r)\",\"kernel-version\":\"$(uname -v)\",\"machine\":\"$(uname -m)\"}";;
  guest-network-get-interfaces) r="[$(ifs)]";;
  guest-get-time) r=$(date +%s)000000000;;
  guest-fsfreeze-status) r="\"$(cat /run/frozen 2>/dev/null || echo thawed)\"";;
  guest-fsfreeze-freeze) sync; echo frozen > /run/frozen; r=1;;
  guest-fsfreeze-thaw) echo thawed > /run/frozen; r=1;;
  guest-shutdown) say "shutdown by guest agent"; sync; case $l in *reboot*) reboot -f;; *) poweroff -f;; esac;;
  *) printf '{"error":{"class":"CommandNotFound","desc":"The command %s has not been found"}}\n' "$c" >&3; continue;;
  esac
  printf "$pre%s\n" "{\"return\":$r}" >&3
done
