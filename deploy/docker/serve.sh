#!/bin/sh
# The server takes this process' place, so that it is the one that gets SIGTERM.
[ "$SIGHTLINE_SERVICE" = gateway ] && package=http || package=serving
exec python -m "sightline.$package" "services.$SIGHTLINE_SERVICE.app:create"
