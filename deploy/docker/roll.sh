#!/bin/bash
# roll.sh SERVICE: renews the replicas of a service without a moment in which none is ready. New ones are started beside the
# old ones, and the old ones stopped when the new ones are healthy. COMPOSE overrides the command.
set -euo pipefail
service=$1
read -r -a compose <<<"${COMPOSE:-docker compose}"

mapfile -t old < <("${compose[@]}" ps -q "$service")
# What compose knows is the name; --no-recreate leaves the old ones alone although their image is another by now.
"${compose[@]}" up -d --no-deps --no-recreate --scale "$service=$((2 * ${#old[@]}))" "$service"
mapfile -t all < <("${compose[@]}" ps -q "$service")

for container in "${all[@]}"; do
  until [ "$(docker inspect -f '{{.State.Health.Status}}' "$container")" = healthy ]; do
    [ "$SECONDS" -lt "${ROLL_TIMEOUT_S:-300}" ] || { echo "roll: $container does not get healthy; nothing was stopped" >&2; exit 1; }
    sleep 1
  done
done

for container in "${old[@]}"; do
  docker stop -t 45 "$container" >/dev/null
  docker rm "$container" >/dev/null
done
