//! Each attempt takes of the quotas of its deployment, and nothing overrides them.

use config::{Period, Quota, QuotaSource, QuotaUnit, TimeZone};
use fleet::QuotaNeeds;

use super::*;

/// Two deployments with so many requests, and so many tokens, in a window.
fn scene(requests: [u64; 2], tokens: u64) -> Scene {
    let mut scene = Scene::new();
    for (at, amount) in requests.into_iter().enumerate() {
        let quota = |unit, amount| {
            let (source, time_zone) = (QuotaSource::Counted, TimeZone::default());
            Quota { unit, amount, per: Period::Seconds(1_000), source, time_zone }
        };
        let deployment = &mut scene.config.models[0].deployments[at];
        deployment.quotas =
            vec![quota(QuotaUnit::Requests, amount), quota(QuotaUnit::Tokens, tokens)];
    }
    scene.fleet = Fleet::build(&scene.config, None);
    scene
}

fn within(tokens: u64) -> Scope {
    Scope::ALL.needing(QuotaNeeds { most: tokens, expected: tokens })
}

/// Where the attempt of a request goes that ends at once.
async fn goes(scene: &Scene, tokens: u64) -> Result<String, Exhausted> {
    let mut turns = scene.turns_within(within(tokens));
    match turns.next(&mut Log::default()).await {
        Some(permit) => Ok(permit.deployment().config.name.clone()),
        None => Err(turns.exhausted(now())),
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_is_used_up_sends_requests_on_or_ends_them() {
    let scene = scene([2, 1], 100);
    for name in ["first", "first", "second"] {
        assert_eq!(goes(&scene, 1).await.unwrap(), name);
    }
    let told = goes(&scene, 1).await.unwrap_err();
    assert_eq!((told.status().as_u16(), told.shed()), (429, Some("quota")));
    assert!(told.retry_after().is_some_and(|wait| wait <= Duration::from_secs(1_000)));
    assert!(told.to_string().contains("requests per 1000s"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_goes_where_it_does_or_nowhere() {
    let scene = scene([9, 9], 100);
    assert_eq!(goes(&scene, 60).await.unwrap(), "first");
    assert_eq!(goes(&scene, 60).await.unwrap(), "second");
    assert_eq!(goes(&scene, 40).await.unwrap(), "first", "this one still fits");
    let told = goes(&scene, 101).await.unwrap_err();
    assert_eq!((told.status().as_u16(), told.retry_after()), (429, None));
    let told = goes(&scene, 60).await.unwrap_err();
    assert_eq!(told.status().as_u16(), 429);
}

#[tokio::test(start_paused = true)]
async fn panic_mode_overrides_no_quota() {
    let mut scene = scene([1, 9], 100);
    scene.route.eligible.panic = true;
    assert_eq!(goes(&scene, 1).await.unwrap(), "first");
    for _ in 0..5 {
        assert_eq!(goes(&scene, 1).await.unwrap(), "second");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_not_made_takes_nothing() {
    let scene = scene([1, 1], 100);
    // Its place is taken, so the request waits for it, and gives up.
    let held = scene.at(0).slots.try_enter(now()).place().unwrap();
    let other = scene.at(1).slots.try_enter(now()).place().unwrap();
    assert_eq!(goes(&scene, 1).await.unwrap_err().status().as_u16(), 503, "no place");
    drop((held, other));
    assert_eq!(goes(&scene, 1).await.unwrap(), "first", "nothing was used");
}

#[tokio::test(start_paused = true)]
async fn a_request_in_line_leaves_when_the_quota_is_used_up() {
    let scene = scene([1, 0], 100);
    let place = scene.at(0).slots.try_enter(now()).place().unwrap();
    let (mut waits, mut log) = (scene.turns_within(within(1)), Log::default());
    let takes = async {
        sleep(Duration::from_secs(1)).await;
        let hold = scene.at(0).take_quota(QuotaNeeds::default(), now()).unwrap();
        scene.at(0).admit(place, now()).unwrap().use_quota(hold);
    };
    let (permit, ()) = tokio::join!(waits.next(&mut log), takes);
    assert!(permit.is_none());
    assert_eq!(waits.exhausted(now()).status().as_u16(), 429);
}
