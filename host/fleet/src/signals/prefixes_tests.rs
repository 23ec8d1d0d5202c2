#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::super::table::tests::hash;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A request with a prompt of its own, 128 tokens a block.
fn request(number: u64, blocks: u32) -> RequestSignals {
    let prefixes = (0..u64::from(blocks)).map(|block| hash(number << 20 | block)).collect();
    let prompt_tokens = Some(blocks * 128 + 40);
    RequestSignals { prompt_tokens, prefixes, block_tokens: 128, ..RequestSignals::default() }
}

struct Scene {
    index: Arc<PrefixIndex>,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self { index: Arc::default(), now: Instant::now() }
    }

    fn deployment(&self) -> DeploymentPrefixes {
        let prefixes = DeploymentPrefixes::new(Arc::clone(&self.index), self.now);
        prefixes.want(true);
        prefixes
    }

    /// A whole answer that reports its cached tokens.
    fn answer(&mut self, at: &DeploymentPrefixes, request: &RequestSignals, cached: u64) {
        let expected = at.sent(request, self.now);
        at.begun(request, self.now);
        at.reported(request, expected, cached, Side::Local);
        self.now += SECOND;
    }
}

#[test]
fn a_prompt_is_known_where_it_was_sent() {
    let scene = Scene::new();
    let [first, second] = [scene.deployment(), scene.deployment()];
    let sent = request(1, 10);
    assert_eq!(first.tokens(&sent, scene.now), 0.0);
    first.sent(&sent, scene.now);
    assert_eq!(first.tokens(&sent, scene.now), 1280.0);
    assert_eq!(second.tokens(&sent, scene.now), 0.0);
    // A prompt that goes on has the sent one as its beginning; instructions come with it.
    let longer = RequestSignals { head_tokens: 70, ..request(1, 30) };
    assert_eq!(first.tokens(&longer, scene.now), 1350.0);
    // Never more than the prompt has.
    let short = RequestSignals { prompt_tokens: Some(500), ..sent };
    assert_eq!(first.tokens(&short, scene.now), 500.0);
}

#[test]
fn nothing_is_noted_and_no_memory_taken_unasked() {
    let scene = Scene::new();
    let deployment = DeploymentPrefixes::new(Arc::clone(&scene.index), scene.now);
    deployment.sent(&request(1, 10), scene.now);
    assert!(deployment.tokens(&request(1, 10), scene.now).is_nan());
    assert_eq!(scene.index.bytes(), 0);
    deployment.want(true);
    deployment.sent(&request(1, 10), scene.now);
    assert_eq!(scene.index.bytes(), 32 * 1024);
    deployment.want(false);
    assert_eq!(scene.index.bytes(), 0);
}

#[test]
fn memory_is_bounded_for_any_fleet() {
    let scene = Scene::new();
    let all: Vec<_> = (0..40_000).map(|_| scene.deployment()).collect();
    for deployment in &all {
        deployment.sent(&request(1, 2), scene.now);
    }
    assert!(scene.index.bytes() <= 128 << 20, "{}", scene.index.bytes());
    assert!(all.iter().all(|deployment| deployment.tokens(&request(1, 2), scene.now) == 256.0));
    // Engines may say any size.
    all[0].resize(u32::MAX, scene.now);
    assert!(scene.index.bytes() <= 128 << 20);
    drop(all);
    assert_eq!(scene.index.bytes(), 0);
}

#[test]
fn an_unanswered_prompt_is_taken_back() {
    let scene = Scene::new();
    let deployment = scene.deployment();
    let [short, long] = [request(1, 4), request(1, 10)];
    deployment.sent(&short, scene.now);
    deployment.begun(&short, scene.now);
    deployment.sent(&long, scene.now);
    assert_eq!(deployment.tokens(&long, scene.now), 1280.0);
    deployment.unanswered(&long);
    assert_eq!(deployment.tokens(&long, scene.now), 512.0);
}

#[test]
fn a_restart_forgets_everything() {
    let mut scene = Scene::new();
    let deployment = scene.deployment();
    scene.answer(&deployment, &request(1, 10), 0);
    deployment.forget();
    assert_eq!(deployment.tokens(&request(1, 10), scene.now), 0.0);
}

#[test]
fn an_eviction_that_an_answer_shows_forgets_what_is_older() {
    let mut scene = Scene::new();
    let deployment = scene.deployment();
    for number in 0..10 {
        scene.answer(&deployment, &request(number, 10), 0);
    }
    assert_eq!(deployment.tokens(&request(2, 10), scene.now), 1280.0, "as expected until now");
    // The prompt 5 is asked again, and was evicted. So were those before it.
    scene.answer(&deployment, &request(5, 10), 0);
    let known = |number| deployment.known(&request(number, 10), false, scene.now).blocks;
    assert_eq!([0, 1, 2, 3, 4].map(known), [0; 5]);
    assert_eq!([5, 6, 7, 8, 9].map(known), [10; 5], "read just now, or used later");
    assert!(deployment.tokens(&request(9, 10), scene.now) < 1280.0, "and believed a bit less");
}

#[test]
fn two_prompts_sent_together_show_nothing() {
    let mut scene = Scene::new();
    let deployment = scene.deployment();
    let [first, second] = [request(1, 10), request(1, 10)];
    scene.answer(&deployment, &request(7, 10), 0);
    let expected = [deployment.sent(&first, scene.now), deployment.sent(&second, scene.now)];
    for (request, expected) in [&first, &second].into_iter().zip(expected) {
        deployment.begun(request, scene.now);
        deployment.reported(request, expected, 0, Side::Local);
    }
    assert_eq!(deployment.tokens(&first, scene.now), 1280.0);
    assert_eq!(deployment.tokens(&request(7, 10), scene.now), 1280.0);
}

#[test]
fn an_engine_without_a_cache_counts_as_having_nothing() {
    let mut scene = Scene::new();
    let deployment = scene.deployment();
    (0..40).for_each(|_| scene.answer(&deployment, &request(1, 10), 0));
    let told = deployment.tokens(&request(1, 10), scene.now);
    assert!(told < 64.0, "{told}");
    // With a cache again, it is believed again.
    (0..40).for_each(|_| scene.answer(&deployment, &request(1, 10), 1280));
    assert!(deployment.tokens(&request(1, 10), scene.now) > 1200.0);
}

#[test]
fn reports_about_short_prompts_show_nothing() {
    let mut scene = Scene::new();
    let deployment = scene.deployment();
    for (blocks, side) in [(1, Side::Local), (8, Side::Remote)] {
        let short = request(u64::from(blocks), blocks);
        scene.answer(&deployment, &short, 0);
        let expected = deployment.sent(&short, scene.now);
        assert_eq!(expected.blocks, blocks as usize);
        deployment.reported(&short, expected, 0, side);
        assert_eq!(deployment.tokens(&short, scene.now), f64::from(blocks * 128));
    }
}

#[test]
fn an_engines_size_is_kept_within() {
    let mut scene = Scene::new();
    let deployment = scene.deployment();
    scene.answer(&deployment, &request(1, 10), 0);
    deployment.resize(200, scene.now);
    assert_eq!(scene.index.bytes(), 200 * 8);
    assert_eq!(deployment.tokens(&request(1, 10), scene.now), 1280.0, "what fits stays");
    for number in 2..60 {
        scene.answer(&deployment, &request(number, 10), 0);
    }
    let known = |number| deployment.known(&request(number, 10), false, scene.now).blocks;
    let [old, new]: [usize; 2] = [(1..30).map(known).sum(), (45..60).map(known).sum()];
    assert!(old <= 29 && new >= 140, "{old} of 290 blocks that are older, {new} of 150 new ones");
}
