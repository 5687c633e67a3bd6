#!/bin/bash
# Wraps the probe into an image that holds this one static file and nothing else: target/images/probe.tar. The file
# itself is beside it, for services. target/images/probe-volumes.tar is the same with files, links that lead out and two
# VOLUMEs.
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

mkdir -p $work/bundle/rootfs/srv/data $work/bundle/rootfs/srv/cache
echo "from the image" > $work/bundle/rootfs/srv/data/there
echo "of the image" > $work/bundle/rootfs/whose
ln -s / $work/bundle/rootfs/srv/top
ln -s ../../../.. $work/bundle/rootfs/srv/up
find $work/bundle/rootfs -exec touch -h -d $created {} +
umoci repack --history.created $created --image $work/layout:volumes $work/bundle
umoci config --image $work/layout:volumes --created $created --history.created $created \
    --config.entrypoint /probe --config.cmd sleep --config.volume /srv/data --config.volume /srv/cache
skopeo --insecure-policy copy -q oci:$work/layout:volumes oci:$work/volumes:berth-tests/volumes:1
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=$created -C $work/volumes \
    -cf target/images/probe-volumes.tar .
rm -rf $work
install -m 755 "$program" target/images/berth-probe
echo "$hash" > $stamp
printf '%-8s %s\n' images "berth-tests/probe:1 $(numfmt --to=iec "$(stat -c %s $out)")"
