use config::{Config, Pricing};
use fleet::Fleet;

use super::*;

/// What a request can cost, at most and probably, in picodollars.
fn stake(endpoint: InferenceEndpoint, longest: u64, body: &str) -> (u64, u64) {
    let mut deployment = samples::deployment(1);
    deployment.capability.context_length = 10_000;
    deployment.pricing =
        Pricing { prompt: "1e-12".into(), completion: "1e-6".into(), ..Pricing::default() };
    let mut model = samples::model(vec![deployment]);
    model.card.max_output_length = longest;
    let fleet = Fleet::build(&Config { models: vec![model], ..Config::default() }, None);
    let fields = http1::scan(body.as_bytes()).expect("a good body").fields;
    let Stake { most, expected, .. } =
        Stakes::of(&fleet.models[0], endpoint, body.as_bytes(), &fields).at(0);
    (most.get(), expected.get())
}

/// The tokens of prompt and answer that the most stands for.
fn most(longest: u64, body: &str) -> (u64, u64) {
    let (most, expected) = stake(InferenceEndpoint::ChatCompletions, longest, body);
    assert!(expected <= most, "{body}");
    (most % 1_000_000, most / 1_000_000)
}

#[test]
fn the_most_counts_every_answer_that_may_be_asked_for() {
    let body = |more: &str| format!(r#"{{"model":"m","messages":[]{more}}}"#);
    let size = |more: &str| body(more).len() as u64;
    for (more, longest, answer) in [
        (r#","max_tokens":7"#, 0, 7),
        (r#","max_completion_tokens":7,"n":3"#, 0, 21),
        (r#","max_tokens":7,"best_of":4,"n":2"#, 0, 28),
        (r#","max_tokens":7,"max_completion_tokens":9"#, 0, 9),
        (r#","max_tokens":99999"#, 0, 10_000),
        // Not limited, or by what is no number.
        ("", 0, 10_000),
        ("", 500, 500),
        (r#","max_tokens":null,"n":0"#, 500, 500),
        (r#","max_tokens":-1"#, 500, 500),
        (r#","max_tokens":0"#, 500, 500),
        (r#","max_tokens":"\u0037""#, 500, 500),
        // As lax parsers read them.
        (r#","max_tokens":1,"max_completion_tokens":700.0"#, 0, 700),
        (r#","max_tokens":"7","n":"3""#, 0, 21),
        (r#","max_tokens":7,"n":[]"#, 0, 7 * CHOICES),
        // The largest that any parser reads.
        (r#","max_tokens":7,"max_tokens":5"#, 0, 7),
        (r#","max_tokens":5,"max_tokens":7"#, 0, 7),
        (r#","max_tokens":5,"MAX_TOKENS":8"#, 0, 8),
        (r#","MaxTokens":8,"max_completion_tokens":5"#, 0, 8),
        (r#","max_tokens":5,"n_predict":9"#, 0, 9),
        (r#","max_tokens":5,"N":3"#, 0, 15),
        (r#","max_tokens":5,"n":4,"n":2,"Best_Of":null"#, 0, 20),
        (r#","max_tokens":5,"n":1,"N":{}"#, 0, 5 * CHOICES),
        // One parser reads no limit, or no number.
        (r#","max_tokens":5,"max_tokens":null"#, 500, 500),
        (r#","max_tokens":null,"max_tokens":5"#, 500, 500),
        (r#","MAX_TOKENS":5"#, 500, 500),
        (r#","max_tokens":5,"n_predict":-1"#, 500, 500),
        (r#","max_tokens":5,"Max_Tokens":[1]"#, 500, 500),
    ] {
        assert_eq!(most(longest, &body(more)), (size(more) + TEMPLATE, answer), "{more}");
    }
}

#[test]
fn a_prompt_has_a_token_for_each_byte_at_most_or_fills_the_context() {
    let long = "x".repeat(20_000);
    let text = format!(r#"{{"model":"m","max_tokens":1,"prompt":"{long}"}}"#);
    assert_eq!(most(0, &text).0, 10_000);
    let image = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/a.png"}}]}]}"#;
    assert_eq!(most(0, image).0, 10_000);
    let response = |more: &str| {
        let body = format!(r#"{{"model":"m","max_output_tokens":1,"input":"x"{more}}}"#);
        let (most, _) = stake(InferenceEndpoint::Responses, 0, &body);
        (most % 1_000_000, body.len() as u64)
    };
    let (prompt, size) = response("");
    assert_eq!(prompt, size + TEMPLATE);
    assert_eq!(response(r#","tools":[{"type":"web_search"}]"#).0, 10_000);
    assert_eq!(response(r#","previous_response_id":"resp_1""#).0, 10_000);
    assert_eq!(response(r#","Tools":[{"type":"web_search"}]"#).0, 10_000);
    assert_eq!(response(r#","previousResponseId":"resp_1""#).0, 10_000);
}

#[test]
fn each_prompt_of_several_has_its_answers() {
    let of = |prompt: &str| {
        let body = format!(r#"{{"model":"m","prompt":{prompt},"max_tokens":7,"n":2}}"#);
        let (most, _) = stake(InferenceEndpoint::Completions, 0, &body);
        most / 1_000_000
    };
    let cases = [r#""one, two""#, r#"["a","b","c"]"#, "[1,2,3]", "[[1,2],[3]]"];
    // A comma in a list of lists counts as one between prompts.
    assert_eq!(cases.map(of), [14, 42, 14, 42]);
    // One of them is read, whichever it is.
    assert_eq!(of(r#"["a","b","c"],"prompt":"d""#), 42);
    assert_eq!(of(r#""d","Prompt":["a","b","c"]"#), 42);
    let many = r#""d","prompt":"#.repeat(20) + r#"["a","b"]"#;
    assert!(of(&many) > 2 * 14, "too many to be kept");
}

#[test]
fn vectors_have_no_answer_and_a_usual_one_is_expected() {
    let body = r#"{"model":"m","input":"four"}"#;
    let (most, _) = stake(InferenceEndpoint::Embeddings, 0, body);
    assert_eq!(most, body.len() as u64 + TEMPLATE);
    let (_, expected) = stake(InferenceEndpoint::ChatCompletions, 0, body);
    assert_eq!(expected / 1_000_000, USUAL);
}

#[test]
fn what_may_be_sound_has_its_price() {
    let of = |body: &str| {
        let mut deployment = samples::deployment(1);
        deployment.capability.context_length = 10_000;
        let audio = |price: &str| Some(price.to_owned());
        deployment.pricing =
            Pricing { audio: audio("1e-9"), audio_output: audio("1e-3"), ..Pricing::default() };
        let model = samples::model(vec![deployment]);
        let fleet = Fleet::build(&Config { models: vec![model], ..Config::default() }, None);
        let fields = http1::scan(body.as_bytes()).expect("a good body").fields;
        let endpoint = InferenceEndpoint::ChatCompletions;
        let stake = Stakes::of(&fleet.models[0], endpoint, body.as_bytes(), &fields).at(0);
        [stake.prompt, stake.most].map(|cost| cost.to_string())
    };
    let body = |more: &str| format!(r#"{{"model":"m","max_tokens":2,"messages":[]{more}}}"#);
    assert_eq!(of(&body("")), ["0", "0"]);
    for sound in [
        r#","modalities":["text","audio"]"#,
        r#","x":{"type":"input_audio"}"#,
        r#","x":{"type":"audio_url"}"#,
        r#","modalities":["\u0061udio"]"#,
        // As parsers that ignore case read it.
        r#","MODALITIES":["AUDIO"]"#,
        r#","modalities":["text"],"Modalities":["Audio"]"#,
    ] {
        assert_eq!(of(&body(sound)), ["0.00001", "0.00201"], "{sound}");
    }
}
