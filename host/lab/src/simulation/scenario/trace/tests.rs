#![allow(clippy::unwrap_used)]
use std::fmt::Write as _;

use super::*;

const HEADINGS: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";
const WHOLE: Part = Part { from: 0.0, duration: None, limit: None, speed: 1.0 };

fn read_text(text: &str, part: Part) -> Result<Vec<Recorded>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    std::fs::write(&path, text).unwrap();
    read(&path, part)
}

/// Milliseconds, prompt and answer of each request.
fn told(read: &[Recorded]) -> Vec<(u128, u32, u32)> {
    read.iter().map(|r| (r.at.as_millis(), r.prompt, r.output.unwrap())).collect()
}

#[test]
fn a_part_of_azures_trace_is_played_faster() {
    let text = format!(
        "{HEADINGS}\r\n2023-11-16 18:17:03.5,10,1\r\n2023-11-16 18:17:05.5,20,2\n\
         2023-11-16 18:17:09.5000+00:00,40,4\n2023-11-16T18:17:04.5Z,30,0\n"
    );
    let part = Part { from: 1.0, limit: Some(2), speed: 2.0, ..WHOLE };
    assert_eq!(told(&read_text(&text, part).unwrap()), [(0, 30, 1), (500, 20, 2)]);
    let part = Part { from: 0.5, duration: Some(2.75), speed: 2.0, ..WHOLE };
    assert_eq!(told(&read_text(&text, part).unwrap()), [(250, 30, 1), (750, 20, 2)]);
}

#[test]
fn columns_are_found_by_their_headings() {
    let text = "id,\"generatedtokens\",Model,TIMESTAMP,ContextTokens\n\
                1,7,\"a\",12.5,100\n2,8,b,\"12.75\",0\n";
    assert_eq!(told(&read_text(text, WHOLE).unwrap()), [(0, 100, 7), (250, 1, 8)]);
}

#[test]
fn the_earliest_requests_are_kept_in_the_order_of_their_lines() {
    let mut text = HEADINGS.to_owned() + "\n";
    for number in 0..1000 {
        writeln!(text, "{},{number},1", (number * 7) % 10).unwrap();
    }
    let read = read_text(&text, Part { limit: Some(150), ..WHOLE }).unwrap();
    // 100 lines have each time. 0, 10, 20, ... have time 0. 3, 13, 23, ... have time 1.
    let want = (0..100).map(|i| (0, (i * 10).max(1), 1));
    let want: Vec<_> = want.chain((0..50).map(|i| (1000, 3 + i * 10, 1))).collect();
    assert_eq!(told(&read), want);
}

#[test]
fn blocks_are_known_with_all_before_them() {
    let line = |ids: &str| {
        format!(
            r#"{{"timestamp":1.5,"input_length":1025,"output_length":0,"x":[],"hash_ids":{ids}}}"#
        )
    };
    let text = [line("[1,2,3]"), line("[1,2,4]"), line("[5,2,3]"), line("[]")].join("\n");
    let read = read_text(&text, WHOLE).unwrap();
    let [a, b, c] = [0, 1, 2].map(|index: usize| read[index].blocks.to_vec());
    assert!(a[..2] == b[..2] && a[2] != b[2] && a[1] != c[1] && a[2] != c[2]);
    assert!(read[3].blocks.is_empty());
}

#[test]
fn a_bad_line_is_named_with_its_remedy() {
    let second = |line: &str| format!("{HEADINGS}\n{line}");
    let good = r#"{"timestamp":1,"input_length":512,"output_length":1}"#;
    for (text, want) in [
        ("", "trace: it has no requests"),
        (HEADINGS, "trace: it has no requests"),
        ("a,b,c\n", "trace:1: no column `TIMESTAMP` in the first line; begin a CSV with `TIMEST"),
        ("TIMESTAMP,timestamp\n", "trace:1: the column `TIMESTAMP` is there twice"),
        (&second("1,2"), "trace:2: 2 fields, but the first line has 3"),
        (&second("\n\nnow,2,3"), "trace:4: `now` is not a time in UTC; write it like"),
        (&second("2023-11-16 18:17:03+01:00,2,3"), "trace:2: `2023-11-16 18:17:03+01:00` is not"),
        (&second("NaN,2,3"), "trace:2: `NaN` is not a time"),
        (&second("1e300,2,3"), "trace:2: `1e300` is not a time"),
        (&second("1,-2,3"), "trace:2: `-2` is not a number of tokens; write a whole"),
        (&second("1,2,5000000000"), "trace:2: `5000000000` is not a number"),
        ("{}\n", "trace:1: not an object with `timestamp`"),
        (&format!("{good}\n{HEADINGS}"), "trace:2: not an object with `timestamp`"),
        (&good.replace(":1,", ":1e40,"), "trace:1: `timestamp` is 1"),
        (
            &good.replace('}', r#","hash_ids":[1,2]}"#),
            "trace:1: 2 `hash_ids`, but `input_length` is 512; write one for each 512 tokens",
        ),
    ] {
        let error = read_text(text, WHOLE).unwrap_err();
        assert!(error.contains(want), "{error}");
    }
    let error = read_text(good, Part { from: 0.1, ..WHOLE }).unwrap_err();
    let cause = "trace: it has no request between `from` and the end of `duration`";
    assert!(error.ends_with(cause), "{error}");
}

#[test]
fn what_is_played_is_bounded() {
    let request = |blocks| Traced { at: 0, prompt: 1, output: 1, blocks: vec![0; blocks] };
    let mut kept = Kept::new(None);
    let mut added = (0..=MAX_REQUESTS).map(|_| kept.add(request(0)));
    assert!(added.by_ref().take(MAX_REQUESTS).all(|added| added.is_ok()));
    assert!(added.next().unwrap().unwrap_err().contains("more than 1000000 requests"));
    let mut kept = Kept::new(Some(1));
    assert!(kept.add(request(MAX_BLOCKS)).is_ok() && kept.add(request(1)).is_ok());
    kept.limit = None;
    assert!(kept.add(request(1)).unwrap_err().contains("more than 16777216 `hash_ids`"));
}
