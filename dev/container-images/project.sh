#!/bin/sh
# project.sh NAME VERSION ROOT OTHER_PACKAGE OTHER_SCRIPT FOLDER...
#
# Installs Berth's wheel below ROOT for the image NAME, but for the half that another image runs, and writes the bill of
# materials of all that the image holds: ROOT and the FOLDERs.
set -eu
here=$(dirname "$0")
name=$1 version=$2 root=$3 other_package=$4 other_script=$5
shift 5

python3 -m pip install --quiet --no-compile --root "$root" --ignore-installed --no-deps --no-index /wheels/*.whl
(cd "$root/usr/local" && rm -r lib/python3.*/dist-packages/"$other_package" "bin/$other_script")
sh "$here/compile.sh" "$root" /usr/local/lib/python3.11/dist-packages
mkdir -p "$root/usr/share/sbom" "$root/usr/share/doc/berth"
cp "$here/LICENSE" "$root/usr/share/doc/berth/copyright"
python3 "$here/sbom.py" "berth-$name" "$version" "$root" "$@" > "$root/usr/share/sbom/berth-$name.cdx.json"
