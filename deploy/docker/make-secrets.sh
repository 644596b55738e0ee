#!/bin/sh
# make-secrets FOLDER: every secret of the fleet that is not in the folder yet, so that no password is anybody's default.
set -eu
cd "$1"
random() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }

[ -s redis-password ] || random >redis-password
[ -s grafana-password ] || random >grafana-password
# By which the models know their gateway, and the gateway knows Prometheus.
[ -s fleet-credential ] || random >fleet-credential
[ -s metrics-credential ] || random >metrics-credential
# Whom the gateway lets in; as long as it names nobody, everybody that reaches the gateway.
[ -s keys.json ] || echo '{}' >keys.json
printf 'user default on #%s ~* &* +@all\n' "$(printf %s "$(cat redis-password)" | sha256sum | cut -d' ' -f1)" >redis.acl
# They are read by the users of several images, and the folder is mounted into no others.
chmod 444 redis-password grafana-password fleet-credential metrics-credential keys.json redis.acl
