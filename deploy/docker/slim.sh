#!/bin/sh
# Removes everything from the base image that a running service does not need: package manager, documentation, and Python
# packages beyond the standard library.
# dpkg's list of installed packages stays for vulnerability scanners.
set -eu
rm -rf /usr/share/doc /usr/share/man /usr/share/info /usr/share/locale /usr/share/i18n /usr/share/perl* /usr/share/bash-completion \
  /usr/share/python-wheels /usr/lib/*-linux-gnu/perl* /usr/lib/apt /usr/share/zoneinfo /usr/lib/locale \
  /usr/lib/*-linux-gnu/libapt* /var/lib/apt /var/lib/dpkg/info /var/cache /var/log/* /usr/bin/apt* /usr/bin/dpkg* /usr/bin/perl* \
  /usr/lib/*-linux-gnu/gconv /usr/lib/python3/dist-packages /usr/local/lib/python3.*/site-packages \
  /usr/lib/systemd /lib/systemd /usr/lib/*-linux-gnu/libgnutls.* /usr/lib/*-linux-gnu/libp11-kit.* /usr/lib/*-linux-gnu/libunistring.* \
  /usr/lib/*-linux-gnu/libdb-5* /usr/lib/*-linux-gnu/libgcrypt.* /usr/bin/gpgv /usr/bin/openssl /usr/include /usr/lib/udev /usr/local/bin/pip* /usr/bin/pip* /tmp/docker
for library in /usr/lib/python3.* /usr/local/lib/python3.*; do
  rm -rf "$library"/ensurepip "$library"/idlelib "$library"/lib2to3 "$library"/pydoc_data "$library"/test "$library"/tkinter \
    "$library"/turtledemo "$library"/config-3.*
done
mkdir -p /var/cache /srv
echo 'sightline:x:10001:10001::/srv:/usr/sbin/nologin' >>/etc/passwd
echo 'sightline:x:10001:' >>/etc/group
find /usr/sbin -type f ! -name ldconfig ! -name nologin -delete
install -d -o 10001 -g 10001 /srv/empty
