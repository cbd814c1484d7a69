#!/usr/bin/env bash
# Runs a command beside an S3 server that has versions and object lock: Ceph's radosgw with one monitor and one OSD that keeps everything in memory, on the loopback. The command
# finds it in YIZHAN_S3_URL and YIZHAN_S3_CREDENTIALS (a file). Use a network namespace of its own (scripts/isolated.sh): the ports are fixed.
set -euo pipefail

folder=$(mktemp -d)
started=()
end() {
  local i
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do kill -KILL "${started[i]}" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap end EXIT

mkdir "$folder"/{mon,osd,rgw}
fsid=$(cat /proc/sys/kernel/random/uuid) osd=$(cat /proc/sys/kernel/random/uuid)
access=$(tr -d - </proc/sys/kernel/random/uuid) secret=$(tr -d - </proc/sys/kernel/random/uuid)
cat >"$folder/ceph.conf" <<EOF
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:3300/0]
public_addr = 127.0.0.1
ms_bind_ipv6 = false
# Nobody else is in this network. radosgw asks for an encrypted monitor unless it is told, which needs keys.
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
keyring = $folder/keyring
mon_data = $folder/mon
osd_data = $folder/osd
rgw_data = $folder/rgw
run_dir = $folder
log_file = $folder/\$name.log
admin_socket = $folder/\$name.\$pid.asok
osd_objectstore = memstore
memstore_device_bytes = 4294967296
# One OSD is the whole cluster, and no manager counts placement groups.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
mon_allow_pool_size_one = true
osd_crush_chooseleaf_type = 0
rgw_frontends = beast endpoint=127.0.0.1:7480
EOF
: >"$folder/keyring"
of=(-c "$folder/ceph.conf")

# start PROGRAM ARGUMENT...: in the background, until the end.
start() {
  "$@" -f "${of[@]}" >>"$folder/out" 2>&1 &
  started+=($!)
}

failed() {
  echo "radosgw.sh: $1" >&2
  tail -n 20 "$folder"/*.log "$folder/out" >&2
  exit 1
}

monmaptool --create --addv a '[v2:127.0.0.1:3300]' --fsid "$fsid" "$folder/monmap" >/dev/null
ceph-mon "${of[@]}" --mkfs -i a --monmap "$folder/monmap" >>"$folder/out" 2>&1 || failed "no monitor could be made."
start ceph-mon -i a
timeout 120 ceph "${of[@]}" osd new "$osd" >>"$folder/out" 2>&1 || failed "the monitor did not answer."
ceph-osd "${of[@]}" -i 0 --mkfs --osd-uuid "$osd" >>"$folder/out" 2>&1 || failed "no OSD could be made."
start ceph-osd -i 0
timeout 120 ceph "${of[@]}" osd crush create-or-move osd.0 1 root=default host=here >>"$folder/out" 2>&1 || failed "the OSD has no place."
start radosgw -n client.rgw
timeout 240 radosgw-admin "${of[@]}" -n client.rgw user create --uid yizhan --display-name yizhan --access-key "$access" --secret-key "$secret" >>"$folder/out" 2>&1 ||
  failed "no user could be made."
for ((i = 0; i < 240; i++)); do
  curl -s -o "$folder/answer" http://127.0.0.1:7480 && break
  sleep 0.5
done
[ -e "$folder/answer" ] || failed "radosgw did not answer."
echo "$access:$secret" >"$folder/credentials" && chmod 600 "$folder/credentials"
YIZHAN_S3_URL=http://127.0.0.1:7480 YIZHAN_S3_CREDENTIALS=$folder/credentials "$@"
