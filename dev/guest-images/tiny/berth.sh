# What init, the guest agent and the web page share.
say() { echo "berth-tiny: $*" > /dev/ttyS0; }
nics() { for n in /sys/class/net/*; do [ -e $n/device ] && echo $(cat $n/ifindex) ${n##*/}; done | sort -n | cut -d' ' -f2; }
ips() { ip -o addr show dev $1 scope global | sed -n 's/.* inet6\{0,1\} \([^ /]*\).*/\1/p'; }
first_ip() { for i in $(nics); do ips $i; done | head -n1 | grep . || echo -; }
net_report() { for i in $(nics); do echo "nic $i $(cat /sys/class/net/$i/address) $(ips $i | tr '\n' ' ')"; done; }
dhcp() { udhcpc -i $1 -s /lib/udhcpc.sh -t 4 -T 1 -b -x hostname:$(hostname) >/dev/null 2>&1; }
# netplan v2 (block YAML) -> one line per NIC: mac|set-name|dhcp|addresses|gateway|dns|mtu|id
parse_v2() { awk '
  function emit() { if (id != "") print mac "|" sn "|" dh "|" ad "|" gw "|" dns "|" mtu "|" id
                    id = mac = sn = ad = gw = dns = mtu = ""; dh = "no" }
  function clean(v) { gsub(/["\047{}]/, "", v); gsub(/[][]/, "", v); gsub(/ *, */, " ", v); sub(/^ +/, "", v); sub(/ +$/, "", v); return v }
  { sub(/\r$/, ""); sub(/(^| )#.*/, ""); if ($0 ~ /^ *(---)?$/) next
    match($0, /^ */); ind = RLENGTH; s = substr($0, ind + 1)
    while (s ~ /^- /) { lt = lv = ""; match(s, /^- +/); ind += RLENGTH; s = substr(s, RLENGTH + 1) }
    while (n > 0 && at[n] >= ind) n--
    if (match(s, /^["\047]?[A-Za-z0-9_.-]+["\047]?:( |$)/)) {
      k = clean(substr(s, 1, RLENGTH - 1)); sub(/: *$/, "", k); v = clean(substr(s, RLENGTH + 1)); n++; at[n] = ind; nm[n] = k
    } else { k = nm[n]; v = clean(s) }
    b = (nm[1] == "network") ? 1 : 0
    if (nm[b+1] != "ethernets") next
    if (n == b + 2) { emit(); id = k; next }
    p = nm[b+3]; sub(/^macaddress: */, "", v)
    if (v == "") next
    if (p == "match" && (k == "macaddress" || v ~ /^[0-9A-Fa-f:]+$/)) mac = tolower(v)
    else if (p == "set-name") sn = v
    else if (p == "dhcp4") dh = (v ~ /^(true|yes|on)$/) ? "yes" : "no"
    else if (p == "addresses") ad = ad " " v
    else if (p == "gateway4") gw = v
    else if (p == "mtu") mtu = v
    else if (p == "nameservers" && k == "addresses") dns = dns " " v
    else if (p == "routes") { if (k == "to") lt = v; if (k == "via") lv = v
      if (lv != "" && lt ~ /^(default|0\.0\.0\.0\/0)$/) gw = lv } }
  END { emit() }' "$1"; }
net_setup() {
  for i in $(nics); do ip link set $i up; done
  if ! grep -q ethernets "$1" 2>/dev/null; then for i in $(nics); do dhcp $i; done; return; fi
  parse_v2 "$1" > /run/net
  while IFS='|' read mac sn dh ad gw dns mtu id; do
    dev=; for i in $(nics); do
      if [ -n "$mac" ]; then [ "$(cat /sys/class/net/$i/address)" = "$mac" ] && dev=$i; elif [ $i = "$id" ]; then dev=$i; fi
    done
    [ -n "$dev" ] || { say "no nic for $id $mac"; continue; }
    if [ -n "$sn" ] && [ "$sn" != $dev ]; then ip link set $dev down; ip link set $dev name $sn && dev=$sn; ip link set $dev up; fi
    [ -z "$mtu" ] || ip link set $dev mtu $mtu
    for a in $ad; do ip addr add $a dev $dev; done
    [ -z "$gw" ] || ip route add default via $gw dev $dev
    for d in $dns; do echo nameserver $d >> /etc/resolv.conf; done
    [ $dh = no ] || dhcp $dev
  done < /run/net
}
