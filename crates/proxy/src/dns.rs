//! Resolves server names to addresses and refreshes them when their records expire.
//!
//! hickory-resolver sends the queries, with the system's servers and search domains. Four rules are added: what is in
//! `/etc/hosts` is not asked for, not even the other family of addresses (the file is read when a [`Resolver`] is made, so a
//! reload of the configuration takes it up); a record's time to live is clamped between a floor and a ceiling; **the last
//! good answer stays when a look-up fails**, because a failing name server is no reason to lose working servers; and a
//! literal address is never looked up.
//!
//! Nothing here runs by itself. A [`Watched`] name is refreshed by its owner, and says how long its addresses are valid.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};

/// A server's address as it is written in a config: `10.0.0.1:80`, `[2001:db8::1]:80` or `web.example.org:80`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A literal address and port.
    Address(SocketAddr),
    /// A name that has addresses, and the port.
    Name(String, u16),
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Target, String> {
        if let Ok(address) = text.parse() {
            return Ok(Target::Address(address));
        }
        let wanted = "write an address or a name with a port, as 10.0.0.1:80, [2001:db8::1]:80 or web.example.org:80";
        let (name, port) = text.rsplit_once(':').ok_or_else(|| format!("`{text}` has no port: {wanted}"))?;
        let port = port.parse().ok().filter(|&port: &u16| port > 0);
        let port = port.ok_or_else(|| format!("`{text}` does not end with a port: {wanted}"))?;
        // Names are written in ASCII; "1.2.3" or "999.1.1.1" are mistyped addresses, not names.
        let mut labels = name.strip_suffix('.').unwrap_or(name).split('.');
        let is_label = |label: &str| {
            (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        let numeric =
            name.trim_end_matches('.').rsplit('.').next().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if !labels.all(is_label) || numeric || name.len() > 253 || Name::from_ascii(name).is_err() {
            return Err(format!("`{name}` is not a host name: {wanted}"));
        }
        Ok(Target::Name(name.to_owned(), port))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(address) => write!(f, "{address}"),
            Target::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// Limits of the time to live of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Shortest time to live; also the delay of the first retry after a failure, which doubles up to `ceiling`.
    pub floor: Duration,
    /// Longest time to live.
    pub ceiling: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { floor: Duration::from_secs(1), ceiling: Duration::from_secs(60) }
    }
}

/// Why a name has no addresses at the moment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system's settings cannot be read.
    #[error("the system's DNS settings cannot be read: {0}")]
    Settings(#[source] NetError),
    /// The name does not exist or has no addresses.
    #[error("`{0}` has no addresses")]
    NoAddresses(String),
    /// No name server could be asked, or it gave no answer.
    #[error("`{0}` cannot be looked up: {1}")]
    Failed(String, #[source] NetError),
}

/// Looks up addresses. Must be used inside a tokio runtime; cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    inner: TokioResolver,
    hosts: Arc<Hosts>,
    limits: Limits,
}

impl Resolver {
    /// A resolver with the system's settings (`/etc/resolv.conf`, `/etc/hosts`).
    pub fn system(limits: Limits) -> Result<Resolver, Error> {
        let (config, options) = hickory_resolver::system_conf::read_system_conf().map_err(Error::Settings)?;
        Resolver::with(config, options, Hosts::from_system().unwrap_or_default(), limits)
    }

    /// A resolver with the given settings.
    fn with(
        config: ResolverConfig,
        mut options: ResolverOpts,
        hosts: Hosts,
        limits: Limits,
    ) -> Result<Resolver, Error> {
        // What is known is kept in `Watched`. A cache below it would return stale answers when a refresh is due.
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // hickory would still query the address family that the file does not have.
        options.use_hosts_file = ResolveHosts::Never;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        Ok(Resolver { inner: builder.build().map_err(Error::Settings)?, hosts: Arc::new(hosts), limits })
    }

    /// The name's addresses of both kinds, sorted, without duplicates; and their time to live, within the limits.
    pub async fn look_up(&self, name: &str) -> Result<(Vec<IpAddr>, Duration), Error> {
        let listed = self.listed(name);
        if !listed.is_empty() {
            return Ok((listed, self.limits.ceiling));
        }
        let answer = self.inner.lookup_ip(name).await.map_err(|error| match error {
            error if error.is_nx_domain() || error.is_no_records_found() => Error::NoAddresses(name.to_owned()),
            error => Error::Failed(name.to_owned(), error),
        })?;
        let addresses = in_order(answer.iter());
        if addresses.is_empty() {
            return Err(Error::NoAddresses(name.to_owned()));
        }
        let ttl = answer.as_lookup().answers().iter().map(|record| record.ttl).min().unwrap_or(0);
        let Limits { floor, ceiling } = self.limits;
        Ok((addresses, Duration::from_secs(u64::from(ttl)).min(ceiling).max(floor)))
    }

    /// What `/etc/hosts` says of a name.
    fn listed(&self, name: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_ascii(name) else { return Vec::new() };
        let of = |family| self.hosts.lookup_static_host(&Query::query(name.clone(), family));
        let lists = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of);
        let addresses =
            |list: Lookup| list.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>();
        in_order(lists.flat_map(addresses))
    }
}

fn in_order(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The result of a refresh.
#[derive(Debug)]
pub struct Refreshed {
    /// Whether the addresses have changed.
    pub changed: bool,
    /// The error, if the look-up failed; the addresses are then those of the last good answer.
    pub error: Option<Error>,
    /// Time to the next refresh; `None` for a literal address, which never changes.
    pub again: Option<Duration>,
}

/// A target whose addresses are kept up to date by calling [`Watched::refresh`].
#[derive(Clone, Debug)]
pub struct Watched {
    target: Target,
    addresses: Vec<SocketAddr>,
    failures: u32,
}

impl Watched {
    /// Knows an address from the start; a name after the first refresh.
    pub fn new(target: Target) -> Watched {
        let addresses = match &target {
            Target::Address(address) => vec![*address],
            Target::Name(..) => Vec::new(),
        };
        Watched { target, addresses, failures: 0 }
    }

    /// The target: an address, or a name and a port.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The addresses of the last good answer, sorted.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Looks the name up again; does nothing for a literal address.
    pub async fn refresh(&mut self, resolver: &Resolver) -> Refreshed {
        let Target::Name(name, port) = &self.target else {
            return Refreshed { changed: false, error: None, again: None };
        };
        match resolver.look_up(name).await {
            Ok((addresses, good_for)) => {
                self.failures = 0;
                let addresses: Vec<SocketAddr> =
                    addresses.into_iter().map(|address| SocketAddr::new(address, *port)).collect();
                let changed = addresses != self.addresses;
                self.addresses = addresses;
                Refreshed { changed, error: None, again: Some(good_for) }
            }
            Err(error) => {
                let Limits { floor, ceiling } = resolver.limits;
                let again = floor.saturating_mul(1 << self.failures.min(16)).min(ceiling).max(floor);
                self.failures += 1;
                Refreshed { changed: false, error: Some(error), again: Some(again) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use hickory_resolver::config::NameServerConfig;
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::{RData, Record};

    use super::*;

    /// What the server in the test says: records with their time to live, or that something is wrong.
    #[derive(Default)]
    struct Zone {
        addresses: Vec<(IpAddr, u32)>,
        code: Option<ResponseCode>,
        asked: Vec<String>,
    }

    /// A name server on a port of its own, and a resolver that knows no other.
    async fn server(limits: Limits) -> (Arc<Mutex<Zone>>, Resolver) {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let answers = zone.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let answer = answer(query, &mut answers.lock().unwrap());
                socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
            }
        });
        let mut name_server = NameServerConfig::udp(address.ip());
        name_server.connections[0].port = address.port();
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
        let mut options = ResolverOpts::default();
        options.attempts = 1;
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(&b"10.9.8.7 printer # a comment\n"[..]).unwrap();
        (zone, Resolver::with(config, options, hosts, limits).unwrap())
    }

    fn answer(query: Message, zone: &mut Zone) -> Message {
        let asked = query.queries[0].clone();
        zone.asked.push(asked.name().to_string());
        let mut answer = query.into_response();
        if let Some(code) = zone.code {
            answer.metadata.response_code = code;
            return answer;
        }
        for &(address, ttl) in &zone.addresses {
            let data = RData::from(address);
            if data.record_type() == asked.query_type() {
                answer.add_answer(Record::from_rdata(asked.name().clone(), ttl, data));
            }
        }
        assert!([RecordType::A, RecordType::AAAA].contains(&asked.query_type()));
        answer
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    const LIMITS: Limits = Limits { floor: Duration::from_secs(2), ceiling: Duration::from_secs(30) };

    #[test]
    fn targets_are_addresses_or_names_with_a_port() {
        for text in ["10.0.0.1:80", "[2001:db8::1]:443"] {
            assert_eq!(text.parse::<Target>().unwrap(), Target::Address(text.parse().unwrap()));
        }
        for text in ["web:80", "web.example.org.:8080", "_x.a-b.example:1", "1.example:1"] {
            let target = text.parse::<Target>().unwrap();
            assert!(matches!(target, Target::Name(..)) && target.to_string() == text, "{target:?}");
        }
        for text in [
            "web",
            "web:",
            "web:0",
            "web:70000",
            ":80",
            "2001:db8::1:80",
            "999.1.1.1:80",
            "10.0.0:80",
            "a b:80",
            "http://web:80",
            "a..b:80",
            ".:80",
            "ä:80",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        assert!(format!("{}:80", "a".repeat(64)).parse::<Target>().is_err());
    }

    #[test]
    fn answers_change_and_are_believed_within_limits() {
        block_on(async {
            let (zone, resolver) = server(LIMITS).await;
            let mut watched = Watched::new("web.example.org:80".parse().unwrap());
            assert_eq!(watched.addresses(), []);
            let set = |addresses: &[(&str, u32)]| {
                zone.lock().unwrap().addresses = addresses.iter().map(|&(address, ttl)| (ip(address), ttl)).collect();
            };
            let socket = |address: &str| SocketAddr::new(ip(address), 80);

            set(&[("10.0.0.2", 20), ("10.0.0.1", 10), ("2001:db8::1", 15)]);
            let first = watched.refresh(&resolver).await;
            assert!(first.changed && first.error.is_none(), "{first:?}");
            assert_eq!(first.again, Some(secs(10)), "the shortest counts");
            assert_eq!(watched.addresses(), [socket("10.0.0.1"), socket("10.0.0.2"), socket("2001:db8::1")]);

            // The same in another order is the same.
            set(&[("10.0.0.1", 0), ("10.0.0.2", 0), ("10.0.0.2", 0), ("2001:db8::1", 0)]);
            let second = watched.refresh(&resolver).await;
            assert!(!second.changed, "{second:?}");
            assert_eq!(second.again, Some(LIMITS.floor));

            set(&[("10.0.0.3", 86_400)]);
            let third = watched.refresh(&resolver).await;
            assert!(third.changed && third.again == Some(LIMITS.ceiling), "{third:?}");
            assert_eq!(watched.addresses(), [socket("10.0.0.3")]);
            assert!(zone.lock().unwrap().asked.iter().all(|name| name == "web.example.org."));
        });
    }

    #[test]
    fn the_last_good_answer_outlives_failures() {
        block_on(async {
            let (zone, resolver) = server(LIMITS).await;
            let mut watched = Watched::new("web.example.org:80".parse().unwrap());
            zone.lock().unwrap().code = Some(ResponseCode::NXDomain);
            let never = watched.refresh(&resolver).await;
            assert!(matches!(never.error, Some(Error::NoAddresses(_))), "{never:?}");
            assert_eq!((watched.addresses(), never.again), (&[][..], Some(secs(2))));

            *zone.lock().unwrap() = Zone { addresses: vec![(ip("10.0.0.1"), 5)], ..Zone::default() };
            assert!(watched.refresh(&resolver).await.changed);
            let good = watched.addresses().to_vec();
            for (code, again) in [
                (Some(ResponseCode::ServFail), 2),
                (Some(ResponseCode::Refused), 4),
                (Some(ResponseCode::NXDomain), 8),
                (None, 16),
                (Some(ResponseCode::ServFail), 30),
                (Some(ResponseCode::ServFail), 30),
            ] {
                *zone.lock().unwrap() = Zone { code, ..Zone::default() };
                let failed = watched.refresh(&resolver).await;
                assert!(failed.error.is_some() && !failed.changed, "{code:?}: {failed:?}");
                assert_eq!(failed.again, Some(secs(again)), "{code:?}");
                assert_eq!(watched.addresses(), good);
            }
            *zone.lock().unwrap() = Zone { addresses: vec![(ip("10.0.0.1"), 5)], ..Zone::default() };
            let well = watched.refresh(&resolver).await;
            assert!(!well.changed && well.error.is_none() && well.again == Some(secs(5)), "{well:?}");
        });
    }

    #[test]
    fn addresses_and_hosts_do_not_ask() {
        block_on(async {
            let (zone, resolver) = server(LIMITS).await;
            let mut watched = Watched::new("[::1]:80".parse().unwrap());
            assert_eq!(watched.addresses(), ["[::1]:80".parse().unwrap()]);
            let refreshed = watched.refresh(&resolver).await;
            assert!(!refreshed.changed && refreshed.again.is_none() && refreshed.error.is_none());

            let mut printer = Watched::new("Printer:631".parse().unwrap());
            let refreshed = printer.refresh(&resolver).await;
            assert!(refreshed.changed && refreshed.again == Some(LIMITS.ceiling), "{refreshed:?}");
            assert_eq!(printer.addresses(), ["10.9.8.7:631".parse().unwrap()]);
            assert_eq!(zone.lock().unwrap().asked, Vec::<String>::new());
        });
    }
}
