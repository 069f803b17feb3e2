#!/bin/sh
case $1 in
deconfig) ip -4 addr flush dev $interface; ip link set $interface up;;
bound|renew)
  ip -4 addr flush dev $interface
  ip addr add $ip/${mask:-24} dev $interface; [ -z "$mtu" ] || ip link set $interface mtu $mtu
  for r in $router; do ip route add default via $r dev $interface; break; done
  : > /etc/resolv.conf; for d in $dns; do echo nameserver $d >> /etc/resolv.conf; done;;
esac
