#!/bin/bash
# probe PATH: succeeds where this container's own server answers 200. A Python for every probe would cost more than
# an idle service does.
set -eu
exec 3<>"/dev/tcp/127.0.0.1/$SIGHTLINE_PORT"
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3
read -r _ status _ <&3
[ "$status" = 200 ]
