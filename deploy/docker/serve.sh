#!/bin/sh
# The server takes this process' place, so that it is the one that gets SIGTERM.
exec python -m sightline.serving "services.$SIGHTLINE_SERVICE.app:create"
