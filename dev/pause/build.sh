#!/bin/sh
# build.sh OUT: compile pause.c into the program OUT, which needs no library: its image holds nothing else.
set -eu
cc -Os -static -s -Wall -Werror -o "$1" "$(dirname "$0")/pause.c"
