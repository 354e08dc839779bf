//! The sockets that clients connect to: opened for each shard, and held against a second proxy.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use super::config::ProxyError;
use evenkeel_config::proxy::ProxyConfig;

/// Sockets for each shard, for each listener; `None` where the shard has one.
pub(super) type Sockets = Vec<Vec<Option<std::net::TcpListener>>>;

/// The listeners of a proxy.
#[derive(Default)]
pub(super) struct Listeners {
    /// Where each listens, in the order of the config.
    addresses: RefCell<Vec<SocketAddr>>,
    /// By the address in the config.
    held: RefCell<Vec<(SocketAddr, Hold)>>,
}

impl Listeners {
    /// Where each listens, in the order of the config.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.borrow().clone()
    }

    /// Notes where each listens when a config is in force.
    pub(super) fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        *self.addresses.borrow_mut() = addresses;
    }

    /// Releases the addresses for another proxy.
    pub(super) fn release(&self) {
        self.held.borrow_mut().clear();
    }

    /// Opens sockets for each shard, for each listener that is not among `known`. Gives them, and where all listeners are.
    pub(super) fn open(
        &self,
        config: &ProxyConfig,
        known: &[SocketAddr],
        shards: u32,
    ) -> Result<(Sockets, Vec<SocketAddr>), ProxyError> {
        let mut all: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
        let mut addresses = Vec::new();
        let mut holds = Vec::new();
        let mut before: Vec<_> = known.iter().copied().zip(self.addresses.borrow().iter().copied()).collect();
        for listener in &config.listeners {
            if let Some(at) = before.iter().position(|(address, _)| *address == listener.address) {
                all.iter_mut().for_each(|sockets| sockets.push(None));
                addresses.push(before.remove(at).1);
                continue;
            }
            let mut address = listener.address;
            // Port 0 is a free one, chosen by the kernel. An address of our own, which goes, may be opened again.
            if address.port() != 0 && !known.iter().any(|own| own.port() == address.port()) {
                let hold = Hold::take(address).map_err(|error| ProxyError::Listen { address, error })?;
                holds.push((address, hold));
            }
            for sockets in &mut all {
                let socket = open(address).map_err(|error| ProxyError::Listen { address, error })?;
                // The first to open port 0 learns which it is.
                address = socket.local_addr().map_err(|error| ProxyError::Listen { address, error })?;
                sockets.push(Some(socket));
            }
            addresses.push(address);
        }
        let mut held = self.held.borrow_mut();
        held.retain(|(address, _)| config.listeners.iter().any(|listener| listener.address == *address));
        held.append(&mut holds);
        drop(held);
        Ok((all, addresses))
    }
}

/// Holds an address against a second proxy: with `SO_REUSEPORT`, which the shards need, the kernel would distribute connections to
/// both. Whether the address is free is tried without that option first; what two proxies that start at once could both find
/// is settled by a name in the kernel, which goes with the process.
struct Hold {
    #[cfg(target_os = "linux")]
    _name: std::os::unix::net::UnixListener,
}

impl Hold {
    fn take(address: SocketAddr) -> io::Result<Hold> {
        use socket2::{Domain, Protocol, Socket, Type};
        let explain = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process listens there already\n  help: stop it, or choose another `address` in [[listeners]]",
            ),
            _ => error,
        };
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into()).map_err(explain)?;
        socket.listen(1).map_err(explain)?;
        drop(socket);
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt;
            use std::os::unix::net::{SocketAddr, UnixListener};
            let name = SocketAddr::from_abstract_name(format!("evenkeel/{address}"))?;
            Ok(Hold { _name: UnixListener::bind_addr(&name).map_err(explain)? })
        }
        #[cfg(not(target_os = "linux"))]
        Ok(Hold {})
    }
}

/// A listening socket that others may open, too: the kernel distributes connections among them.
fn open(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
