//! Listening sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pool_router::config::{ListenAddress, Settings};
use pool_router::relay::Transport;
use socket2::{Domain, Protocol, SockAddr, Type};
use tokio::net::{TcpListener, TcpSocket, UnixListener, lookup_host};

use crate::shared::{Doorbell, Shared};
use crate::socket::Socket;
use crate::tasks;

/// The listeners of the process. Unix sockets are removed when it is dropped.
#[derive(Default)]
pub(crate) struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
    paths: Vec<(PathBuf, Option<FileId>)>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for (path, id) in &self.paths {
            // Another process may have put its own in its place.
            if file_id(path) == *id {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Device and inode of a file.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Binds everything that the settings name.
pub(crate) async fn bind(settings: &Settings) -> io::Result<Listeners> {
    let mut listeners = Listeners::default();
    let backlog = settings.listen_backlog();
    for address in &settings.listen_addresses {
        let anywhere = *address == ListenAddress::Any;
        for address in resolve(address, settings.port).await? {
            match bind_tcp(address, backlog, settings.reuse_port) {
                Ok(listener) => listeners.tcp.push(listener),
                // Many machines have no IPv6, and `*` asks for what there is.
                Err(error)
                    if anywhere
                        && address.is_ipv6()
                        && !matches!(
                            error.kind(),
                            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                        ) =>
                {
                    tracing::info!("{}", named(error, &address.to_string()));
                }
                Err(error) => return Err(named(error, &address.to_string())),
            }
        }
    }
    for directory in &settings.unix_socket_directories {
        let path = Path::new(directory).join(format!(".s.PGSQL.{}", settings.port));
        let name = path.display().to_string();
        // A socket that nobody listens on is left over from a process that was killed; one that is to be
        // shared is taken over, and the other process keeps those who are connected to it.
        if settings.reuse_port || std::os::unix::net::UnixStream::connect(&path).is_err() {
            let _ = std::fs::remove_file(&path);
        }
        let listener = match bind_unix(&path, backlog) {
            Ok(listener) => listener,
            Err(error)
                if error.kind() != io::ErrorKind::AddrInUse
                    && settings.can_do_without_socket(directory) =>
            {
                let error = named(error, &name);
                tracing::warn!("{error}; clients are served over TCP only");
                continue;
            }
            Err(error) => return Err(named(error, &name)),
        };
        let mode = std::fs::Permissions::from_mode(settings.unix_socket_permissions);
        std::fs::set_permissions(&path, mode).map_err(|error| named(error, &name))?;
        let id = file_id(&path);
        listeners.paths.push((path, id));
        listeners.unix.push(listener);
    }
    if listeners.tcp.is_empty() && listeners.unix.is_empty() {
        return Err(io::Error::other(
            "nothing to listen on: listen_addresses and unix_socket_directories are empty",
        ));
    }
    Ok(listeners)
}

async fn resolve(address: &ListenAddress, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(match address {
        ListenAddress::Any => vec![
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
            SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
        ],
        ListenAddress::Name(name) => {
            let found = lookup_host((name.as_str(), port)).await;
            found.map_err(|error| named(error, name))?.collect()
        }
    })
}

fn bind_tcp(address: SocketAddr, backlog: u32, share: bool) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    TcpSocket::from_std_stream(socket.into()).listen(backlog)
}

fn bind_unix(path: &Path, backlog: u32) -> io::Result<UnixListener> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    UnixListener::from_std(OwnedFd::from(socket).into())
}

fn named(error: io::Error, name: &str) -> io::Error {
    io::Error::new(error.kind(), format!("could not listen on {name}: {error}"))
}

/// Accepts clients on all listeners until the future is dropped.
pub(crate) fn accept_all(
    shared: &Arc<Shared>,
    listeners: &mut Listeners,
) -> tokio::task::JoinSet<()> {
    let mut set = tokio::task::JoinSet::new();
    for listener in listeners.tcp.drain(..) {
        let shared = shared.clone();
        set.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        // Either may fail on a connection that is gone already.
                        let _ = stream.set_nodelay(true);
                        let _ = socket2::SockRef::from(&stream).set_keepalive(true);
                        let local = stream.local_addr().map_or(peer.ip(), |a| a.ip());
                        let peer = peer.ip();
                        start(&shared, Socket::Tcp(stream), Transport::Tcp { peer, local });
                    }
                    Err(error) => pause_after(&error).await,
                }
            }
        });
    }
    for listener in listeners.unix.drain(..) {
        let shared = shared.clone();
        set.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => start(&shared, Socket::Unix(stream), Transport::Local),
                    Err(error) => pause_after(&error).await,
                }
            }
        });
    }
    set
}

/// Out of file descriptors, most likely: give those that are open a chance to close.
async fn pause_after(error: &io::Error) {
    tracing::warn!("could not accept a connection: {error}");
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

fn start(shared: &Arc<Shared>, socket: Socket, transport: Transport) {
    let doorbell = Doorbell::default();
    let accepted =
        shared.with_hub(|hub, _| Some((hub.accept(doorbell.clone())?, hub.context().clone())));
    if let Some(id) = accepted {
        tokio::spawn(tasks::serve(shared.clone(), socket, transport, id, doorbell));
    }
}
