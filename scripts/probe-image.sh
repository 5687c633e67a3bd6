#!/bin/bash
# Wraps the probe into an image that holds this one static file and nothing else: target/images/probe.tar. The file
# itself is beside it, for services.
set -euo pipefail
cd "$(dirname "$0")/.."

program=$1
out=target/images/probe.tar
stamp=target/images/probe.stamp
work=target/images/probe
created=2026-01-01T00:00:00Z
hash=$(cat "$0" "$program" | sha256sum | cut -d' ' -f1)
[ -s $out ] && [ "$(cat $stamp 2> /dev/null)" = "$hash" ] && exit

flags=()
[ "$(id -u)" = 0 ] || flags=(--rootless)
rm -rf $work
mkdir -p $work
umoci init --layout $work/layout
umoci new --image $work/layout:probe
# Not `umoci insert`: 0.4.7 forgets the padding behind the last file.
umoci unpack "${flags[@]}" --image $work/layout:probe $work/bundle
install -m 755 "$program" $work/bundle/rootfs/probe
touch -d $created $work/bundle/rootfs/probe $work/bundle/rootfs
umoci repack --history.created $created --image $work/layout:probe $work/bundle
umoci config --image $work/layout:probe --created $created --history.created $created \
    --config.entrypoint /probe --config.cmd sleep
skopeo --insecure-policy copy -q oci:$work/layout:probe oci:$work/export:berth-tests/probe:1
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=$created -C $work/export -cf $out .
rm -rf $work
install -m 755 "$program" target/images/berth-probe
echo "$hash" > $stamp
printf '%-8s %s\n' images "berth-tests/probe:1 $(numfmt --to=iec "$(stat -c %s $out)")"
