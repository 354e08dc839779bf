//! The proxies of `evenkeel bench proxy`: configs, processes, CPU and memory.
//!
//! All do the same work: HTTP/1.1 with connections kept open on both sides, round robin, `X-Forwarded-For`, `-Proto`,
//! `-Host`, `Via` and `X-Request-Id` towards the origin, `Via` and `X-Request-Id` towards the client, timeouts for
//! everything, a retry when a server cannot be reached, counters, no access log, one thread. `bare` omits the headers.

use std::fmt::Write;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel_core::select::catalog;

/// A program to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HAProxy, found on PATH.
    Haproxy,
    /// nginx, found on PATH.
    Nginx,
    /// This program, with a strategy of the catalogue.
    Evenkeel(&'static str),
}

/// A proxy that is measured.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Name in tables and for `--only`.
    pub name: String,
    /// A program to measure.
    pub kind: Kind,
    /// Without forwarding headers.
    pub bare: bool,
    /// Number of servers behind it.
    pub backends: usize,
    /// Path of the executable.
    pub program: PathBuf,
    /// What it prints as its version.
    pub version: String,
}

impl Contender {
    /// Whether it sends requests of its own (probes) to servers.
    pub fn probes(&self) -> bool {
        let probes = |name| catalog::find(name).is_some_and(|row| (row.default)().signals().probes);
        matches!(self.kind, Kind::Evenkeel(name) if probes(name))
    }
}

impl Kind {
    /// The program's name, and the Debian package it comes in.
    pub fn program(self) -> (&'static str, &'static str) {
        match self {
            Kind::Haproxy => ("haproxy", "haproxy"),
            Kind::Nginx => ("nginx", "nginx-light"),
            Kind::Evenkeel(_) => ("evenkeel", "evenkeel"),
        }
    }

    /// The options that are configured, and those left at their defaults.
    pub fn knobs(self) -> &'static str {
        match self {
            Kind::Haproxy => {
                "nbthread 1, http-reuse always, forwardfor, unique-id, 1 retry; buffers of 16 KiB, no splicing (defaults)"
            }
            Kind::Nginx => {
                "one process, keepalive 256, keepalive_requests without bound, buffers of 20 x 4 KiB, nothing to disk, 1 retry"
            }
            Kind::Evenkeel(_) => "shards = 1, admin listener with metrics on, 1 retry; all else at its defaults",
        }
    }
}

impl Contender {
    /// The config for a listener and these servers. `folder` is for files that a program must write.
    fn config(&self, listen: SocketAddrV4, servers: &[SocketAddr], folder: &Path) -> String {
        match self.kind {
            Kind::Haproxy => haproxy(listen, servers, self.bare),
            Kind::Nginx => nginx(listen, servers, folder, self.bare),
            Kind::Evenkeel(strategy) => evenkeel(listen, servers, strategy, self.bare),
        }
    }

    fn command(&self, config: &Path, folder: &Path) -> Command {
        // Otherwise a child whose parent is killed would keep running, with its port and its core.
        let mut command = match find("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        match self.kind {
            Kind::Haproxy => command.arg("-db").arg("-f").arg(config),
            Kind::Nginx => command.arg("-c").arg(config).arg("-p").arg(folder).arg("-e").arg("stderr"),
            Kind::Evenkeel(_) => command.arg("proxy").arg("--no-watch").arg("--config").arg(config),
        };
        command
    }
}

/// A program on PATH, or in /usr/sbin, which users' PATH may lack on Debian.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The first line of `-v`, from whichever stream.
pub fn version(program: &Path) -> String {
    let Ok(said) = Command::new(program).arg("-v").stdin(Stdio::null()).output() else { return String::new() };
    let text = [said.stdout, said.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned()
}

fn haproxy(listen: SocketAddrV4, servers: &[SocketAddr], bare: bool) -> String {
    let mut text = "\
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    balance roundrobin
    http-reuse always
    retries 1
    timeout connect 1s
    timeout client 75s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 75s
frontend front
"
    .to_owned();
    let _ = writeln!(text, "    bind {listen}\n    default_backend origin");
    if !bare {
        text += "    \
    option forwardfor
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request add-header Via \"1.1 haproxy\"
    http-response add-header Via \"1.1 haproxy\"
    http-response set-header X-Request-Id %[unique-id]
";
    }
    text += "backend origin\n";
    for (i, server) in servers.iter().enumerate() {
        let _ = writeln!(text, "    server s{} {server} pool-max-conn 256", i + 1);
    }
    text
}

fn nginx(listen: SocketAddrV4, servers: &[SocketAddr], folder: &Path, bare: bool) -> String {
    let folder = folder.display();
    let fields = if bare {
        ""
    } else {
        "            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header Via \"1.1 nginx\";
            add_header Via \"1.1 nginx\";
            add_header X-Request-Id $request_id;
"
    };
    let mut upstream = String::new();
    for server in servers {
        let _ = writeln!(upstream, "        server {server};");
    }
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout 75s;
    keepalive_requests 1000000000;
    upstream origin {{
{upstream}        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen};
        tcp_nodelay on;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffers 20 4k;
            proxy_max_temp_file_size 0;
            proxy_connect_timeout 1s;
            proxy_read_timeout 60s;
            proxy_next_upstream_tries 2;
{fields}        }}
    }}
}}
"
    )
}

fn evenkeel(listen: SocketAddrV4, servers: &[SocketAddr], strategy: &str, bare: bool) -> String {
    let mut text = format!(
        "shards = 1
strategy = \"{strategy}\"
[[listeners]]
address = \"{listen}\"
[admin]
address = \"127.0.0.1:0\"
"
    );
    if bare {
        text += "[headers]\nx_forwarded = false\nvia = false\nrequest_id = false\n";
    }
    text += "[[pools]]\nname = \"origin\"\n[pools.retries]\nmax_retries = 1\n";
    for (i, server) in servers.iter().enumerate() {
        let _ = writeln!(text, "[[pools.servers]]\nname = \"s{}\"\naddress = \"{server}\"", i + 1);
    }
    text
}

/// A running proxy, killed on drop.
pub struct Running {
    child: Child,
    folder: tempfile::TempDir,
    /// Its listen address.
    pub address: SocketAddrV4,
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// All threads, user and system time.
    pub cpu: Duration,
    /// Time that threads were ready to run and the core was busy with something else; zero where the kernel does not count.
    pub waited: Duration,
    /// Resident bytes.
    pub resident: u64,
}

impl Running {
    /// Starts a proxy in front of these servers and waits until it accepts connections. With `cores` it runs on one core.
    pub fn start(contender: &Contender, servers: &[SocketAddr], cores: Option<Cores>) -> Result<Running, String> {
        let failed = |what: &str, error: std::io::Error| format!("{}: {what}: {error}", contender.name);
        let folder = tempfile::tempdir().map_err(|error| failed("no temporary folder", error))?;
        let address = free_port().map_err(|error| failed("no free port", error))?;
        let config = folder.path().join("config");
        let text = contender.config(address, servers, folder.path());
        std::fs::write(&config, text).map_err(|error| failed("cannot write its config", error))?;
        let said = std::fs::File::create(folder.path().join("said")).map_err(|error| failed("no log", error))?;
        let and_more = said.try_clone().map_err(|error| failed("no log", error))?;
        let mut command = contender.command(&config, folder.path());
        command.stdin(Stdio::null()).stdout(said).stderr(and_more);
        // A process begins on the cores of the thread that starts it.
        let child = {
            let _there = cores.map(Cores::go_to_proxies);
            command.spawn().map_err(|error| failed("cannot be started", error))?
        };
        let mut running = Running { child, folder, address };
        let last = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if !running.lives() || Instant::now() > last || super::super::scheduler::stopped() {
                return Err(format!("{} does not listen: {}", contender.name, running.said()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// Whether it is still running.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last lines of its output.
    pub fn said(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = std::fs::File::open(self.folder.path().join("said")) {
            let _ = file.read_to_string(&mut text);
        }
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(5)..].join("\n  ");
        if end.is_empty() { "no output".to_owned() } else { format!("its output:\n  {end}") }
    }

    /// Usage so far.
    pub fn usage(&self) -> Usage {
        usage(&self.child.id().to_string())
    }
}

/// Usage of a process, by its id or `self`; zero where there is no `/proc`.
pub fn usage(process: &str) -> Usage {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    // The name, in parentheses, may contain any character; the fields from the third on follow it.
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let by_ticks = Duration::from_secs_f64((ticks(14) + ticks(15)) as f64 / ticks_per_second() as f64);
    let (cpu, waited) = scheduled(process).unwrap_or((by_ticks, Duration::ZERO));
    let status = read("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
    Usage { cpu, waited, resident: kib * 1024 }
}

/// Time that a process's threads ran, and time that they waited for a core, to the nanosecond; `None` where the kernel keeps
/// no such statistics. Threads that have ended are missing: none ends between two looks at a proxy under load.
fn scheduled(process: &str) -> Option<(Duration, Duration)> {
    let (mut ran, mut waited) = (0, 0);
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).ok()? {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        let mut numbers = text.split_whitespace().map(|word| word.parse::<u64>().ok());
        ran += numbers.next()??;
        waited += numbers.next()??;
    }
    (ran > 0).then_some((Duration::from_nanos(ran), Duration::from_nanos(waited)))
}

/// A free port.
fn free_port() -> std::io::Result<SocketAddrV4> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// Cores: the first that this process may use is for the proxies, the others are for the load and the origin.
    #[derive(Clone, Copy)]
    pub struct Cores {
        proxies: CpuSet,
        ours: CpuSet,
        /// Their numbers as text.
        pub proxy_core: usize,
    }

    /// Restores the affinity to the cores of the load when dropped.
    pub struct There(CpuSet);

    impl Drop for There {
        fn drop(&mut self) {
            let _ = sched_setaffinity(None, &self.0);
        }
    }

    impl Cores {
        /// Binds the calling thread, and those that it starts, to the load's cores; `None` if there is only one core.
        pub fn divide() -> Option<Cores> {
            let mut ours = sched_getaffinity(None).ok()?;
            let proxy_core = (0..CpuSet::MAX_CPU).find(|&core| ours.is_set(core))?;
            let mut proxies = CpuSet::new();
            proxies.set(proxy_core);
            ours.unset(proxy_core);
            if ours.count() == 0 {
                return None;
            }
            sched_setaffinity(None, &ours).ok()?;
            Some(Cores { proxies, ours, proxy_core })
        }

        /// Processes that the calling thread starts while the guard is held run on the proxies' core.
        pub fn go_to_proxies(self) -> There {
            let _ = sched_setaffinity(None, &self.proxies);
            There(self.ours)
        }
    }

    /// Clock ticks per second of the kernel's CPU times.
    pub fn ticks_per_second() -> u64 {
        rustix::param::clock_ticks_per_second()
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    /// No cores to choose: CPU affinity is not supported on this system.
    #[derive(Clone, Copy)]
    pub struct Cores {
        /// The number of the proxies' core.
        pub proxy_core: usize,
    }

    impl Cores {
        /// CPU affinity is not supported.
        pub fn divide() -> Option<Cores> {
            None
        }

        /// CPU affinity is not supported.
        pub fn go_to_proxies(self) {}
    }

    /// For a kernel without these statistics.
    pub fn ticks_per_second() -> u64 {
        100
    }
}

pub use linux::Cores;
use linux::ticks_per_second;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configs_are_valid() {
        let listen = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
        let servers = [SocketAddr::from(([127, 0, 0, 1], 9001)), SocketAddr::from(([127, 0, 0, 1], 9002))];
        for row in evenkeel_core::select::catalog::CATALOGUE.iter().filter(|row| !row.doc.oracle()) {
            for bare in [false, true] {
                let text = evenkeel(listen, &servers, row.name, bare);
                let config = evenkeel_config::proxy::ProxyConfig::parse(&text, &|_| None).unwrap();
                assert_eq!(config.pools[0].servers.len(), 2, "{text}");
            }
        }
    }

    #[test]
    fn this_process_has_used_something() {
        if cfg!(target_os = "linux") {
            assert!(usage("self").resident > 0);
        }
        assert_eq!(usage("none").resident, 0);
    }
}
