#!/bin/sh
# start.sh NAME [PRIMARY]: run Valkey on the copy of valkey.conf in /data. At the first start a second argument makes it
# a replica of that server; later it is what Sentinel last made of it, written into the copy.
set -eu
conf=/data/valkey.conf
if [ ! -f "$conf" ]; then
    cp /etc/valkey/valkey.conf "$conf.new"
    printf 'dir /data\nreplica-announce-ip %s\n' "$1" >> "$conf.new"
    [ $# -lt 2 ] || printf 'replicaof %s 6379\n' "$2" >> "$conf.new"
    mv "$conf.new" "$conf"
fi
exec valkey-server "$conf"
