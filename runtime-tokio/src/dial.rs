//! Connecting to servers.

use std::io;
use std::path::Path;

use pool_router::config::BackendHost;
use tokio::net::{TcpStream, UnixStream};

use crate::socket::Socket;

/// Connects; tries every address of a name in turn.
pub(crate) async fn dial(host: &BackendHost, port: u16) -> io::Result<Socket> {
    match host {
        BackendHost::Tcp(name) => {
            let stream = TcpStream::connect((name.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            socket2::SockRef::from(&stream).set_keepalive(true)?;
            Ok(Socket::Tcp(stream))
        }
        BackendHost::UnixDir(directory) => {
            let path = Path::new(directory).join(format!(".s.PGSQL.{port}"));
            Ok(Socket::Unix(UnixStream::connect(path).await?))
        }
    }
}
