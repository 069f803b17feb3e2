"""How much an agent adds to what libvirt, QEMU and the CNI plugins cost by themselves, busy and idle."""
