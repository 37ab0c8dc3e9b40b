//! Ports on loopback: the ones asked for, or free ones.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody else has it.
    #[error("port {port} on 127.0.0.1 is in use; choose another with {flag} (0 picks a free one)")]
    InUse {
        /// The port.
        port: u16,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// Something else is wrong, such as a port below 1024.
    #[error("cannot listen on 127.0.0.1:{port}; choose another port with {flag} (0 picks a free one)")]
    Refused {
        /// The port.
        port: u16,
        /// The flag that sets it.
        flag: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// The two ports of one attempt to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) http: u16,
    pub(super) tcp: u16,
}

impl Ports {
    /// Finds out which ports to use: 0 becomes a free one.
    ///
    /// They are released again before the child binds them, so that another process can be faster:
    /// see [`Ports::free`] and the server's retries.
    pub(super) fn choose(http: u16, tcp: u16) -> Result<Self, PortError> {
        // Both are held at once, or the system could give the same one twice.
        let http = bind(http, "--clickhouse-http-port")?;
        let tcp = bind(tcp, "--clickhouse-tcp-port")?;
        Ok(Self { http: http.1, tcp: tcp.1 })
    }

    /// Whether nobody listens on either.
    pub(super) fn free(self) -> bool {
        bind(self.http, "").is_ok() && bind(self.tcp, "").is_ok()
    }

    pub(super) fn http_addr(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.http).into()
    }

    pub(super) fn tcp_addr(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.tcp).into()
    }
}

fn bind(port: u16, flag: &'static str) -> Result<(TcpListener, u16), PortError> {
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => PortError::InUse { port, flag },
        _ => PortError::Refused { port, flag, source },
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?.port();
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_picks_two_different_free_ports() {
        let ports = Ports::choose(0, 0).unwrap();
        assert_ne!(ports.http, ports.tcp);
        assert_ne!(ports.http, 0);
    }

    #[test]
    fn a_taken_port_is_named_with_its_flag() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Ports::choose(0, port).unwrap_err();
        assert!(
            matches!(error, PortError::InUse { port: named, flag: "--clickhouse-tcp-port" } if named == port),
            "{error}"
        );
        let error = Ports::choose(port, 0).unwrap_err();
        assert!(matches!(error, PortError::InUse { flag: "--clickhouse-http-port", .. }), "{error}");
        assert!(!Ports { http: port, tcp: port }.free());
    }
}
