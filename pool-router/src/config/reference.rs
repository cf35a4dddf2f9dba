//! The reference of all settings, from the same table that the loader uses.
