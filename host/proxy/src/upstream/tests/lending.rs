//! Memory that the connections of a core lend each other.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::super::connection::Connection;
use super::pair;

/// Reads one piece.
async fn piece(connection: &mut Connection) -> Bytes {
    assert!(poll_fn(|cx| connection.poll_fill(cx)).await.unwrap() > 0);
    connection.buffer.split().freeze()
}

/// Checks that there is nothing to read.
async fn wait(connection: &mut Connection) {
    poll_fn(|cx| {
        assert!(connection.poll_fill(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_waits_has_no_memory() {
    let (mut connection, mut theirs) = pair().await;
    for _ in 0..3 {
        theirs.write_all(b"event").await.unwrap();
        assert_eq!(piece(&mut connection).await, "event");
        wait(&mut connection).await;
        assert_eq!(connection.buffer.capacity(), 0);
    }
}

#[tokio::test]
async fn pieces_that_nobody_takes_pin_no_more_than_they_must() {
    let (mut connection, mut theirs) = pair().await;
    let mut pieces = Vec::new();
    for _ in 0..16 {
        theirs.write_all(&[7; 100]).await.unwrap();
        pieces.push(piece(&mut connection).await);
        wait(&mut connection).await;
    }
    let follows = |two: &&[Bytes]| two[0].as_ptr().wrapping_add(100) == two[1].as_ptr();
    assert_eq!(pieces.windows(2).filter(follows).count(), 15, "all are parts of one block");
}

#[tokio::test]
async fn what_was_read_and_not_taken_stays() {
    let (mut connection, mut theirs) = pair().await;
    theirs.write_all(b"half").await.unwrap();
    assert_eq!(poll_fn(|cx| connection.poll_fill(cx)).await.unwrap(), 4);
    wait(&mut connection).await;
    assert_eq!(connection.buffer, "half");
    theirs.write_all(b" and half").await.unwrap();
    assert_eq!(piece(&mut connection).await, "half and half");
}
