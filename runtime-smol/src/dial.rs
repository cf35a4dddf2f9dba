//! Connecting to servers.

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use pool_router::config::BackendHost;
use smol::Async;

use crate::socket::Socket;

/// Connects; tries every address of a name in turn.
pub(crate) async fn dial(host: &BackendHost, port: u16) -> io::Result<Socket> {
    match host {
        BackendHost::Tcp(name) => {
            let stream = connect(name, port).await?;
            stream.get_ref().set_nodelay(true)?;
            socket2::SockRef::from(stream.get_ref()).set_keepalive(true)?;
            Ok(Socket::tcp(stream))
        }
        BackendHost::UnixDir(directory) => {
            let path = Path::new(directory).join(format!(".s.PGSQL.{port}"));
            Ok(Socket::unix(Async::<UnixStream>::connect(path).await?))
        }
    }
}

async fn connect(name: &str, port: u16) -> io::Result<Async<TcpStream>> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in smol::net::resolve((name, port)).await? {
        match Async::<TcpStream>::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
