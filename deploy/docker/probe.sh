#!/bin/bash
# probe PATH: succeeds if this container's server replies 200. Starting Python for every probe would cost more than an idle
# service.
set -eu
exec 3<>"/dev/tcp/127.0.0.1/$SIGHTLINE_PORT"
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
read -r _ status _ <&3
[ "$status" = 200 ]
