//! The clients of a scene.

use std::rc::Rc;
use std::time::Duration;

use rand::RngExt;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until};

use crate::checks::Rule;
use crate::driver::{Answer, serve};
use crate::luck::{Draw, Luck, luck};
use crate::request::Request;
use crate::scene::ClientScene;
use crate::world::World;

/// A request may take so much longer than its time, for steps that take a millisecond each.
const SLACK: Duration = Duration::from_millis(50);

/// Sends requests until the scene ends.
pub(crate) async fn client(world: Rc<World>, scene: ClientScene, number: u64) {
    let mut luck = luck(world.scene.seed, &[1, number]);
    let end = world.began + world.scene.lasts;
    sleep_until(world.began + scene.first).await;
    let mut nth = 0;
    while Instant::now() < end {
        let text = scene.text.unwrap_or(number << 32 | nth);
        nth += 1;
        let own = crate::luck::luck(world.scene.seed, &[2, number, nth]);
        let pause = scene.pause.mul_f64(0.5 + luck.random::<f64>());
        if scene.open {
            // However many are under way, so that an overload can build up.
            spawn_local(ask(Rc::clone(&world), scene, text, own));
            sleep(pause).await;
        } else {
            ask(Rc::clone(&world), scene, text, own).await;
            sleep(pause).await;
        }
    }
}

/// Sends one request, and again if it fails and the client repeats such.
async fn ask(world: Rc<World>, scene: ClientScene, text: u64, mut luck: Luck) {
    world.under_way.set(world.under_way.get() + 1);
    for _ in 0..=scene.retries {
        match once(&world, scene, text, &mut luck).await {
            Some(Answer::Broken | Answer::None) => sleep(luck.time(10..1000)).await,
            Some(Answer::Whole | Answer::Rejected) | None => break,
        }
    }
    world.under_way.set(world.under_way.get() - 1);
}

/// Sends one request. None: the client left.
async fn once(world: &Rc<World>, scene: ClientScene, text: u64, luck: &mut Luck) -> Option<Answer> {
    let id = world.ids.replace(world.ids.get() + 1);
    let request = Request::new(id, &scene, text);
    let patience = match luck.chance(scene.leaves) {
        true => luck.time(1..3000),
        false => Duration::MAX,
    };
    world.counts.borrow_mut().requests += 1;
    let began = Instant::now();
    let answer = tokio::select! {
        biased;
        answer = serve(world, &request, luck) => Some(answer),
        () = sleep(patience) => None,
    };
    let (took, total) = (began.elapsed(), world.scene.models[scene.model].total);
    if took > total + SLACK {
        world.violated(Rule::Unended, Some(id), format!("it took {took:?} of {total:?}"));
    }
    if answer.is_none() {
        world.counts.borrow_mut().left += 1;
        world.note(Some(id), || "the client left".into());
    }
    answer
}
