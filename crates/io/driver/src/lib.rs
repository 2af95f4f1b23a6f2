//! The tokio driver: the one loop that gives sockets and a clock to Sterna's machines, and the async API that users hold.
