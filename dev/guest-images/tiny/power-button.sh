#!/bin/sh
echo "berth-tiny: power button" > /dev/ttyS0; sync; poweroff -f
