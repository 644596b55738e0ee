#!/bin/sh
# The server replaces this process, so that it receives SIGTERM.
[ "$SIGHTLINE_SERVICE" = gateway ] && package=http || package=serving
exec python -m "sightline.$package" "services.$SIGHTLINE_SERVICE.app:create"
