#!/bin/bash
# roll.sh SERVICE: replaces the replicas of a service without a gap. It starts new replicas beside the old ones, and stops
# the old ones when the new ones are healthy. COMPOSE overrides the command.
set -euo pipefail
service=$1
read -r -a compose <<<"${COMPOSE:-docker compose}"

mapfile -t old < <("${compose[@]}" ps -q "$service")
# Compose identifies a service by its name; --no-recreate keeps the old replicas although their image has changed.
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
