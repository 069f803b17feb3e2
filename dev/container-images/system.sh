#!/bin/sh
# system.sh PACKAGES SYSTEM [PATH...]
#
# Finishes the Python packages in PACKAGES, and makes in SYSTEM what they and Python need of Debian, with the programs
# PATH. Both become layers of an image.
set -eu
here=$(dirname "$0")
packages=$1 system=$2
shift 2

# Of the API's client, credentials and configuration are used, and what those import. Its calls and models, most of its
# size, are loaded when somebody first names them, and nobody does.
(
  cd "$packages"/usr/local/lib/python3.*/dist-packages
  find kubernetes \( -path '*/client/api/*_api.py' -o -path '*/client/models/*.py' \) ! -name __init__.py \
    ! -name v1_managed_fields_entry.py ! -name v1_object_meta.py ! -name v1_owner_reference.py -delete
  rm -rf numpy/tests numpy/*/tests numpy/f2py
)
rm -rf "$packages/usr/local/bin" "$packages/tmp"

python3 "$here/pick.py" "$system" \
  /usr/bin/python3 /usr/lib/python3.11 /usr/lib/os-release /etc/os-release "$@" \
  --needed-by "$packages" \
  --without '*/python3.11/test/*' --without '*/python3.11/lib2to3/*' --without '*/python3.11/pydoc_data/*' \
  --without '*/python3.11/idlelib/*' --without '*/python3.11/ensurepip/*' --without '*/python3.11/config-*' \
  --without '*/python3.11/sqlite3/*' --without '*/python3.11/curses/*' --without '*/python3.11/sitecustomize.py' \
  --without '*/lib-dynload/_sqlite3.*' --without '*/lib-dynload/_curses*' --without '*/lib-dynload/readline.*' \
  --without '*/lib-dynload/*test*' --without '*/lib-dynload/xx*' --without '*/lib-dynload/nis.*' \
  --without '*/lib-dynload/_dbm.*' --without '*/lib-dynload/_crypt.*' --without '*/lib-dynload/ossaudiodev.*'

# The certificates as Debian ships them, not as this build's machine has added to them.
mkdir -p "$system/etc/ssl/certs" "$system/tmp" "$system/run" "$system/var/tmp" "$system/usr/local"
cat /usr/share/ca-certificates/mozilla/*.crt > "$system/etc/ssl/certs/ca-certificates.crt"
mkdir -p "$system/usr/lib/ssl" "$system/usr/share/doc/ca-certificates"
ln -s /etc/ssl/certs "$system/usr/lib/ssl/certs"
ln -s /etc/ssl/certs/ca-certificates.crt "$system/usr/lib/ssl/cert.pem"
cp /usr/share/doc/ca-certificates/copyright "$system/usr/share/doc/ca-certificates/"
dpkg-query -s ca-certificates > "$system/var/lib/dpkg/status.d/ca-certificates"
chmod 1777 "$system/tmp" "$system/var/tmp"
# Where libvirt's library looks for libvirtd's socket.
ln -s /run "$system/var/run"

cat > "$system/etc/passwd" <<PASSWD
root:x:0:0:root:/root:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
berth:x:65532:65532:berth:/nonexistent:/usr/sbin/nologin
PASSWD
cat > "$system/etc/group" <<GROUP
root:x:0:
nogroup:x:65534:
berth:x:65532:
GROUP
cat > "$system/etc/nsswitch.conf" <<NSSWITCH
passwd: files
group: files
hosts: files dns
NSSWITCH

sh "$here/compile.sh" "$system" /usr/lib/python3.11
sh "$here/compile.sh" "$packages" /usr/local/lib/python3.11/dist-packages
