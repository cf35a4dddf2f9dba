//! Names of things: each kind its own type, so that they cannot be mixed up.

/// A backend, by its position in [`crate::config::Settings::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The position as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A client connection. The generation tells two clients apart that used the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    /// The place in the table of clients.
    pub index: u32,
    /// How often that place was taken before (wrapping).
    pub generation: u32,
}

/// A server connection, from the order to connect until it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    /// The node that it leads to.
    pub node: NodeId,
    /// The place in that node's pool.
    pub index: u32,
    /// How often that place was taken before (wrapping).
    pub generation: u32,
}

/// A user and database: what `weir_pool_size` counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// A user, a database and the startup parameters of a server connection: connections of one
/// identity are interchangeable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityId(pub u32);

/// Where a server connection belongs in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    /// The user and database.
    pub group: GroupId,
    /// The identity within it.
    pub identity: IdentityId,
}
