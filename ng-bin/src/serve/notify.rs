//! What systemd is told (`sd_notify(3)`): one datagram to the socket in `NOTIFY_SOCKET`. Without
//! that variable nothing is done.

/// Sends `state`, such as `READY=1`. Nobody has to listen.
pub(super) fn tell(state: &str) {
    #[cfg(unix)]
    if let Some(to) = std::env::var_os("NOTIFY_SOCKET") {
        drop(send(&to, state));
    }
    #[cfg(not(unix))]
    let _ = state;
}

#[cfg(unix)]
fn send(to: &std::ffi::OsStr, state: &str) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::UnixDatagram;
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    if let Some(name) = to.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        return socket.send_to_addr(state.as_bytes(), &address).map(drop);
    }
    socket
        .send_to(state.as_bytes(), std::path::Path::new(std::ffi::OsStr::from_bytes(to.as_bytes())))
        .map(drop)
}
