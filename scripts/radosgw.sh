#!/usr/bin/env bash
# Ceph's S3 gateway on this machine, to test against: one monitor, one object store, one gateway. Loopback only,
# and everything in one folder.
#
#   scripts/radosgw.sh install    the Debian packages, unless they are there
#   scripts/radosgw.sh create     a new cluster in RADOSGW_HOME; it runs then
#   scripts/radosgw.sh start      the cluster that was created there
#   scripts/radosgw.sh stop
#   scripts/radosgw.sh destroy    stops it and removes the folder
#
# RADOSGW_HOME      the folder; radosgw in the temporary folder by default
# RADOSGW_PORT      of the gateway, RADOSGW_MON_PORT of the monitor; `create` takes free ones by default
#
# `create` leaves what the S3 tests want to know in RADOSGW_HOME/env.
set -euo pipefail

home=${RADOSGW_HOME:-${TMPDIR:-/tmp}/radosgw}
conf=$home/ceph.conf
fsid=5a1f6c1e-5d0c-4a52-9d6f-3f0a7c1b9105
access_key=radosgw-access-key
secret_key=radosgw-secret-key
packages=(radosgw ceph-osd ceph-mon ceph-common ceph-base)
programs=(radosgw radosgw-admin ceph ceph-osd ceph-mon monmaptool)
# A daemon that takes longer than this does not come.
wait_seconds=90

fail() {
  echo "radosgw: $*" >&2
  exit 1
}

installed() {
  local program
  for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || return 1
  done
}

install() {
  installed && return
  command -v apt-get >/dev/null || fail "is not installed, and there is no apt-get to install it with"
  [ "$(id -u)" -eq 0 ] || fail "is not installed, and only root can: apt-get install ${packages[*]}"
  local log
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  if ! { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    fail "could not be installed; the whole of it is in $log"
  fi
  rm "$log"
}

free_port() {
  node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'
}

# No manager and no keys inside of the cluster; one copy of everything; few threads and small caches, because the
# tests want the machine too.
write_conf() {
  cat >"$conf" <<EOF
[global]
fsid = $fsid
mon host = v2:127.0.0.1:$mon_port/0
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr1 = false
ms bind ipv6 = false
ms async op threads = 2
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
ms client mode = crc
ms service mode = crc
ms cluster mode = crc
auth cluster required = none
auth service required = none
auth client required = none
run dir = $home/run
admin socket = $home/run/\$name.asok
log file = $home/log/\$name.log
pid file = $home/run/\$name.pid
crash dir = $home/crash
log to stderr = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
# The disk may be as full as it likes: what is tested fits.
mon data avail warn = 2
mon data avail crit = 1
[mon.a]
mon data = $home/mon
mon addr = v2:127.0.0.1:$mon_port/0
[osd]
osd data = $home/osd
osd objectstore = bluestore
# A sparse file.
bluestore block create = true
bluestore block size = 17179869184
bluestore block db create = false
bluestore block wal create = false
bluestore cache autotune = false
bluestore cache size = 67108864
osd op num shards = 2
osd op num threads per shard = 2
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:$port
rgw thread pool size = 32
rgw enable usage log = false
rgw dynamic resharding = false
rgw override bucket index max shards = 1
# Keys and encryption over plain HTTP; this key is for aws:kms.
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = test-key=dXBsb2FkLXNlcnZlci10ZXN0LWtleS0xMjM0NTY3OCE=
EOF
}

# Tries a command until it succeeds.
until_ready() {
  local what=$1 tries
  shift
  for ((tries = 0; tries < wait_seconds * 10; tries++)); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  tail -n 5 "$home"/log/*.log >&2 || true
  fail "$what did not come within $wait_seconds s"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

osd_is_active() { ceph --admin-daemon "$home/run/osd.0.asok" status | grep -q '"state": "active"'; }

start_monitor() {
  ceph-mon -i a -c "$conf"
  until_ready 'the monitor' listens "$mon_port"
  until_ready 'an answer of the monitor' timeout 10 ceph -c "$conf" mon stat
}

start() {
  [ -f "$home/env" ] || fail "there is no cluster in $home"
  # shellcheck source=/dev/null
  source "$home/ports"
  if listens "$port" 2>/dev/null; then return; fi
  start_monitor
  ceph-osd -i 0 -c "$conf" >/dev/null 2>&1
  until_ready 'the object store' osd_is_active
  radosgw -n client.rgw -c "$conf"
  until_ready 'the gateway' listens "$port"
}

create() {
  installed || fail "is not installed: scripts/radosgw.sh install"
  [ ! -e "$home/env" ] || fail "there is a cluster in $home already"
  mkdir -p "$home"/{run,log,crash,mon,osd}
  port=${RADOSGW_PORT:-$(free_port)}
  mon_port=${RADOSGW_MON_PORT:-$(free_port)}
  printf 'port=%s\nmon_port=%s\n' "$port" "$mon_port" >"$home/ports"
  write_conf

  local osd
  osd=$(cat /proc/sys/kernel/random/uuid)
  monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_port]" "$home/monmap" >/dev/null
  ceph-mon --mkfs -i a --monmap "$home/monmap" -c "$conf"
  start_monitor
  ceph -c "$conf" osd new "$osd" >/dev/null
  ceph-osd -i 0 --mkfs --osd-uuid "$osd" -c "$conf" >/dev/null 2>&1
  stop_daemon mon.a

  cat >"$home/env" <<EOF
S3_TEST_ENGINE=radosgw
S3_TEST_ENDPOINT=http://127.0.0.1:$port
S3_TEST_ACCESS_KEY_ID=$access_key
S3_TEST_SECRET_ACCESS_KEY=$secret_key
S3_TEST_REGION=us-east-1
S3_TEST_BUCKET=upload-server-test
S3_TEST_KMS_KEY_ID=test-key
EOF
  start
  radosgw-admin -c "$conf" user create --uid=test --display-name=test \
    --access-key="$access_key" --secret-key="$secret_key" >/dev/null
}

# Waits for its end: a daemon that is left holds the lock on its pid file, and the next start hangs.
stop_daemon() {
  local pid
  pid=$(cat "$home/run/$1.pid" 2>/dev/null) || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
}

# The object store before the monitor: it tells the monitor that it goes.
stop() {
  stop_daemon client.rgw
  stop_daemon osd.0
  stop_daemon mon.a
}

case ${1:-} in
  install) install ;;
  create) create ;;
  start) start ;;
  stop) stop ;;
  destroy)
    stop
    rm -rf "$home"
    ;;
  *)
    echo 'scripts/radosgw.sh install | create | start | stop | destroy' >&2
    exit 2
    ;;
esac
