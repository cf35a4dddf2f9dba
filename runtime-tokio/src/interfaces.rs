//! The addresses of this host.

use if_addrs::{IfAddr, get_if_addrs};
use pool_router::hba::InterfaceAddress;

/// The addresses of all interfaces, each with the length of its network's prefix.
///
/// # Errors
/// Why the system does not tell them.
pub(crate) fn read() -> Result<Vec<InterfaceAddress>, String> {
    let interfaces = get_if_addrs().map_err(|error| error.to_string())?;
    let address = |addr| match addr {
        IfAddr::V4(v4) => InterfaceAddress { addr: v4.ip.into(), prefix: v4.prefixlen },
        IfAddr::V6(v6) => InterfaceAddress { addr: v6.ip.into(), prefix: v6.prefixlen },
    };
    Ok(interfaces.into_iter().map(|interface| address(interface.addr)).collect())
}
