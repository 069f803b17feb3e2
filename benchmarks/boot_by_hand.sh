#!/bin/sh
# What somebody would type on a node to boot a guest on a CNI network, without Berth: boot_by_hand.sh up|down, with
# NAME, IMAGE, CNI, ADDRESS and MAC in the environment.
set -eu
dir=/var/lib/berth
sandbox=s-$NAME tap=t-$NAME outer=o-$NAME inner=i-$NAME
export CNI_CONTAINERID=$NAME CNI_NETNS=/run/netns/$sandbox CNI_IFNAME=eth0 CNI_PATH=$CNI
conf='{"cniVersion":"1.0.0","name":"hand","type":"bridge","bridge":"vmbr0","ipam":{"type":"static"},
"runtimeConfig":{"ips":["'$ADDRESS'"],"mac":"'$MAC'"},"capabilities":{"ips":true,"mac":true}}'

up() {
  qemu-img create -q -f qcow2 -b "$IMAGE" -F qcow2 "$dir/$NAME.qcow2" 64M
  ip netns add "$sandbox"
  echo "$conf" | CNI_COMMAND=ADD "$CNI/bridge" >/dev/null
  ip link add "$outer" type veth peer name "$inner" netns "$sandbox"
  ip tuntap add "$tap" mode tap vnet_hdr
  ip link set "$outer" up
  ip link set "$tap" up
  ip -n "$sandbox" link set "$inner" up
  redirect "" "$outer" "$tap"
  redirect "-n $sandbox" eth0 "$inner"
  virsh -q -c qemu:///system create "$dir/$NAME.xml" >/dev/null
}

redirect() { # both ways between two links
  for pair in "$2 $3" "$3 $2"; do
    set -- "$1" $pair
    tc $1 qdisc add dev "$2" clsact
    tc $1 filter add dev "$2" ingress protocol all u32 match u8 0 0 action mirred egress redirect dev "$3"
  done
}

down() {
  virsh -q -c qemu:///system destroy "$NAME"
  echo "$conf" | CNI_COMMAND=DEL "$CNI/bridge" || true
  ip link del "$tap"
  ip netns del "$sandbox"
  rm -f "$dir/$NAME.qcow2" "$dir/$NAME.xml"
}

"$1"
