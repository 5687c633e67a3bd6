#!/bin/sh
# Installs what building and testing need and the machine lacks; quick when nothing is missing.
#
# Everything comes from the Debian mirror that apt already uses. What is newer than the release (QEMU, the kernel)
# comes from its backports, through an apt configuration of our own below target/apt: the system's sources stay as
# they are. `setup.sh lints` adds the tools that only `make lint` needs, `setup.sh apt` that configuration.
set -eu
PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "$0")/.."

packages="binutils busybox-static curl dnsmasq-base e2fsprogs erofs-utils gcc iproute2 iputils-ping kmod libc6-dev make mmdebstrap nftables
openssl shellcheck skopeo umoci xz-utils"
qemu_min=10.0
rust_min=1.95
kernel_series=6.12
cargo_deny_version=0.20.2

apt_dir=$PWD/target/apt
kernel_dir=bin/kernel
registry_dir=target/registry
boot_dir=bin/boot
# The release whose loader is tested; newer ones have had broken boot counting.
boot_codename=trixie

say() { printf '%-8s %s\n' setup "$*"; }
die() { printf '%-8s error: %s\n' setup "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        command -v sudo > /dev/null || die "needs root to install packages, and there is no sudo"
        sudo "$@"
    fi
}

# --- apt --------------------------------------------------------------------------------------------------------

# "RELEASE URI" of everything that apt itself reads, whatever form its sources have and whether or not it has read
# them yet.
archives() {
    apt-get update --print-uris 2> /dev/null | sed -n "s|^'\(.*/\)dists/\([^/]*\)/InRelease'.*|\2 \1|p"
}

write_sources() {
    # Others have a suite of the release's name, too; only Debian has its updates beside it.
    uri=$(archives | awk -v c="$codename" '
        $1 ~ "^(" c "|(old)*stable)-updates$" { updates = $2 }
        $1 ~ "^(" c "|(old)*stable)$" && main == "" { main = $2 }
        END { print updates != "" ? updates : main }')
    [ -n "$uri" ] || die "apt has no source for '$codename main': add one below /etc/apt and run make setup again"
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    option=
    [ ! -r $key ] || option="[signed-by=$key] "
    {
        for suite in "$codename" "$codename-updates" "$codename-backports"; do
            echo "deb $option$uri $suite main"
        done
        archives | awk -v s="$codename-security" -v o="$option" '$1 == s { print "deb " o $2 " " s " main"; exit }'
    } > "$apt_dir/sources.list"
}

apt() {
    APT_CONFIG=$apt_dir/apt.conf "$@" > "$apt_dir/log" 2>&1 ||
        die "cannot $what: $(grep -m1 '^E:' "$apt_dir/log" || echo "see $apt_dir/log")"
}

apt_ready=
ensure_apt() {
    [ -z "$apt_ready" ] || return 0
    mkdir -p "$apt_dir/lists/partial" "$apt_dir/archives/partial"
    write_sources
    cat > "$apt_dir/apt.conf" <<- CONF
	Dir::Etc::sourcelist "$apt_dir/sources.list";
	Dir::Etc::sourceparts "-";
	Dir::State::Lists "$apt_dir/lists";
	Dir::Cache::archives "$apt_dir/archives";
	Dir::Cache::pkgcache "";
	Dir::Cache::srcpkgcache "";
	APT::Sandbox::User "root";
	APT::Install-Recommends "false";
	Acquire::Retries "3";
	DPkg::Lock::Timeout "120";
	Acquire::Languages "none";
	CONF
    what="read the package lists of Debian ($uri)"
    apt apt-get -q update -o APT::Update::Error-Mode=any
    apt_ready=yes
}

install() {
    say "installing $*"
    ensure_apt
    what="install $*"
    apt as_root env APT_CONFIG="$apt_dir/apt.conf" DEBIAN_FRONTEND=noninteractive apt-get -q -y install "$@"
}

# --- what is there, what is missing -----------------------------------------------------------------------------

is_at_least() { [ -n "$1" ] && dpkg --compare-versions "$1" ge "$2"; }

ensure_packages() {
    # shellcheck disable=SC2086 # a list
    have=" $(dpkg-query -W -f '${db:Status-Status}/${Package} ' $packages 2> /dev/null || true)"
    missing=
    for package in $packages; do
        case $have in *" installed/$package "*) ;; *) missing="$missing $package" ;; esac
    done
    # shellcheck disable=SC2086 # a list
    [ -z "$missing" ] || install $missing
}

qemu_version() { qemu-system-x86_64 --version 2> /dev/null | sed -n '1s/.*version \([0-9.]*\).*/\1/p'; }

ensure_qemu() {
    is_at_least "$(qemu_version)" $qemu_min && return 0
    ensure_apt
    suite=$codename
    [ "$codename" != bookworm ] || suite=bookworm-backports
    install -t "$suite" qemu-system-x86
    is_at_least "$(qemu_version)" $qemu_min || die "needs QEMU >= $qemu_min, '$(qemu_version)' is what Debian has"
}

rust_version() { rustc --version 2> /dev/null | sed 's/^rustc \([0-9.]*\).*/\1/'; }

ensure_rust() {
    is_at_least "$(rust_version)" $rust_min && command -v cargo > /dev/null && return 0
    install rustc-web cargo-web rustfmt-web rust-web-clippy
    is_at_least "$(rust_version)" $rust_min || die "needs Rust >= $rust_min, found '$(rust_version)': install it with rustup"
}

ensure_kernel() {
    [ ! -s $kernel_dir/package ] || return 0
    ensure_apt
    meta=linux-image-cloud-amd64
    package=$(APT_CONFIG=$apt_dir/apt.conf apt-cache show $meta |
        sed -n "s/^Depends: \(linux-image-${kernel_series}[^ ]*\) .*/\1/p" | head -n 1)
    [ -n "$package" ] || die "Debian has no $meta $kernel_series for $codename"
    say "fetching $package"
    work=$PWD/target/kernel
    rm -rf "$work" $kernel_dir
    mkdir -p "$work/root" bin
    what="fetch $package"
    (cd "$work" && apt apt-get -q download "$package")
    dpkg -x "$work"/*.deb "$work/root"
    unpack_kernel "$package" "$(basename "$work"/*.deb | cut -d_ -f2)"
    rm -rf "$work"
}

# Leaves bin/kernel/{vmlinuz,config,release,modules,package}; the last is written last and says that all is there.
unpack_kernel() {
    release=${1#linux-image-}
    tree=$work/root/usr
    [ -d "$tree/lib/modules" ] || tree=$work/root
    [ -s "$tree/lib/modules/$release/modules.dep" ] || depmod -b "$tree" "$release"
    mkdir -p $kernel_dir
    mv "$work/root/boot/vmlinuz-$release" $kernel_dir/vmlinuz
    mv "$work/root/boot/config-$release" $kernel_dir/config
    mv "$tree/lib/modules/$release" $kernel_dir/modules
    echo "$release" > $kernel_dir/release
    echo "$1 $2" > $kernel_dir/package
}

# The tests pull from a real one. It is unpacked, not installed: its package would start it as a service.
ensure_registry() {
    [ ! -x $registry_dir/usr/bin/docker-registry ] || return 0
    ensure_apt
    say "fetching docker-registry"
    work=$PWD/target/registry.part
    rm -rf "$work" $registry_dir
    mkdir -p "$work/root"
    what="fetch docker-registry"
    (cd "$work" && apt apt-get -q download docker-registry)
    dpkg -x "$work"/*.deb "$work/root"
    mv "$work/root" $registry_dir
    rm -rf "$work"
}

# systemd's stub and loader, and a firmware for QEMU: unpacked, never installed. Always of one release, through a second
# apt configuration where the machine has another.
ensure_boot() {
    [ ! -s $boot_dir/package ] || return 0
    ensure_apt
    work=$PWD/target/boot
    rm -rf "$work" $boot_dir
    mkdir -p "$work/root" "$work/lists/partial" "$work/archives/partial" $boot_dir
    # shellcheck disable=SC2016 # awk's
    sed -n "s| $codename main\$| $boot_codename main|p" "$apt_dir/sources.list" > "$work/sources.list"
    sed "s|\"$apt_dir/|\"$work/|" "$apt_dir/apt.conf" > "$work/apt.conf"
    own_apt() {
        (cd "$work" && APT_CONFIG=$work/apt.conf apt-get -q "$@") > "$work/log" 2>&1 ||
            die "cannot fetch the loader from Debian $boot_codename: $(grep -m1 '^E:' "$work/log" || echo "see $work/log")"
    }
    say "fetching systemd-boot-efi and ovmf of Debian $boot_codename"
    own_apt update -o APT::Update::Error-Mode=any
    own_apt download systemd-boot-efi ovmf
    for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
    efi=$work/root/usr/lib/systemd/boot/efi
    mv "$efi/linuxx64.efi.stub" $boot_dir/systemd-stub.efi
    mv "$efi/systemd-bootx64.efi" $boot_dir/systemd-boot.efi
    mv "$work/root/usr/share/OVMF/OVMF_CODE_4M.fd" $boot_dir/ovmf-code.fd
    mv "$work/root/usr/share/OVMF/OVMF_VARS_4M.fd" $boot_dir/ovmf-vars.fd
    (cd "$work" && echo ./*.deb) > $boot_dir/package
    rm -rf "$work"
}

ensure_cargo_deny() {
    [ ! -x target/tools/bin/cargo-deny ] || return 0
    command -v cargo-deny > /dev/null && return 0
    say "building cargo-deny $cargo_deny_version (some minutes, once)"
    # From / so that the static build of this workspace does not apply; unoptimised, which is quick enough to run.
    root=$PWD/target/tools
    (cd / && cargo install --quiet --locked --debug --root "$root" "cargo-deny@$cargo_deny_version") ||
        die "cannot build cargo-deny"
}

[ -r /etc/os-release ] || die "needs Debian 12 or 13: there is no /etc/os-release"
# shellcheck source=/dev/null
. /etc/os-release
codename=${VERSION_CODENAME:-}
case ${ID:-}/$codename/$(dpkg --print-architecture 2> /dev/null) in
    debian/bookworm/amd64 | debian/trixie/amd64) ;;
    *) die "needs Debian 12 or 13 on amd64, this is '${PRETTY_NAME:-unknown}' on $(uname -m)" ;;
esac
ensure_packages
ensure_qemu
ensure_rust
ensure_kernel
ensure_registry
ensure_boot
case ${1:-} in
    lints) ensure_cargo_deny ;;
    apt) ensure_apt && exit ;;
esac
say "qemu $(qemu_version), rust $(rust_version), kernel $(cut -d' ' -f2 $kernel_dir/package)," \
    "$(echo "$packages" | wc -w) packages present"
