//! The demands of a request on a deployment, found in its body without an engine: a least number of
//! tokens, tools, and modalities beside text.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use memchr::memmem::Finder;

use contract::Modalities;
use fleet::{Demand, FleetModel};
use http1::Fields;

use super::facts;

/// The estimate of a prompt's tokens is less than this factor too high.
const MARGIN: u64 = 2;

type Word = LazyLock<Finder<'static>>;
static IMAGES: [Word; 3] = [
    LazyLock::new(|| Finder::new("\"image_url\"")),
    LazyLock::new(|| Finder::new("\"input_image\"")),
    LazyLock::new(|| Finder::new("\"image\"")),
];
/// Words of bodies whose prompt gets more than their own text, in any case: some parsers ignore it. The
/// last are letters that these parsers fold, and escapes of letters, which may hide a word. None: they
/// cannot be searched for.
static ADDED: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let words = [
        "\"image_url\"",
        "\"input_image\"",
        "\"image\"",
        "\"input_audio\"",
        "\"audio_url\"",
        "\"video_url\"",
        "\"input_video\"",
        "\"input_file\"",
        "\"file\"",
        "\"audio\"",
        "\"item_reference\"",
        "\"pmpt_",
        "\"web_search_options\"",
        "\"search_parameters\"",
        "\"plugins\"",
        "\u{17F}",
        "\u{212A}",
        "\\u004",
        "\\u005",
        "\\u006",
        "\\u007",
        "\\u017f",
        "\\u212a",
    ];
    AhoCorasick::builder().ascii_case_insensitive(true).build(words).ok()
});
static SOUNDS: [Word; 1] = [LazyLock::new(|| Finder::new("\"input_audio\""))];
static FILMS: [Word; 2] = [
    LazyLock::new(|| Finder::new("\"video_url\"")),
    LazyLock::new(|| Finder::new("\"input_video\"")),
];

/// The demand of a request to `model`. Only what distinguishes the model's deployments is looked
/// for, so that most requests cost nothing here.
#[must_use]
pub fn demand(model: &FleetModel, body: &[u8], fields: &Fields) -> Demand {
    let mut capabilities = model.deployments.iter().map(|deployment| deployment.config.capability);
    let Some(first) = capabilities.next() else { return Demand::default() };
    let (mut shortest, mut longest) = (first.context_length, first.context_length);
    let (mut inputs, mut tools) = (false, false);
    for other in capabilities {
        shortest = shortest.min(other.context_length);
        longest = longest.max(other.context_length);
        inputs |= other.input != first.input;
        tools |= other.tools != first.tools;
    }
    let at = |range: &Option<Range<usize>>| body.get(range.clone()?);
    let prompt = at(&fields.prompt).unwrap_or_default();
    // A token has at least one byte, so most prompts need no look.
    let may_be_long = shortest < longest && body.len() as u64 > shortest;
    Demand {
        tokens: if may_be_long { facts::tokens(body, fields).map_or(0, surely) } else { 0 },
        input: if inputs { held(prompt) } else { Modalities::NONE },
        tools: tools && at(&fields.tools).is_some_and(|tools| !matches!(tools, b"null" | b"[]")),
    }
}

/// A lower bound of a prompt's tokens, from their estimate.
fn surely(estimate: u32) -> u64 {
    u64::from(estimate) / MARGIN
}

/// Whether a request may get more into its prompt than its own text.
pub(super) fn holds_more(body: &[u8]) -> bool {
    ADDED.as_ref().is_none_or(|words| words.is_match(body))
}

/// What the prompt holds beside text. Inside a string the quotes of these words would be escaped.
fn held(prompt: &[u8]) -> Modalities {
    let has = |words: &[Word]| words.iter().any(|word| word.find(prompt).is_some());
    let if_any = |words: &[Word], what| if has(words) { what } else { Modalities::NONE };
    if_any(&IMAGES, Modalities::IMAGE)
        .or(if_any(&SOUNDS, Modalities::AUDIO))
        .or(if_any(&FILMS, Modalities::VIDEO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_prompt_are_seen() {
        let image = br#"[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]"#;
        assert_eq!(held(image), Modalities::IMAGE);
        let both = br#"[{"type":"input_image"},{"type":"input_audio"},{"type":"video_url"}]"#;
        assert_eq!(held(both), Modalities::IMAGE.or(Modalities::AUDIO).or(Modalities::VIDEO));
        let text = br#"[{"role":"user","content":"what is an \"image_url\"?"}]"#;
        assert_eq!(held(text), Modalities::NONE);
    }

    #[test]
    fn what_grows_a_prompt_is_seen_in_any_case() {
        for body in [
            r#"{"messages":[{"content":[{"type":"image_url"}]}]}"#,
            r#"{"messages":[{"content":[{"Image_URL":{}}]}]}"#,
            r#"{"Plugins":[]}"#,
            "{\"plugin\u{17F}\":[]}",
            r#"{"web_\u0073earch_options":{}}"#,
            r#"{"web_\u017Fearch_options":{}}"#,
            r#"{"\u0050LUGINS":[]}"#,
            r#"{"\u004Dodel":"m","\u0049mage_url":1}"#,
        ] {
            assert!(holds_more(body.as_bytes()), "{body}");
        }
        let text = r#"{"messages":[{"content":"IMAGE: \"image_url\", caf\u00e9, \u0026"}]}"#;
        assert!(!holds_more(text.as_bytes()));
    }

    #[test]
    fn half_of_the_estimate_is_sure() {
        assert_eq!(surely(9000), 4500);
    }
}
