//! Which idle connections are used again.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use config::Origin;

use super::super::connection::Connection;
use super::super::pool::{Pool, Shelf, sweep};
use super::pair;

const HOUR: Duration = Duration::from_secs(3600);

fn origin(port: u16) -> Origin {
    Origin { tls: false, host: "127.0.0.1".into(), port }
}

async fn take(shelf: &Shelf, at_most: Duration) -> Option<Connection> {
    poll_fn(|cx| Poll::Ready(shelf.take(cx, tokio::time::Instant::now(), at_most))).await
}

#[tokio::test]
async fn only_a_connection_that_is_fresh_enough_is_taken() {
    let shelf = Pool::default().shelf(&origin(1), HOUR);
    let (connection, _theirs) = pair().await;
    shelf.put(connection);
    assert!(take(&shelf, Duration::ZERO).await.is_none());
    assert!(take(&shelf, HOUR).await.is_some(), "it stays for those who ask for less");
    assert!(take(&shelf, HOUR).await.is_none(), "it is given once");
    let none = Pool::default().shelf(&origin(1), Duration::ZERO);
    none.put(pair().await.0);
    assert!(take(&none, HOUR).await.is_none(), "the pool's own limit holds for all");
}

#[tokio::test]
async fn a_connection_that_was_closed_or_spoken_on_is_not_taken() {
    for speak in [false, true] {
        let shelf = Pool::default().shelf(&origin(1), HOUR);
        let (connection, mut theirs) = pair().await;
        shelf.put(connection);
        let open = match speak {
            true => theirs.write_all(b"?").await.map(|()| Some(theirs)).unwrap(),
            false => {
                drop(theirs);
                None
            }
        };
        let start = Instant::now();
        while let Some(connection) = take(&shelf, HOUR).await {
            assert!(start.elapsed() < Duration::from_secs(20), "it is still taken, {speak}");
            shelf.put(connection);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(open);
    }
}

#[tokio::test]
async fn the_last_word_on_how_long_connections_are_kept_holds() {
    let pool = Pool::default();
    let shelf = pool.shelf(&origin(1), HOUR);
    shelf.put(pair().await.0);
    pool.shelf(&origin(2), Duration::ZERO);
    assert!(take(&shelf, HOUR).await.is_some(), "that was another origin");
    shelf.put(pair().await.0);
    pool.shelf(&origin(1), Duration::ZERO);
    assert!(take(&shelf, HOUR).await.is_none());
}

#[tokio::test]
async fn connections_are_closed_in_time_also_where_no_request_comes() {
    let pool = Rc::new(Pool::default());
    let sweeping = sweep(Rc::downgrade(&pool));
    let (connection, mut theirs) = pair().await;
    let closed = async {
        pool.shelf(&origin(1), Duration::from_millis(1)).put(connection);
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0, "the end of the connection");
    };
    tokio::select! {
        () = closed => {}
        () = sweeping => panic!("the pool is still there"),
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it is still open"),
    }
}
