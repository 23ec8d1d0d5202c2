//! Memory that connections of a core take turns with.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::super::connection::Connection;
use super::pair;

/// Reads until there is something.
async fn piece(connection: &mut Connection) -> Bytes {
    assert!(poll_fn(|cx| connection.poll_fill(cx)).await.unwrap() > 0);
    connection.buffer.split().freeze()
}

/// Finds that there is nothing.
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
async fn what_was_lent_is_not_written_over_while_a_piece_of_it_lives() {
    let (mut first, mut its) = pair().await;
    let (mut second, mut others) = pair().await;
    let mut pieces = Vec::new();
    for i in 0..20_u8 {
        its.write_all(&[i; 100]).await.unwrap();
        pieces.push((i, piece(&mut first).await));
        wait(&mut first).await;
        others.write_all(&[100 + i; 100]).await.unwrap();
        pieces.push((100 + i, piece(&mut second).await));
        wait(&mut second).await;
        // Some are done with early.
        if i % 3 == 0 {
            pieces.remove(usize::from(i) / 2);
        }
    }
    for (byte, piece) in pieces {
        assert_eq!(piece, [byte; 100][..]);
    }
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
