//! Connections come and go, and leave nothing behind. The example `cycles` does the same ten thousand times.

#![cfg(target_os = "linux")]

mod cycle;

use cycle::{Holdings, cycle};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_lives_leave_nothing_behind() {
    let tasks = Holdings::now().tasks;
    for n in 0..20 {
        cycle(n % 2 == 0).await;
    }
    let before = Holdings::settled(tasks).await;
    for n in 0..100 {
        cycle(n % 2 == 0).await;
    }
    let after = Holdings::settled(tasks).await;
    assert_eq!(after.tasks, tasks, "tasks that run on");
    assert_eq!(after.descriptors, before.descriptors, "open sockets");
    let grown = after.memory.saturating_sub(before.memory);
    assert!(grown < 4 << 20, "{grown} bytes more after 100 connections: {before:?} {after:?}");
}
