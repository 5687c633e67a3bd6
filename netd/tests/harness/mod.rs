//! A node in a network namespace of its own: the real berth-netd, a supervisor that the test plays, sleeping
//! processes as containers, and an "outside" behind the uplink. Needs root and the packages iproute2, nftables,
//! dnsmasq-base and util-linux. The machine's own network is never touched.

use std::fs::File;
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use berth_units::Name;
use berth_units::spec::{Ipv4Net, Network, Protocol};
use berth_units::wire::PACKET_MAX;
use berth_units::wire::net::{Interface, NetState, PublishedPort, Reply, Request, host_ifname};
use nix::sched::{CloneFlags, setns, unshare};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, recvmsg, sendmsg, socketpair, sockopt,
};

/// Longest wait for anything that should come.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Wait for something that should not come.
pub const SILENCE: Duration = Duration::from_millis(700);

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub fn net(text: &str) -> Ipv4Net {
    let (address, prefix) = text.split_once('/').unwrap();
    Ipv4Net { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
}

/// 10.88.N.0/24.
pub fn network(n: u8) -> Network {
    let subnet = net(&format!("10.88.{n}.0/24"));
    Network { subnet, gateway: Ipv4Addr::new(10, 88, n, 1), nat: true, internal: false, mtu: 1500 }
}

pub fn port(host: u16, address: &str, container: u16) -> PublishedPort {
    let address = address.parse().unwrap();
    PublishedPort { unit: name("web"), protocol: Protocol::Tcp, host_ip: None, host, address, container }
}

/// Runs a command in the namespace of the calling thread; its output.
#[track_caller]
pub fn run(words: &str) -> String {
    let parts: Vec<&str> = words.split_whitespace().collect();
    let output = Command::new(parts[0]).args(&parts[1..]).output().unwrap_or_else(|e| panic!("{words}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{words}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A network namespace that a sleeping process holds.
pub struct Space {
    process: Process,
    pub namespace: File,
}

impl Space {
    pub fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let namespace = File::open(format!("/proc/{}/ns/net", child.id())).unwrap();
        Self { process: Process(child), namespace }
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Runs `f` on a thread inside.
    pub fn within<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET).unwrap();
                f()
            });
            inside.join().unwrap()
        })
    }

    /// Serves TCP there until the test ends: sends back the peer's address as a line, then echoes.
    pub fn serve(&self, port: u16) {
        let listener = self.within(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || echo(stream.unwrap()));
            }
        });
    }

    /// Opens a connection from there.
    pub fn dial(&self, to: &str) -> std::io::Result<Conversation> {
        self.within(|| Conversation::open(to, PATIENCE))
    }

    /// Whether a connection from there comes about at all.
    pub fn reaches(&self, to: &str) -> bool {
        self.within(|| Conversation::open(to, SILENCE).is_ok())
    }
}

fn echo(mut stream: TcpStream) {
    let peer = stream.peer_addr().unwrap();
    drop(writeln!(stream, "{}", peer.ip()));
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        drop(stream.write_all(&buffer[..length]));
    }
}

/// A connection to a [`Space::serve`].
pub struct Conversation {
    stream: TcpStream,
    /// Who the server thinks that we are.
    pub seen_as: IpAddr,
}

impl Conversation {
    pub fn open(to: &str, patience: Duration) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to.parse().unwrap(), patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut line = String::new();
        // A byte at a time: nothing of the echo may be taken along.
        let mut byte = [0];
        while !line.ends_with('\n') {
            (&stream).read_exact(&mut byte)?;
            line.push(char::from(byte[0]));
        }
        Ok(Self { stream, seen_as: line.trim().parse().unwrap() })
    }

    #[track_caller]
    pub fn check(&mut self, word: &str) {
        self.stream.write_all(word.as_bytes()).unwrap();
        let mut back = vec![0; word.len()];
        self.stream.read_exact(&mut back).unwrap();
        assert_eq!(back, word.as_bytes());
    }
}

/// The node: namespace of the calling thread, supervisor's end, netd.
pub struct Node {
    end: OwnedFd,
    other: OwnedFd,
    pub netd: Process,
    pub state: NetState,
    generation: u64,
    /// Behind the uplink `up0`, which has 192.0.2.1; outside is 192.0.2.2.
    pub outside: Space,
    /// Replies about the uplink that came between others.
    pub uplinks: Vec<berth_units::wire::net::UplinkState>,
    /// Units that have lost an interface, told between other replies.
    pub detached: Vec<(Name, u64)>,
}

impl Node {
    /// Takes the calling thread into a fresh namespace and starts netd there.
    pub fn boot() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests need root");
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        run("ip link set lo up");
        let outside = Space::new();
        run(&format!("ip link add up0 type veth peer name out0 netns {}", outside.pid()));
        outside.within(|| {
            run("ip link set lo up");
            run("ip addr add 192.0.2.2/24 dev out0");
            run("ip link set out0 up");
        });
        let (end, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        sockopt::set_socket_timeout(&end, sockopt::Timeout::Recv, Some(PATIENCE)).unwrap();
        sockopt::set_socket_send_buffer_size_force(&end, 2 * PACKET_MAX).unwrap();
        let netd = start(&other);
        Self {
            end,
            other,
            netd,
            state: NetState::default(),
            detached: Vec::new(),
            generation: 0,
            outside,
            uplinks: Vec::new(),
        }
    }

    /// The usual uplink: static, gateway and name server outside.
    pub fn static_uplink(&mut self) {
        self.state.uplink.interface = Some("up0".into());
        self.state.uplink.mode = berth_units::spec::UplinkMode::Static {
            address: net("192.0.2.1/24"),
            gateway: Some(Ipv4Addr::new(192, 0, 2, 2)),
            dns: vec![Ipv4Addr::new(192, 0, 2, 2)],
        };
    }

    /// SIGKILL and a new one on the same socket, as the supervisor does it.
    pub fn kill_and_restart(&mut self) {
        self.netd.0.kill().unwrap();
        self.netd.0.wait().unwrap();
        self.netd = start(&self.other);
    }

    /// Closes both our ends and waits for netd's exit code.
    pub fn hang_up(self) -> Option<i32> {
        let Self { end, other, mut netd, .. } = self;
        drop((end, other));
        netd.0.wait().unwrap().code()
    }

    pub fn send(&self, request: &Request, fd: Option<BorrowedFd<'_>>) {
        let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let bytes = serde_json::to_vec(request).unwrap();
        sendmsg(&self.end, &[IoSlice::new(&bytes)], &mut control, SendFlags::empty()).unwrap();
    }

    pub fn receive(&mut self) -> Reply {
        let mut buffer = vec![0; PACKET_MAX];
        let mut control = RecvAncillaryBuffer::default();
        let message =
            recvmsg(&self.end, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::empty())
                .unwrap();
        serde_json::from_slice(&buffer[..message.bytes]).unwrap()
    }

    /// The next reply that answers something.
    pub fn answer(&mut self) -> Reply {
        loop {
            match self.receive() {
                Reply::Uplink(state) => self.uplinks.push(state),
                Reply::Detached { unit, run } => self.detached.push((unit, run)),
                other => return other,
            }
        }
    }

    /// Waits until it is told that this unit has lost an interface.
    pub fn wait_detached(&mut self, unit: &str) {
        let gone = (name(unit), 1);
        while !self.detached.contains(&gone) {
            let Reply::Detached { unit, run } = self.receive() else { continue };
            self.detached.push((unit, run));
        }
        self.detached.retain(|told| *told != gone);
    }

    /// Waits until the uplink is as `good` says.
    pub fn wait_uplink(&mut self, good: impl Fn(&berth_units::wire::net::UplinkState) -> bool) {
        while !self.uplinks.last().is_some_and(&good) {
            let Reply::Uplink(state) = self.receive() else { continue };
            self.uplinks.push(state);
        }
    }

    /// Declares the state; how long it took.
    #[track_caller]
    pub fn declare(&mut self) -> Duration {
        let (took, error) = self.try_declare();
        assert_eq!(error, None);
        took
    }

    pub fn try_declare(&mut self) -> (Duration, Option<String>) {
        self.generation += 1;
        let request = Request::Declare { generation: self.generation, state: Box::new(self.state.clone()) };
        let start = Instant::now();
        self.send(&request, None);
        let Reply::Declared { generation, failed, error } = self.answer() else { panic!("another reply") };
        assert_eq!((generation, failed), (self.generation, [].into()));
        (start.elapsed(), error)
    }

    pub fn try_attach(
        &mut self,
        space: &Space,
        unit: &str,
        interfaces: Vec<Interface>,
    ) -> Result<(), String> {
        let request = Request::Attach { unit: name(unit), run: 1, interfaces };
        self.send(&request, Some(space.namespace.as_fd()));
        let Reply::Attached { unit: echoed, run: 1, error } = self.answer() else { panic!("another reply") };
        assert_eq!(echoed, name(unit));
        error.map_or(Ok(()), Err)
    }

    /// A container of that unit on that network.
    pub fn container(&mut self, unit: &str, network: &str, address: &str) -> Space {
        let space = Space::new();
        let interface = self.interface(unit, network, address);
        self.try_attach(&space, unit, vec![interface]).unwrap();
        space
    }

    pub fn interface(&self, unit: &str, network: &str, address: &str) -> Interface {
        Interface {
            network: name(network),
            ifname: "eth0".into(),
            host_ifname: host_ifname(&name(unit), &name(network)),
            address: net(&format!("{address}/24")),
            gateway: self.state.networks.get(&name(network)).map(|network| network.gateway),
        }
    }
}

fn start(other: &OwnedFd) -> Process {
    // The shell moves the socket from its standard input to descriptor 3: that alone needs no unsafe code.
    let child = Command::new("sh")
        .args(["-c", "exec \"$0\" 3<&0 </dev/null", env!("CARGO_BIN_EXE_berth-netd")])
        .stdin(other.try_clone().unwrap())
        .spawn()
        .unwrap();
    Process(child)
}

/// Asks a DNS server for a name; RCODE and addresses.
pub fn lookup(server: &str, name: &str, kind: u16) -> (u8, Vec<Ipv4Addr>) {
    let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.bytes());
    }
    query.push(0);
    query.extend(kind.to_be_bytes());
    query.extend([0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = SocketAddr::new(server.parse().unwrap(), 53);
    socket.send_to(&query, server).unwrap();
    let mut reply = [0; 512];
    let (length, _) = socket.recv_from(&mut reply).unwrap();
    assert_eq!(reply[..2], [7, 7]);
    parse_lookup(&reply[..length], query.len())
}

/// The same over TCP.
pub fn lookup_tcp(server: &str, name: &str) -> (u8, Vec<Ipv4Addr>) {
    let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let mut stream = TcpStream::connect((server, 53)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&[&[0, u8::try_from(query.len()).unwrap()], &query[..]].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).unwrap();
    parse_lookup(&reply, query.len())
}

fn parse_lookup(reply: &[u8], question_end: usize) -> (u8, Vec<Ipv4Addr>) {
    // Owner as a pointer, type, class, TTL, length: 12 bytes before each address.
    let records =
        reply[question_end..].chunks(16).take(usize::from(reply[7])).filter(|record| record[3] == 1);
    let addresses = records.map(|record| Ipv4Addr::new(record[12], record[13], record[14], record[15]));
    (reply[3] & 15, addresses.collect())
}

/// What an observer of the kernel's configuration sees while the test goes on.
pub struct Monitor {
    _processes: Vec<Process>,
    lines: Vec<Receiver<String>>,
}

impl Monitor {
    pub fn start() -> Self {
        let (mut processes, mut lines) = (Vec::new(), Vec::new());
        for words in [&["ip", "-4", "monitor", "link", "address", "route"][..], &["nft", "monitor"]] {
            let mut child = Command::new(words[0]).args(&words[1..]).stdout(Stdio::piped()).spawn().unwrap();
            let output = BufReader::new(child.stdout.take().unwrap());
            let (sender, receiver) = channel();
            thread::spawn(move || {
                output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
            });
            processes.push(Process(child));
            lines.push(receiver);
        }
        let mut monitor = Self { _processes: processes, lines };
        monitor.read_to_mark("begin");
        monitor
    }

    /// Everything seen between start and now.
    pub fn finish(mut self) -> Vec<String> {
        self.read_to_mark("end")
    }

    /// Makes marks until every monitor has told of one; what they told before.
    fn read_to_mark(&mut self, mark: &str) -> Vec<String> {
        let mut seen = Vec::new();
        for receiver in &self.lines {
            loop {
                run(&format!("ip link add {mark} type bridge"));
                run(&format!("ip link del {mark}"));
                run(&format!("nft add table inet {mark}"));
                run(&format!("nft delete table inet {mark}"));
                let line = receiver.recv_timeout(Duration::from_millis(200));
                seen.extend(line);
                if seen.last().is_some_and(|line| line.contains(mark)) {
                    break;
                }
            }
            seen.extend(receiver.try_iter());
        }
        let marks = |line: &String| ["begin", "end", "(nft)"].iter().any(|mark| line.contains(mark));
        seen.retain(|line| !marks(line) && !line.starts_with(' ') && !line.is_empty());
        seen
    }
}
