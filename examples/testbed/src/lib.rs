//! Throw-away PostgreSQL clusters, proxy processes and the end-to-end suite.
