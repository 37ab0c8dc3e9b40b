//! All views are read all the time while denials come in, rows are moved by two collectors, and these are killed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use assent::ingress::proto::ConsentState;
use uuid::Uuid;

use super::*;
use crate::harness::{Setup, event};

const USERS: usize = 30;
const EVENTS_PER_USER: usize = 8;
/// How often the collectors are killed.
const KILLS: u32 = 6;

#[derive(Deserialize)]
struct Id {
    event_id: Uuid,
}

async fn ids(database: &Database, view: &str) -> Vec<Uuid> {
    let sql = format!("SELECT event_id FROM {view}");
    database.rows::<Id>(&sql).await.into_iter().map(|row| row.event_id).collect()
}

/// Reads a view until it is told to stop: every event that must be there is, and none is there twice. Gives how often
/// it looked.
async fn read_all_the_time(
    database: Arc<Database>,
    view: &'static str,
    always: BTreeSet<Uuid>,
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
) {
    while !stop.load(Ordering::Relaxed) {
        let shown = ids(&database, view).await;
        let distinct: BTreeSet<_> = shown.iter().copied().collect();
        assert_eq!(distinct.len(), shown.len(), "{view} shows an event twice");
        let missing: Vec<_> = always.difference(&distinct).collect();
        assert!(missing.is_empty(), "{view} misses {missing:?}");
        looks.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn no_view_ever_shows_an_event_twice_or_misses_one() {
    let database = Arc::new(Database::new().await);
    let one = Setup::new(&database).config(AT_ONCE);
    let collector = one.start_ready().await;
    let mut of_user = Vec::new();
    for n in 0..USERS {
        let user = format!("user-{n}");
        grant_both(&collector, &user).await;
        let sent = collector.send(vec![event(&user); EVENTS_PER_USER].into_iter().map(fresh).collect()).await;
        of_user.push(sent);
    }
    let all: BTreeSet<Uuid> = of_user.iter().flatten().copied().collect();
    database.wait_for(&all.iter().copied().collect::<Vec<_>>()).await;
    assert_eq!(database.count("training_affiliates").await as usize, all.len());

    // Of three people one says no to all, one to affiliates, and one to nothing.
    let of = |kinds: &[usize]| -> BTreeSet<Uuid> {
        let users = of_user.iter().enumerate().filter(|(n, _)| kinds.contains(&(n % 3)));
        users.flat_map(|(_, ids)| ids.iter().copied()).collect()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let looks = Arc::new(AtomicU64::new(0));
    let watches: Vec<_> = [
        ("typed_texts", all.clone()),
        ("events FINAL", all.clone()),
        ("training_first_party", of(&[1, 2])),
        ("training_affiliates", of(&[2])),
    ]
    .into_iter()
    .map(|(view, always)| {
        let (stop, looks) = (Arc::clone(&stop), Arc::clone(&looks));
        tokio::spawn(read_all_the_time(Arc::clone(&database), view, always, stop, looks))
    })
    .collect();

    let beside = one.beside();
    let mut collectors = [collector, beside.start_ready().await];
    let mut users = (0..USERS).filter(|n| n % 3 != 2);
    for kill in 0..KILLS {
        for n in users.by_ref().take(USERS * 2 / 3 / KILLS as usize + 1) {
            let scope = if n % 3 == 0 { FIRST } else { AFFILIATES };
            let user = format!("user-{n}");
            say(&collectors[(kill as usize + 1) % 2], &user, scope, ConsentState::Denied).await;
            // Hidden at once from whom it is withdrawn.
            let view = if n % 3 == 0 { "training_first_party" } else { "training_affiliates" };
            let shown: BTreeSet<_> = ids(&database, view).await.into_iter().collect();
            assert!(of_user[n].iter().all(|id| !shown.contains(id)), "{view} shows {user}");
        }
        tokio::time::sleep(Duration::from_millis(u64::from(kill) * 70)).await;
        let at = kill as usize % 2;
        let setup = if at == 0 { &one } else { &beside };
        let [a, b] = collectors;
        let (dies, lives) = if at == 0 { (a, b) } else { (b, a) };
        dies.kill();
        let started = setup.start_ready().await;
        collectors = if at == 0 { [started, lives] } else { [lives, started] };
    }
    let left = |kinds: &[usize]| of(kinds).len() as u64;
    eventually("the eligible partitions without what is withdrawn", || async {
        let eligible = database.count("events WHERE training_scope = 'affiliates'").await;
        let first = database
            .count("(SELECT DISTINCT event_id FROM events WHERE training_scope = 'first_party')")
            .await;
        let none =
            database.count("(SELECT DISTINCT event_id FROM events WHERE training_scope = 'none')").await;
        (eligible == left(&[2]) && first == left(&[1]) && none == left(&[0])).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for watch in watches {
        watch.await.unwrap();
    }
    assert!(looks.load(Ordering::Relaxed) > 40, "too few looks: {looks:?}");
    assert_eq!(ids(&database, "training_first_party").await.len() as u64, left(&[1, 2]));
    assert_eq!(ids(&database, "training_affiliates").await.len() as u64, left(&[2]));
    for collector in collectors {
        let failures = collector.metric("assent_withdrawal_failures_total").await;
        assert!(failures.is_none_or(|failures| failures == 0.0), "{failures:?}");
    }
}

/// Another event like it.
fn fresh(event: crate::harness::EventBuilder) -> crate::harness::EventBuilder {
    event.with(|event| event.event_id = Uuid::now_v7().to_string())
}
