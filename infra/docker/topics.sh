#!/bin/sh
# Written by infra/generate.py from infra/topics.yaml. Brokers are in RPK_BROKERS.
set -eu
rpk topic create yizhan.events --partitions 12 --replicas -1 || true
rpk topic alter-config yizhan.events --set cleanup.policy=delete --set retention.ms=1209600000 --set max.message.bytes=2097152
rpk topic create yizhan.marks --partitions 1 --replicas -1 || true
rpk topic alter-config yizhan.marks --set cleanup.policy=compact --set max.message.bytes=1048576
