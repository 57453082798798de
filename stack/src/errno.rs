//! TCP's errors as errno(3), at one place.

use nix::errno::Errno;

/// The errno that Linux reports for an error of a connection (tcp(7)).
pub fn errno_of(error: tpa_tcp::Error) -> Errno {
    match error {
        tpa_tcp::Error::Refused => Errno::ECONNREFUSED,
        tpa_tcp::Error::BrokenPipe => Errno::EPIPE,
        tpa_tcp::Error::Reset => Errno::ECONNRESET,
        tpa_tcp::Error::TimedOut => Errno::ETIMEDOUT,
        tpa_tcp::Error::Aborted => Errno::ECONNABORTED,
        tpa_tcp::Error::NetworkUnreachable => Errno::ENETUNREACH,
        tpa_tcp::Error::HostUnreachable => Errno::EHOSTUNREACH,
        tpa_tcp::Error::HostDown => Errno::EHOSTDOWN,
        tpa_tcp::Error::HostIsolated => Errno::ENONET,
        tpa_tcp::Error::ProtocolUnreachable => Errno::ENOPROTOOPT,
        tpa_tcp::Error::SourceRouteFailed => Errno::EOPNOTSUPP,
        tpa_tcp::Error::ParameterProblem => Errno::EPROTO,
        tpa_tcp::Error::Prohibited => Errno::EACCES,
    }
}
