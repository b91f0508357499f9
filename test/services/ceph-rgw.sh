#!/usr/bin/env bash
# One-node Ceph with its S3 gateway, in the foreground, for tests on this machine: a monitor, an OSD that keeps
# everything in memory, and radosgw. No authentication between the daemons; everything listens on 127.0.0.1.
#
#   ceph-rgw.sh FOLDER GATEWAY_PORT MONITOR_PORT ACCESS_KEY SECRET_KEY
#
# Prints `ready` when the user exists; on SIGTERM it ends its daemons, by their pids, and then itself.
set -euo pipefail
folder=$1 gateway_port=$2 monitor_port=$3 access_key=$4 secret_key=$5
monitor="v1:127.0.0.1:$monitor_port"
mkdir -p "$folder"/{mon,osd,rgw}
cd "$folder"
export CEPH_CONF=$folder/ceph.conf
fsid=$(</proc/sys/kernel/random/uuid)

pids=()
finish() {
  trap - EXIT TERM INT
  if ((${#pids[@]} > 0)); then
    # All they have is in memory: an orderly end would be time lost.
    kill -KILL "${pids[@]}" 2>/dev/null || true
  fi
  wait
}
trap finish EXIT
trap 'exit 143' TERM INT

# One daemon in the foreground of its own job, which ends with this script even if that is killed; $1 names its log.
daemon() {
  local log=$1.log
  shift
  setpriv --pdeathsig KILL -- "$@" -f >"$log" 2>&1 &
  pids+=($!)
}

# The OSD at times tells the monitor about itself before it has learnt the cluster's id ('wrong fsid'), and ends.
# Where it is a service it is simply started again.
start_osd() {
  local _
  for _ in {1..5}; do
    daemon osd ceph-osd -i 0
    while kill -0 "${pids[-1]}" 2>/dev/null; do
      if grep -q 'done with init' osd.0.log 2>/dev/null; then return; fi
      sleep 0.05
    done
    unset 'pids[-1]'
  done
  echo 'the OSD does not stay up' >&2
  return 1
}

cat >ceph.conf <<CONF
[global]
fsid = $fsid
mon host = $monitor
keyring = $folder/keyring
run dir = $folder
admin socket =
log file = $folder/\$name.log
ms bind ipv6 = false
ms bind msgr2 = false
# Loopback only: no keys between the daemons.
auth cluster required = none
auth service required = none
auth client required = none
# One OSD holds the single copy of everything.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
# A disk that is nearly full is no concern of a store in memory.
mon data avail warn = 1
mon data avail crit = 0
# Each pool is a change of the map, and changes wait to be gathered: about a second each by default.
paxos propose interval = 0.05
paxos min wait = 0.01
[mon.a]
mon data = $folder/mon
[osd.0]
osd data = $folder/osd
osd objectstore = memstore
memstore device bytes = 8589934592
[client.rgw.test]
rgw data = $folder/rgw
rgw frontends = beast endpoint=127.0.0.1:$gateway_port tcp_nodelay=1
# The bucket may be in the name of the host as well: BUCKET.s3.localhost.
rgw dns name = s3.localhost
CONF

ceph-authtool --create-keyring keyring --gen-key -n mon. --cap mon 'allow *'
ceph-authtool keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
monmaptool --create --addv a "[$monitor]" --fsid "$fsid" monmap
ceph-mon --mkfs -i a --monmap monmap --keyring keyring
daemon monitor ceph-mon -i a
ceph-osd -i 0 --mkfs
timeout 60 ceph osd new "$(<osd/fsid)"
start_osd
daemon gateway radosgw -n client.rgw.test
timeout 90 radosgw-admin user create --uid=test --display-name=test --access-key="$access_key" --secret-key="$secret_key" >user.json
echo ready
# Ends with the first daemon that ends: a gateway without its store is of no use.
wait -n "${pids[@]}"
