//! Why a connection to a server was not made, or brought no response.

use std::io;

use super::http1_client;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address (yet).
    #[error("the server's name has no address")]
    NoAddress,
    /// Refused, unreachable, or TLS failed.
    #[error("cannot connect: {0}")]
    Failed(#[from] io::Error),
    /// The other side does not speak HTTP.
    #[error("cannot connect: {0}")]
    Handshake(#[from] hyper::Error),
    /// No connection within [`super::upstream::UpstreamSettings::connect`].
    #[error("cannot connect in time")]
    TimedOut,
    /// All streams of all HTTP/2 connections are taken, and there may be no more connections.
    #[error("every HTTP/2 stream of the server is taken")]
    NoStream,
}

impl ConnectError {
    /// Whether this machine lacks what a connection needs: descriptors, ports, memory. Says nothing about the server.
    pub fn is_own(&self) -> bool {
        matches!(self, ConnectError::Failed(error) if is_shortage(error))
    }

    /// For another request that waited for the same connection. The error's number, if any, and its text stay.
    pub fn copy(&self) -> ConnectError {
        match self {
            ConnectError::NoAddress => ConnectError::NoAddress,
            ConnectError::TimedOut => ConnectError::TimedOut,
            ConnectError::NoStream => ConnectError::NoStream,
            ConnectError::Failed(error) => ConnectError::Failed(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            }),
            ConnectError::Handshake(error) => ConnectError::Failed(io::Error::other(error.to_string())),
        }
    }
}

/// Whether this machine is out of descriptors, ports or memory.
#[cfg(not(unix))]
pub fn is_shortage(_: &io::Error) -> bool {
    false
}

/// Whether this machine is out of descriptors, ports or memory.
#[cfg(unix)]
pub fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let own = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| own.iter().any(|errno| errno.raw_os_error() == code))
}

/// Why no response's head came.
#[derive(Debug)]
pub struct SendError {
    /// The error.
    pub error: Cause,
    /// Nothing of the request can have been acted on: it did not go out, or the server said so.
    pub unsent: bool,
}

/// The error of the client side that was used.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// hyper's.
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    /// The proxy's own.
    #[error(transparent)]
    Own(#[from] http1_client::Error),
}

impl Cause {
    /// Whether the server has sent what is not valid HTTP.
    pub fn is_parse(&self) -> bool {
        match self {
            Cause::Hyper(error) => error.is_parse(),
            Cause::Own(error) => error.is_parse(),
        }
    }

    /// Whether the head had more bytes or fields than hyper reads, which may be fewer than the config allows.
    pub fn is_too_large_for_hyper(&self) -> bool {
        matches!(self, Cause::Hyper(error) if error.is_parse_too_large())
    }
}
