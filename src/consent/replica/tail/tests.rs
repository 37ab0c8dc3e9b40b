use proptest::prelude::*;

use super::*;

const OVERLAP: Duration = Duration::from_secs(30);
const SECOND: i64 = 1_000_000;
/// What the ledger's clock shows at the local time 0.
const EPOCH: i64 = 1_700_000_000 * SECOND;

/// A ledger and a local clock, both in microseconds.
struct World {
    zero: Instant,
    tail: Tail,
    now: i64,
    offset: i64,
}

impl World {
    fn new() -> Self {
        Self { zero: Instant::now(), tail: Tail::new(OVERLAP), now: 100 * SECOND, offset: EPOCH }
    }

    fn instant(&self) -> Instant {
        self.zero + Duration::from_micros(self.now.try_into().unwrap())
    }

    fn wait(&mut self, us: i64) {
        self.now += us;
    }

    fn ledger(&self) -> i64 {
        self.now + self.offset
    }

    /// A refresh that takes so long, and looks at the ledger in the middle.
    fn refresh(&mut self, takes: i64) -> (Option<i64>, Finished) {
        let started = self.instant();
        let since = self.tail.begin(started);
        self.wait(takes / 2);
        let ledger_us = self.ledger();
        self.wait(takes / 2);
        let sample = Sample { started, answered: self.instant(), ledger_us };
        (since, self.tail.finish(since, sample))
    }

    /// Refreshes for so long, as a collector does, and gives where the last one read from.
    fn run(&mut self, us: i64) -> i64 {
        let until = self.now + us;
        let mut since = None;
        while self.now < until {
            let (from, finished) = self.refresh(10_000);
            assert_eq!(finished, Finished { complete: true, stepped_us: None });
            since = from;
            self.wait(200_000);
        }
        since.unwrap()
    }

    /// How far back a refresh reads.
    fn reach(&self, since: i64) -> i64 {
        self.ledger() - since
    }
}

#[test]
fn the_first_refresh_reads_everything_and_the_next_an_overlap_and_little_more() {
    let mut world = World::new();
    assert_eq!(world.refresh(0).0, None);
    let since = world.run(59 * SECOND);
    let reach = world.reach(since);
    assert!((30 * SECOND..33 * SECOND).contains(&reach), "{reach}");
    assert!(world.tail.spans.len() <= 2 * SPANS_PER_OVERLAP as usize);
}

#[test]
fn once_a_minute_it_reads_further_back() {
    let mut world = World::new();
    world.refresh(0);
    let mut deep = 0;
    for _ in 0..1_000 {
        let (since, _) = world.refresh(10_000);
        deep += i32::from(since.is_some_and(|since| world.reach(since) > 599 * SECOND));
        world.wait(290_000);
    }
    assert_eq!(deep, 4, "in five minutes, the first of which begins with the whole ledger");
}

#[test]
fn after_a_step_forward_it_reads_from_before_the_step_for_one_more_overlap() {
    let mut world = World::new();
    world.refresh(0);
    world.run(50 * SECOND);
    // The insert begins here, and the clock is set before it commits.
    let recorded_at = world.ledger();
    world.offset += 3_600 * SECOND;
    let (_, finished) = world.refresh(10_000);
    assert!(finished.complete, "it read from before the step");
    let stepped = finished.stepped_us.unwrap();
    assert!((stepped - 3_600 * SECOND).abs() < SECOND, "{stepped}");
    assert!(world.run(29 * SECOND) <= recorded_at);
    let since = world.run(30 * SECOND);
    assert!(world.reach(since) < 33 * SECOND, "and then it does not any more");
}

#[test]
fn after_a_step_back_a_refresh_that_did_not_read_far_enough_does_not_count() {
    let mut world = World::new();
    world.refresh(0);
    world.run(50 * SECOND);
    world.offset -= 300 * SECOND;
    let recorded_at = world.ledger();
    world.wait(100_000);
    let (since, finished) = world.refresh(10_000);
    assert!(since.unwrap() > recorded_at && !finished.complete);
    assert!(finished.stepped_us.is_some_and(|us| us < -299 * SECOND));
    let (since, finished) = world.refresh(10_000);
    assert!(since.unwrap() <= recorded_at);
    assert_eq!(finished, Finished { complete: true, stepped_us: None });
}

#[test]
fn a_small_step_back_is_within_what_is_read_anyway() {
    let mut world = World::new();
    world.refresh(0);
    world.run(50 * SECOND);
    world.offset -= 5 * SECOND;
    let recorded_at = world.ledger();
    let (since, finished) = world.refresh(10_000);
    assert!(since.unwrap() <= recorded_at && finished.complete);
    assert!(finished.stepped_us.is_some());
}

#[test]
fn a_process_that_was_suspended_reads_from_where_it_was() {
    for local_clock_stood_still in [false, true] {
        let mut world = World::new();
        world.refresh(0);
        world.run(50 * SECOND);
        let before = world.ledger();
        if local_clock_stood_still {
            world.offset += 7_200 * SECOND;
        } else {
            world.wait(7_200 * SECOND);
        }
        let (since, finished) = world.refresh(10_000);
        assert!(since.unwrap() <= before - 29 * SECOND && finished.complete);
        assert_eq!(finished.stepped_us.is_some(), local_clock_stood_still);
    }
}

#[test]
fn a_slow_answer_is_no_step() {
    let mut world = World::new();
    world.refresh(120 * SECOND);
    let (_, finished) = world.refresh(20 * SECOND);
    assert_eq!(finished, Finished { complete: true, stepped_us: None });
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Wait(i64),
    /// An insert that takes so long until it has committed.
    Insert(i64),
    Refresh(i64),
    /// One that fails.
    Fail(i64),
    /// The ledger's clock is set.
    Step(i64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let overlap = 30 * SECOND;
    prop_oneof![
        4 => (0..2 * SECOND).prop_map(Happening::Wait),
        1 => (0..200 * SECOND).prop_map(Happening::Wait),
        4 => (0..=overlap).prop_map(Happening::Insert),
        4 => (0..SECOND).prop_map(Happening::Refresh),
        1 => (0..100 * SECOND).prop_map(Happening::Refresh),
        1 => (0..40 * SECOND).prop_map(Happening::Fail),
        1 => (-4_000 * SECOND..4_000 * SECOND).prop_map(Happening::Step),
        1 => (-40 * SECOND..40 * SECOND).prop_map(Happening::Step),
    ]
}

struct Insert {
    recorded_at: i64,
    commits_at: i64,
    seen: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn a_complete_refresh_shows_all_that_was_acknowledged_before_it(
        happenings in prop::collection::vec(happening(), 1..120),
    ) {
        let mut world = World::new();
        let mut inserts: Vec<Insert> = Vec::new();
        // It is only known to run as the local one does before the first refresh, and to be set once
        // between two of them.
        let mut may_step = false;
        for happening in happenings {
            match happening {
                Happening::Wait(us) => world.wait(us),
                Happening::Insert(takes) => inserts.push(Insert {
                    recorded_at: world.ledger(),
                    commits_at: world.now + takes,
                    seen: false,
                }),
                Happening::Step(us) => if std::mem::take(&mut may_step) { world.offset += us },
                Happening::Fail(takes) => {
                    world.tail.begin(world.instant());
                    world.wait(takes);
                }
                Happening::Refresh(takes) => {
                    let started_at = world.now;
                    let started = world.instant();
                    let since = world.tail.begin(started);
                    world.wait(takes / 2);
                    // What the query sees.
                    let ledger_us = world.ledger();
                    for insert in &mut inserts {
                        insert.seen |= insert.commits_at <= world.now
                            && since.is_none_or(|since| insert.recorded_at >= since);
                    }
                    world.wait(takes / 2);
                    let sample = Sample { started, answered: world.instant(), ledger_us };
                    let finished = world.tail.finish(since, sample);
                    may_step = true;
                    if finished.complete {
                        for insert in &inserts {
                            prop_assert!(insert.seen || insert.commits_at >= started_at);
                        }
                    }
                }
            }
        }
    }
}
