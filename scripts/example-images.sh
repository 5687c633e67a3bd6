#!/bin/bash
# Makes the images of the examples from Debian packages: one base layer that all share, one layer each on top.
#
# The packages are unpacked, not installed: no maintainer script runs, nothing needs root. Every program is then asked
# for its libraries, so that a missing package is found here. Images are made again only when this script changes.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
export SOURCE_DATE_EPOCH=1767225600
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%FT%TZ)
umask 022

work=target/images
stamp=$work/stamp
hash=$(sha256sum "$0" | cut -d' ' -f1)
gateway=examples/edge-gateway/images
hello=examples/hello/images

say() { printf '%-8s %s\n' images "$*"; }
die() { printf '%-8s error: %s\n' images "$*" >&2; exit 1; }

outputs=("$gateway"/{nginx,redis,mosquitto}.tar "$hello/hello.tar")
up_to_date() {
    [ "$(cat $stamp 2> /dev/null)" = "$hash" ] || return 1
    for file in "${outputs[@]}"; do [ -s "$file" ] || return 1; done
}

# --- packages to directories ------------------------------------------------------------------------------------

# Package lists are of Debian 12, like the images, whatever this machine runs.
fetch() {
    scripts/setup.sh apt
    mkdir -p $work/debs
    (cd $work/debs && APT_CONFIG=$OLDPWD/target/apt/apt.conf apt-get -q download "$@") > $work/log 2>&1 ||
        die "cannot fetch packages: $(grep -m1 '^E:' $work/log || echo "see $work/log")"
}

# unpack DIR PACKAGE...: without what a container does not read.
unpack() {
    local dir=$1 package
    shift
    for package in "$@"; do
        dpkg -x $work/debs/"${package}"_*.deb "$dir"
    done
    rm -rf "$dir"/usr/share/{doc,man,info,locale,lintian,bash-completion,vim,perl5} "$dir"/usr/lib/systemd \
        "$dir"/lib/systemd "$dir"/etc/{init.d,logrotate.d,cron.daily,default,ufw,skel,update-motd.d} \
        "$dir"/usr/lib/x86_64-linux-gnu/gconv "$dir"/usr/share/initramfs-tools
}

base_packages=(base-files busybox-static libc6 libcap2 libcrypt1 libgcc-s1 libgcrypt20 libgpg-error0 liblz4-1
    liblzma5 libssl3 libstdc++6 libsystemd0 libzstd1 netbase zlib1g)
nginx_packages=(nginx nginx-common libpcre2-8-0)
redis_packages=(redis-server redis-tools libatomic1 libjemalloc2 liblzf1)
mosquitto_packages=(mosquitto libcjson1 libdlt2 libmosquitto1 libwrap0 libnsl2 libtirpc3 libgssapi-krb5-2 libkrb5-3
    libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1)

make_base() {
    local dir=$1
    unpack "$dir" "${base_packages[@]}"
    # Debian's merged /usr, which its packages still rely on.
    for name in bin sbin lib lib64; do
        mkdir -p "$dir/usr/$name"
        [ ! -d "$dir/$name" ] || { cp -a "$dir/$name/." "$dir/usr/$name/" && rm -rf "${dir:?}/$name"; }
        ln -s "usr/$name" "$dir/$name"
    done
    for applet in $("$dir/bin/busybox" --list); do
        [ -e "$dir/usr/bin/$applet" ] || ln -s busybox "$dir/usr/bin/$applet"
    done
    mkdir -p "$dir"/{data,dev,proc,run,sys,tmp,var/tmp}
    chmod 1777 "$dir/tmp" "$dir/var/tmp"
    ln -sfn ../run "$dir/var/run"
    cat > "$dir/etc/passwd" << 'END'
root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
redis:x:100:100:redis:/data:/usr/sbin/nologin
mosquitto:x:101:101:mosquitto:/data:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
END
    cut -d: -f1,2,3 "$dir/etc/passwd" | sed 's/$/:/' > "$dir/etc/group"
}

# Unpacks a package tree over the merged /usr: what a package puts into /lib goes where the link leads.
unpack_over() {
    local dir=$1 tree=$work/tree
    shift
    rm -rf $tree && mkdir -p $tree
    unpack $tree "$@"
    for name in bin sbin lib lib64; do
        [ ! -d "$tree/$name" ] || { mkdir -p "$tree/usr/$name" && cp -a "$tree/$name/." "$tree/usr/$name/" && rm -rf "${tree:?}/$name"; }
    done
    cp -a "$tree/." "$dir/"
    rm -rf $tree
}

make_nginx() {
    unpack_over "$1" "${nginx_packages[@]}"
    rm -rf "$1"/etc/nginx/{sites-available,sites-enabled,conf.d,snippets,modules-available} "$1/var/log/nginx"
    cat > "$1/etc/nginx/nginx.conf" << 'END'
# Everything that is written goes to /tmp, so the root can be read-only and the user need not be root.
daemon off;
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr notice;
events { worker_connections 256; }
http {
    include mime.types;
    access_log /dev/stdout;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    server {
        listen 8080;
        root /srv;
    }
}
END
    mkdir -p "$1/srv"
    echo '<!doctype html><title>edge gateway</title><h1>It runs under berth</h1>' > "$1/srv/index.html"
}

make_redis() {
    unpack_over "$1" "${redis_packages[@]}"
    rm -rf "$1/etc/redis" "$1/var/log/redis"
}

make_mosquitto() {
    unpack_over "$1" "${mosquitto_packages[@]}"
    mkdir -p "$1/etc/mosquitto"
    cat > "$1/etc/mosquitto/mosquitto.conf" << 'END'
listener 1883
allow_anonymous true
persistence true
persistence_location /data/
autosave_interval 60
log_dest stderr
END
}

make_hello() {
    unpack "$1" busybox-static
    mkdir -p "$1"/{dev,proc,run,sys,tmp,srv,etc}
    for applet in $("$1/bin/busybox" --list); do
        [ -e "$1/bin/$applet" ] || ln -s busybox "$1/bin/$applet"
    done
    echo 'hello from berth' > "$1/srv/index.html"
    echo 'root:x:0:0:root:/:/bin/sh' > "$1/etc/passwd"
    echo 'root:x:0:' > "$1/etc/group"
}

# --- directories to images --------------------------------------------------------------------------------------

layout=$work/layout
umoci_flags=()
[ "$(id -u)" = 0 ] || umoci_flags=(--rootless)

# Files made here get one time; those of packages have their own already.
settle() { find "$1" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }

# add_layer FROM TO FUNCTION: the difference that FUNCTION makes becomes a layer.
add_layer() {
    local bundle=$work/bundle
    rm -rf $bundle
    umoci unpack "${umoci_flags[@]}" --image "$layout:$1" $bundle
    "$3" $bundle/rootfs
    settle $bundle/rootfs
    umoci repack --history.created "$created" --image "$layout:$2" $bundle
}

check_libraries() {
    local program=$1 missing
    missing=$(find "$work/bundle/rootfs/usr/lib/x86_64-linux-gnu" -maxdepth 1 -name '*.so*' -printf '%f\n' > $work/have
        needed "$work/bundle/rootfs$program" | sort -u | grep -vxFf $work/have || true)
    [ -z "$missing" ] || die "$program misses $(echo "$missing" | tr '\n' ' ')"
}

# Names of all libraries that a program needs, and those need.
needed() {
    local file
    for file in "$1" "$work"/bundle/rootfs/usr/lib/x86_64-linux-gnu/lib*.so.*; do
        objdump -p "$file" 2> /dev/null | sed -n 's/^ *NEEDED *//p'
    done
}

# export NAME REFERENCE FILE: one image with its own blobs as an oci-archive, the same bytes every time.
export_image() {
    local dir=$work/export
    rm -rf $dir
    skopeo --insecure-policy copy -q "oci:$layout:$1" "oci:$dir:$2"
    mkdir -p "$(dirname "$3")"
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C $dir -cf "$3.part" .
    mv "$3.part" "$3"
    say "$2 $(numfmt --to=iec "$(stat -c %s "$3")")"
}

configure() {
    local tag=$1
    shift
    umoci config --image "$layout:$tag" --created "$created" --history.created "$created" \
        --clear config.env \
        --config.env PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

main() {
    up_to_date && return
    rm -rf $work/{layout,debs,bundle,tree} $stamp
    mkdir -p $work
    fetch "${base_packages[@]}" "${nginx_packages[@]}" "${redis_packages[@]}" "${mosquitto_packages[@]}"
    umoci init --layout $layout
    umoci new --image $layout:empty
    add_layer empty base make_base

    add_layer base nginx make_nginx
    check_libraries /usr/sbin/nginx
    configure nginx --config.user www-data --config.cmd nginx --config.stopsignal SIGQUIT
    export_image nginx berth-examples/nginx:1 $gateway/nginx.tar

    add_layer base redis make_redis
    check_libraries /usr/bin/redis-server
    configure redis --config.user redis --config.workingdir /data \
        --config.entrypoint redis-server --config.cmd --protected-mode --config.cmd no
    export_image redis berth-examples/redis:1 $gateway/redis.tar

    add_layer base mosquitto make_mosquitto
    check_libraries /usr/sbin/mosquitto
    configure mosquitto --config.user mosquitto \
        --config.cmd mosquitto --config.cmd -c --config.cmd /etc/mosquitto/mosquitto.conf
    export_image mosquitto berth-examples/mosquitto:1 $gateway/mosquitto.tar

    add_layer empty hello make_hello
    configure hello --config.cmd httpd --config.cmd -f --config.cmd -v --config.cmd -p --config.cmd 8080 \
        --config.cmd -h --config.cmd /srv
    export_image hello berth-examples/hello:1 $hello/hello.tar

    rm -rf $work/{debs,bundle,export}
    echo "$hash" > $stamp
}

main
