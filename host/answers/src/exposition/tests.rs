use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What selectors of `running`, `running{engine="1"}`, `running{priority=""}` and `waiting` find.
fn read(text: impl AsRef<[u8]>, cut: bool, pieces: usize) -> Vec<Found> {
    let (one, empty) = (labels(&[("engine", "1")]), labels(&[("priority", "")]));
    let selector = |name, labels| Selector { name, labels };
    let mut exposition = Exposition::new([
        selector("running", &[]),
        selector("running", &one),
        selector("running", &empty),
        selector("waiting", &[]),
    ]);
    text.as_ref().chunks(pieces).for_each(|piece| exposition.feed(piece));
    exposition.end(cut)
}

/// The sums; None: no such series or an unreadable one.
fn sums(text: &str) -> [Option<f64>; 4] {
    let found = read(text, false, usize::MAX);
    std::array::from_fn(|at| Some(found[at].sum()).filter(|sum| !sum.is_nan()))
}

#[test]
fn series_are_selected_by_their_labels() {
    let text = "# HELP running Running.\n# TYPE running gauge\n\
                running{engine=\"0\",model_name=\"a b, {c}\"} 2.0\n\
                running { engine = \"1\" , } 3 1700000000000\n\
                running{engine=\"1\",priority=\"7\"} 1e1 # {trace_id=\"x\"} 0.5\n\
                \trunning_total 90\n\
                not_running 70\n\
                waiting 4\r\n";
    assert_eq!(sums(text), [Some(15.0), Some(13.0), Some(5.0), Some(4.0)]);
    let found = read(text, false, usize::MAX);
    assert!((found[0].mean() - 5.0).abs() < 1e-12);
}

#[test]
fn labels_are_unescaped() {
    let wanted = labels(&[("path", "a\\b\"c\nd")]);
    let mut exposition = Exposition::new([Selector { name: "m", labels: &wanted }]);
    exposition.feed(b"m{path=\"a\\\\b\\\"c\\nd\"} 1\nm{path=\"other\"} 2\n");
    assert_eq!(exposition.end(false)[0].sum(), 1.0);
}

#[test]
fn a_wrong_number_is_unknown() {
    for value in [
        "NaN", "nan", "+Inf", "-Inf", "-1", "-1e300", "1e999", "", "abc", "0x10", "1_000", "3 x",
        "3 4 5", "--3", "3,5", "\u{661}", "{} {} 3",
    ] {
        let text = format!("running {value}\nwaiting 1\n");
        assert_eq!(sums(&text), [None, None, None, Some(1.0)], "{value}");
        let text = format!("running 1\nrunning{{engine=\"1\"}} {value}\n");
        assert_eq!(sums(&text)[0], None, "{value}: a part of a sum is missing");
    }
    assert_eq!(sums("running 1e300\nwaiting -0\n"), [Some(1e300), None, Some(1e300), Some(0.0)]);
}

#[test]
fn a_malformed_line_makes_its_name_unknown() {
    for labels in [
        "{",
        "{engine",
        "{engine=",
        "{engine=\"1",
        "{engine=\"1\"",
        "{engine=1}",
        "{=\"1\"}",
        "{engine=\"1\" x=\"2\"}",
        "{engine=\"1\\",
        "{\"running\"}",
    ] {
        assert_eq!(sums(&format!("running{labels} 3\nwaiting 1\n"))[0], None, "{labels}");
        assert_eq!(sums(&format!("running{labels} 3\nwaiting 1\n"))[3], Some(1.0), "{labels}");
    }
}

#[test]
fn the_first_of_two_equal_series_counts() {
    let text = "running{a=\"1\",b=\"2\"} 5\nrunning{b=\"2\",a=\"1\"} 7\nwaiting 1\nwaiting 1\n";
    assert_eq!(sums(text), [Some(5.0), None, Some(5.0), Some(1.0)]);
}

#[test]
fn other_texts_have_no_series() {
    for text in [
        "",
        "\n\n\n",
        "<!DOCTYPE html>\n<html><body>running 3</body></html>\n",
        "{\"running\": 3, \"waiting\": 4}",
        "# running 3\n#waiting 4",
        "running_bucket{le=\"+Inf\"} 3\nrunning_sum 9\nrunning_count 3\n",
    ] {
        assert!(read(text, false, usize::MAX).iter().all(|found| !found.is_any()), "{text}");
    }
}

#[test]
fn a_cut_text_has_only_whole_names() {
    let text = "waiting 4\nrunning{engine=\"0\"} 1\nrunning{engine=\"1\"} 23";
    let whole = read(text, false, usize::MAX);
    assert_eq!((whole[0].sum(), whole[3].sum()), (24.0, 4.0), "the last line needs no end");
    let cut = read(text, true, usize::MAX);
    assert!(cut[0].sum().is_nan(), "23 may go on");
    assert_eq!(cut[3].sum(), 4.0);
    let cut = read("running 1\nwaiting 4\nother", true, usize::MAX);
    assert!(cut[3].sum().is_nan(), "more of that name may follow");
    assert_eq!(cut[0].sum(), 1.0);
}

#[test]
fn long_lines_are_skipped() {
    let long = format!("running{{x=\"{}\"}} 3\nwaiting 1\n", "y".repeat(LONGEST_LINE));
    let comment = format!("# {}\nwaiting 1\n", "running 3 ".repeat(LONGEST_LINE));
    for pieces in [1000, LONGEST_LINE + 10, usize::MAX] {
        let found = read(&long, false, pieces);
        assert!(found[0].is_any() && found[0].sum().is_nan(), "{pieces}");
        assert_eq!(found[3].sum(), 1.0, "{pieces}");
        let found = read(&comment, false, pieces);
        assert_eq!((found[0].is_any(), found[3].sum()), (false, 1.0), "{pieces}");
    }
}

#[test]
fn too_many_series_are_unknown() {
    let line = |at| format!("running{{engine=\"{at}\"}} 1\n");
    let most: String = (0..MOST_SERIES).map(line).collect();
    assert_eq!(sums(&most)[0], Some(4096.0));
    assert_eq!(sums(&(most + "running{engine=\"x\"} 1\n"))[0], None);
}

#[test]
fn each_byte_is_read_once() {
    let hostile = [
        "running{".repeat(400_000),
        "running 1\n".repeat(300_000),
        "\n".repeat(3 << 20),
        format!("running{{a=\"{}", "\\\\".repeat(1 << 20)),
    ];
    for text in hostile {
        let (_, work) = pieces::work::of(|| read(&text, false, 1000));
        assert!(work <= text.len(), "{work} of {}", text.len());
    }
}

/// Lines that are whole, broken, or nearly those that are wanted.
fn line() -> impl Strategy<Value = String> {
    let one_of = |texts: &[&'static str]| prop::sample::select(texts.to_vec());
    let parts = (
        one_of(&["running", "waiting", "run", "running_total", "# running", ""]),
        one_of(&["", "{}", "{engine=\"1\"}", "{engine=\"0\",a=\"\\\"\"}", "{engine=\"1\"", "{,}"]),
        one_of(&[" 3", " 0.5", " NaN", " -1", " 1e300", "", " 3 17", " x", "\t4"]),
        one_of(&["\n", "\r\n", "", " \n"]),
    );
    parts.prop_map(|(name, labels, value, end)| format!("{name}{labels}{value}{end}"))
}

proptest! {
    #[test]
    fn pieces_do_not_matter(lines in prop::collection::vec(line(), 0..40), size in 1..50_usize, cut: bool) {
        let text = lines.concat();
        let (whole, pieces) = (read(&text, cut, usize::MAX), read(&text, cut, size));
        for (whole, pieces) in whole.iter().zip(&pieces) {
            prop_assert_eq!(whole.is_any(), pieces.is_any());
            prop_assert!(whole.sum() == pieces.sum() || (whole.sum().is_nan() && pieces.sum().is_nan()));
            prop_assert!(whole.sum().is_nan() || (whole.sum() >= 0.0 && whole.mean() <= whole.sum()));
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..2000), size in 1..300_usize, cut: bool) {
        for found in read(&bytes, cut, size) {
            prop_assert!(found.sum().is_nan() || found.sum() >= 0.0);
        }
    }
}
