//! Answers as they come over sockets: in any pieces, from any server.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{End, read};

/// The text, split at those of these positions that lie in it.
fn cut<'a>(text: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect()
}

/// Words of HTTP in random order.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200\r\n",
        "HTTP/1.1 100 C\r\n\r\n",
        "content-length: 12\r\n",
        "transfer-encoding: chunked\r\n",
        "connection: close\r\n",
        "x: y\r\n",
        "\r\n",
        "\r",
        "\n",
        "5\r\nhello\r\n",
        "1;x=y\r\nz\r\n",
        "10\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "t: v\r\n",
        "hello",
        "\0",
    ];
    let start = "HTTP/1.1 200 OK\r\n";
    let heads = [
        "",
        start,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
    ];
    (select(heads.to_vec()), vec(select(words.to_vec()), 0..12))
        .prop_map(|(head, words)| [head.as_bytes(), words.concat().as_bytes()].concat())
}

/// A whole chunked answer of these pieces.
fn chunked(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut text = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for (i, piece) in pieces.iter().enumerate() {
        let extension = if i % 3 == 1 { ";name=value" } else { "" };
        text.extend_from_slice(format!("{:x}{extension}\r\n", piece.len()).as_bytes());
        text.extend_from_slice(piece);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"0\r\ntrailer: x\r\n\r\n");
    text
}

proptest! {
    #[test]
    fn it_does_not_matter_where_an_answer_is_cut(text in words(), cuts in vec(any::<usize>(), 0..20)) {
        prop_assert_eq!(read(cut(&text, &cuts)), read([text.as_slice()]));
        prop_assert_eq!(read(text.chunks(1)), read([text.as_slice()]));
    }

    #[test]
    fn chunks_come_together_again(
        pieces in vec(prop_oneof![vec(any::<u8>(), 1..40), vec(any::<u8>(), 1..9000)], 0..8),
        cuts in vec(any::<usize>(), 0..20),
    ) {
        let text = chunked(&pieces);
        let read = read(cut(&text, &cuts));
        prop_assert_eq!(read.end, End::Whole);
        prop_assert_eq!(read.body, pieces.concat());
    }

    #[test]
    fn nothing_makes_the_reader_panic(
        head in select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]),
        bytes in vec(any::<u8>(), 0..200),
        cuts in vec(any::<usize>(), 0..5),
    ) {
        let text = [head.as_bytes(), &bytes].concat();
        prop_assert_eq!(read(cut(&text, &cuts)), read([text.as_slice()]));
    }
}
