//! The page that sterna serve shows, embedded in the binary.
