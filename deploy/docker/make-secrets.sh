#!/bin/sh
# make-secrets FOLDER: creates the fleet's missing secrets in FOLDER, so that no default passwords exist.
set -eu
cd "$1"
random() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }

[ -s redis-password ] || random >redis-password
[ -s grafana-password ] || random >grafana-password
# Authenticate the gateway to the models, and Prometheus to the gateway.
[ -s fleet-credential ] || random >fleet-credential
[ -s metrics-credential ] || random >metrics-credential
# API keys. Without keys the API is open to everybody with access to the gateway.
[ -s keys.json ] || echo '{}' >keys.json
printf 'user default on #%s ~* &* +@all\n' "$(printf %s "$(cat redis-password)" | sha256sum | cut -d' ' -f1)" >redis.acl
# The users of several images read these files; no other image mounts the folder.
chmod 444 redis-password grafana-password fleet-credential metrics-credential keys.json redis.acl
