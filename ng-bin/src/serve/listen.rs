//! Where the service listens: addresses are looked at and taken before anything is started, and
//! each gets a loop that accepts.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use super::connection;
use super::counters::up;
use super::error::ServeError;
use super::service::Service;

/// Who can come by an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Processes of this machine, a browser that shows another site's page among them: loopback.
    Local,
    /// Processes of this machine that may open its file: a Unix socket.
    Socket,
    /// Others too.
    Beyond,
}

/// Which paths there are behind a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Gateway,
    Admin,
}

/// What connections come by.
enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// An address that is listened on.
pub(super) struct Door {
    listener: Listener,
    pub(super) room: Room,
    pub(super) reach: Reach,
    /// Whether TLS is spoken, with the certificate of the terms in force.
    pub(super) tls: bool,
    /// As a client writes it.
    pub(super) shown: String,
    /// The socket's file, to be removed.
    _file: Option<SocketFile>,
}

/// The file of a Unix socket: gone when this is.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already.
        drop(std::fs::remove_file(&self.0));
    }
}

/// Reads an address; `None` where nothing is to be listened on.
pub(super) fn look(key: &'static str, given: &str) -> Result<Option<SocketAddr>, ServeError> {
    if given.is_empty() {
        return Ok(None);
    }
    let fault = |why: String| ServeError::Address { key, given: given.to_owned(), why };
    let mut found = given.to_socket_addrs().map_err(|error| fault(error.to_string()))?;
    found.next().map(Some).ok_or_else(|| fault("it has no address".to_owned()))
}

/// Whether others than this machine's own processes can come by an address.
pub(super) const fn is_beyond(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

impl Door {
    pub(super) async fn tcp(
        key: &'static str,
        address: SocketAddr,
        room: Room,
        tls: bool,
    ) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { key, at: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let reach = if is_beyond(local) { Reach::Beyond } else { Reach::Local };
        let scheme = if tls { "https" } else { "http" };
        let shown = format!("{scheme}://{local}");
        Ok(Self { listener: Listener::Tcp(listener), room, reach, tls, shown, _file: None })
    }

    /// A socket that a process left behind is taken over; one that answers is not. Its file is for
    /// this user and its group alone.
    #[cfg(unix)]
    pub(super) fn unix(path: &Path) -> Result<Self, ServeError> {
        use std::os::unix::fs::PermissionsExt;
        let at = path.display().to_string();
        let failed = |source| ServeError::Listen { key: "serve.unix_socket", at: at.clone(), source };
        let taken = std::io::ErrorKind::AddrInUse;
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(failed(std::io::Error::new(taken, "another process answers there"))),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                use std::os::unix::fs::FileTypeExt;
                if !std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
                    return Err(failed(std::io::Error::new(taken, "there is a file that is no socket")));
                }
                std::fs::remove_file(path).map_err(failed)?;
            }
            // It is not there, or bind will say what is wrong.
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
        Ok(Self {
            listener: Listener::Unix(listener),
            room: Room::Gateway,
            reach: Reach::Socket,
            tls: false,
            shown: format!("unix:{at}"),
            _file: Some(SocketFile(path.to_path_buf())),
        })
    }

    /// As on Unix.
    #[cfg(not(unix))]
    pub(super) fn unix(path: &Path) -> Result<Self, ServeError> {
        let source = std::io::ErrorKind::Unsupported.into();
        Err(ServeError::Listen { key: "serve.unix_socket", at: path.display().to_string(), source })
    }

    /// Accepts until told to stop. Each connection holds a clone of `alive` until it ends.
    pub(super) async fn serve(
        self,
        service: Arc<Service>,
        mut stop: watch::Receiver<bool>,
        alive: mpsc::Sender<()>,
    ) {
        // Each connection holds a clone, so that their number is known.
        let place = Arc::new(());
        let door = Arc::new(self);
        loop {
            let stream = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                accepted = door.listener.accept() => accepted,
            };
            let stream = match stream {
                Ok(stream) => stream,
                Err(_) => {
                    // Out of open files, most often: others must end first.
                    up(&service.counters.rejected, 1);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let most = usize::try_from(service.terms().config.max_connections).unwrap_or(usize::MAX);
            if Arc::strong_count(&place) > most {
                up(&service.counters.rejected, 1);
                stream.turn_away();
                continue;
            }
            let place = Arc::clone(&place);
            let (service, door) = (Arc::clone(&service), Arc::clone(&door));
            let (stop, alive) = (stop.clone(), alive.clone());
            tokio::spawn(async move {
                connection::serve(&service, &door, stream, stop).await;
                drop((place, alive));
            });
        }
    }
}

/// A connection as it was accepted.
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small, and each is waited for.
                drop(stream.set_nodelay(true));
                Ok(Stream::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

impl Stream {
    /// Says that there is no room, if that can be said at once.
    fn turn_away(self) {
        const NO: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
            Content-Length: 0\r\n\r\n";
        let _ = match &self {
            Self::Tcp(stream) => stream.try_write(NO),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_write(NO),
        };
    }
}
