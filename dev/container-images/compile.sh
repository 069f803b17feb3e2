#!/bin/sh
# compile.sh ROOT FOLDER: compile the Python of a folder of the image that ROOT becomes.
#
# The images' roots are read-only, so what is not compiled now is compiled at every start. Such a file says nothing of
# dates and is never compared with its source: both are of one layer.
set -eu
python3 -m compileall -q -j 1 --invalidation-mode unchecked-hash -s "$1" -p / "$1$2"
