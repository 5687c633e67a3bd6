//! The virtual machine as QEMU's arguments. Pure.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::Path;

use berth_units::wire::mux::PORT_NAME;

use super::accel::Accel;
use super::forward::{Forward, protocol_name};

/// What differs between processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arch {
    /// As Rust names it.
    pub name: &'static str,
    /// QEMU's program.
    pub qemu: &'static str,
    /// `-M`.
    pub machine: &'static str,
    /// The serial console as the kernel names it.
    pub console: &'static str,
}

const ARCHS: [Arch; 2] = [
    Arch { name: "x86_64", qemu: "qemu-system-x86_64", machine: "q35,sata=off", console: "ttyS0" },
    Arch { name: "aarch64", qemu: "qemu-system-aarch64", machine: "virt", console: "ttyAMA0" },
];

impl Arch {
    /// The one of this machine.
    pub fn here() -> Option<Self> {
        ARCHS.into_iter().find(|arch| arch.name == std::env::consts::ARCH)
    }
}

/// How a machine comes to its kernel.
#[derive(Clone, Copy, Debug)]
pub enum Boot<'a> {
    /// QEMU loads it.
    Direct {
        /// Kernel image.
        kernel: &'a Path,
        /// Initial RAM disk.
        initrd: &'a Path,
        /// Factory store.
        factory: &'a Path,
        /// Data disk.
        data: &'a Path,
    },
    /// UEFI firmware finds it on the disk.
    Firmware {
        /// The firmware.
        code: &'a Path,
        /// Its variables, which it changes.
        vars: &'a Path,
        /// A disk as disk.raw is one.
        disk: &'a Path,
    },
}

/// Everything that makes a machine.
#[derive(Clone, Debug)]
pub struct Machine<'a> {
    /// Processor.
    pub arch: Arch,
    /// TCG or KVM.
    pub accel: Accel,
    /// Processors.
    pub cpus: u32,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// What boots, and where its data are.
    pub boot: Boot<'a>,
    /// Kernel command line beyond the console.
    pub words: &'a str,
    /// Forwarded ports.
    pub forwards: &'a [Forward],
}

/// Descriptors that QEMU inherits: connected sockets.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    /// The serial console.
    pub console: RawFd,
    /// The virtio-serial port.
    pub control: RawFd,
    /// QMP.
    pub monitor: RawFd,
}

/// QEMU's arguments, the program not included.
pub fn arguments(machine: &Machine<'_>, fds: Inherited) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    let (memory, cpus) = (format!("{}M", machine.memory_mib), machine.cpus.to_string());
    add(&["-M", machine.arch.machine, "-accel", machine.accel.name(), "-cpu", "max"]);
    add(&["-smp", &cpus, "-m", &memory, "-nodefaults", "-no-user-config", "-display", "none"]);
    for (id, fd) in [("console", fds.console), ("control", fds.control), ("monitor", fds.monitor)] {
        add(&["-chardev", &format!("socket,id={id},fd={fd}")]);
    }
    add(&["-serial", "chardev:console", "-mon", "chardev=monitor,mode=control"]);
    add(&["-device", "virtio-serial-pci"]);
    add(&["-device", &format!("virtserialport,chardev=control,name={PORT_NAME}")]);
    add(&["-device", "virtio-rng-pci"]);
    let mut netdev = "user,id=uplink".to_owned();
    for forward in machine.forwards {
        let protocol = protocol_name(forward.protocol);
        netdev.push_str(&format!(",hostfwd={protocol}:127.0.0.1:{}-:{}", forward.host, forward.node));
    }
    // Without an option ROM there is no network boot to wait for, and no file of another package to miss.
    add(&["-netdev", &netdev, "-device", "virtio-net-pci,netdev=uplink,romfile="]);
    args.extend(match machine.boot {
        Boot::Direct { kernel, initrd, factory, data } => direct(machine, [kernel, initrd], [factory, data]),
        Boot::Firmware { code, vars, disk } => firmware(machine, [code, vars], disk),
    });
    args
}

fn direct(machine: &Machine<'_>, [kernel, initrd]: [&Path; 2], [factory, data]: [&Path; 2]) -> Vec<OsString> {
    let disks = ["-device", "virtio-blk-pci,drive=factory", "-device", "virtio-blk-pci,drive=data"];
    let mut args: Vec<OsString> = disks.map(OsString::from).into();
    args.extend(["-drive".into(), drive("if=none,id=factory,format=raw,read-only=on", factory)]);
    args.extend(["-drive".into(), drive("if=none,id=data,format=raw,discard=unmap", data)]);
    args.extend(["-kernel".into(), kernel.into(), "-initrd".into(), initrd.into()]);
    let words = format!("console={} quiet panic=5 {}", machine.arch.console, machine.words);
    args.extend(["-append".into(), words.trim_end().into()]);
    args
}

fn firmware(machine: &Machine<'_>, [code, vars]: [&Path; 2], disk: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> =
        ["-device", "virtio-blk-pci,drive=disk,bootindex=0"].map(OsString::from).into();
    args.extend(["-drive".into(), drive("if=pflash,unit=0,format=raw,readonly=on", code)]);
    args.extend(["-drive".into(), drive("if=pflash,unit=1,format=raw", vars)]);
    args.extend(["-drive".into(), drive("if=none,id=disk,format=raw,discard=unmap", disk)]);
    if !machine.words.is_empty() {
        // systemd-stub(7) appends them to its own. A comma would begin QEMU's next option.
        let words = machine.words.replace(',', ",,");
        let value = format!("type=11,value=io.systemd.stub.kernel-cmdline-extra={words}");
        args.extend(["-smbios".into(), value.into()]);
    }
    args
}

/// A -drive option; a comma of the path is doubled, as QEMU wants it.
fn drive(options: &str, file: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut text = format!("{options},file=").into_bytes();
    for byte in file.as_os_str().as_bytes() {
        text.extend(std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 }));
    }
    OsString::from_vec(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_hold_what_was_asked_for() {
        let forwards = ["8080:80".parse().unwrap(), "udp:5353:53".parse().unwrap()];
        let machine = Machine {
            arch: ARCHS[0],
            accel: Accel::Tcg,
            cpus: 2,
            memory_mib: 192,
            boot: Boot::Direct {
                kernel: Path::new("/os/kernel"),
                initrd: Path::new("/os/initrd"),
                factory: Path::new("/os/factory.erofs"),
                data: Path::new("/a,b/data.raw"),
            },
            words: "berth.x=1",
            forwards: &forwards,
        };
        let args = arguments(&machine, Inherited { console: 5, control: 6, monitor: 7 });
        let line = args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ");
        for part in [
            "-M q35,sata=off -accel tcg -cpu max -smp 2 -m 192M",
            "socket,id=control,fd=6",
            "virtserialport,chardev=control,name=io.berth.control",
            "user,id=uplink,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:127.0.0.1:5353-:53 ",
            "format=raw,read-only=on,file=/os/factory.erofs",
            "file=/a,,b/data.raw",
            "-append console=ttyS0 quiet panic=5 berth.x=1",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let [code, vars, disk] = ["/code", "/vars", "/disk"].map(Path::new);
        let machine = Machine { boot: Boot::Firmware { code, vars, disk }, words: "a=1,2 b", ..machine };
        let args = arguments(&machine, Inherited { console: 5, control: 6, monitor: 7 });
        let line = args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ");
        for part in [
            "if=pflash,unit=0,format=raw,readonly=on,file=/code",
            "if=pflash,unit=1,format=raw,file=/vars",
            "virtio-blk-pci,drive=disk,bootindex=0",
            "value=io.systemd.stub.kernel-cmdline-extra=a=1,,2 b",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("-kernel"), "{line}");
    }
}
