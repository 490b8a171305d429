#!/bin/sh
# Run Sentinel on the copy of sentinel.conf in /data, into which it writes what it learns.
set -eu
[ -f /data/sentinel.conf ] || cp /etc/valkey/sentinel.conf /data/sentinel.conf
exec valkey-server /data/sentinel.conf --sentinel
